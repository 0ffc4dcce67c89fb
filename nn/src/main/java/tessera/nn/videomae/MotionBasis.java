package tessera.nn.videomae;

import java.util.Arrays;
import tessera.kernels.Device;
import tessera.tensor.Tensor;

/**
 * A basis over the frames of a patch in which a patch embedding learns: their mean and the cosines over time (the discrete cosine
 * transform, Ahmed, Natarajan and Rao, 1974), the latter, which see what moves, enlarged. Nearly all that differs between patches is
 * the still picture, so that an optimiser in pixels finds the motion late; the function that is learned is the same.
 *
 * <p>{@link #toPixels} gives the weight that every other code knows. The matrices belong to the innermost open scope.
 */
public final class MotionBasis {
    private final int tubelet;
    private final Tensor toPixels;
    private final Tensor fromPixels;

    /**
     * Makes the basis.
     *
     * @param tubelet frames of a patch
     * @param gain by how much what moves is enlarged, positive; with 1 the basis is orthonormal
     */
    public MotionBasis(Device device, int tubelet, double gain) {
        if (!(gain > 0) || Double.isInfinite(gain)) {
            throw new IllegalArgumentException("a motion gain of " + gain + "; pass a positive factor such as 4");
        }
        this.tubelet = tubelet;
        float[] there = new float[tubelet * tubelet];
        float[] back = new float[tubelet * tubelet];
        for (int wave = 0; wave < tubelet; wave++) {
            double factor = wave == 0 ? 1 : gain;
            double length = Math.sqrt((wave == 0 ? 1.0 : 2.0) / tubelet);
            for (int frame = 0; frame < tubelet; frame++) {
                double value = length * Math.cos(Math.PI * (frame + .5) * wave / tubelet);
                there[wave * tubelet + frame] = (float) (value * factor);
                back[frame * tubelet + wave] = (float) (value / factor);
            }
        }
        toPixels = matrix(device, there);
        fromPixels = matrix(device, back);
    }

    private Tensor matrix(Device device, float[] values) {
        Tensor here = Tensor.of(values, tubelet, tubelet);
        return device.isHost() ? here : here.to(device);
    }

    /** A weight {@code [D, C, tubelet, p, p]} of this basis as one of pixels, with a gradient. */
    public Tensor toPixels(Tensor weight) {
        return times(weight, toPixels);
    }

    /** The weight of this basis that a weight of pixels, {@code [D, C, tubelet, p, p]}, is. */
    public Tensor fromPixels(Tensor weight) {
        return times(weight, fromPixels);
    }

    private Tensor times(Tensor weight, Tensor matrix) {
        long[] sizes = weight.shape().toArray();
        long[] framesLast = {sizes[0], sizes[1], sizes[3], sizes[4], tubelet};
        long rows = Arrays.stream(framesLast).reduce(1, Math::multiplyExact) / tubelet;
        return weight.permute(0, 1, 3, 4, 2)
                .contiguous()
                .reshape(rows, tubelet)
                .matmul(matrix)
                .reshape(framesLast)
                .permute(0, 1, 4, 2, 3)
                .contiguous();
    }
}
