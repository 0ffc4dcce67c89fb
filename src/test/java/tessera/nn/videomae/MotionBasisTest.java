package tessera.nn.videomae;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.DropPath;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

class MotionBasisTest {
    private static final VideoMaeConfig SMALL =
            new VideoMaeConfig(Patches.plain(2, 4, 2), 8, 8, 8, 8, 1, 2, 8, 1, 1, 1e-6, 1e-6, true, false);

    private static Tensor random(long stream, long... sizes) {
        return Tensor.uniform(Device.cpu(), DType.F32, tessera.tensor.Shape.of(sizes), 5, stream, -1, 1);
    }

    @Test
    void theWayBackGivesTheSameWeight() {
        MotionBasis basis = new MotionBasis(Device.cpu(), 4, 4);
        Tensor weight = random(1, 3, 2, 4, 2, 2);
        Close.relative(basis.toPixels(basis.fromPixels(weight)).toFloats(), weight.toFloats(), 1e-6, "there and back");
    }

    /** A still picture is seen as it was; what moves is seen enlarged. */
    @Test
    void theGainEnlargesWhatMovesAlone() {
        Tensor weight = random(1, 1, 1, 4, 1, 1);
        float[] plain = new MotionBasis(Device.cpu(), 4, 1).toPixels(weight).toFloats();
        float[] enlarged = new MotionBasis(Device.cpu(), 4, 3).toPixels(weight).toFloats();
        Close.within(sum(enlarged), sum(plain), 1e-5, "seen of a still picture");
        Close.within(sum(plain), 2 * weight.toFloats()[0], 1e-5, "the mean's own weight");
        Close.within(spread(enlarged), 3 * spread(plain), 1e-5, "seen of what moves");
    }

    private static double sum(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += value;
        }
        return sum;
    }

    private static double spread(float[] values) {
        double mean = sum(values) / values.length;
        double square = 0;
        for (float value : values) {
            square += (value - mean) * (value - mean);
        }
        return Math.sqrt(square);
    }

    /** The loss of a model in the basis is that of one in pixels with the weight it stands for, and so are the slopes. */
    @Test
    void trainingInTheBasisIsTheSameFunctionOfPixels() {
        MotionBasis basis = new MotionBasis(Device.cpu(), 4, 4);
        Params ours = Params.random(Device.cpu(), DType.F32, 1);
        Params plain = Params.random(Device.cpu(), DType.F32, 1);
        VideoMaePretraining moving = new VideoMaePretraining(ours, SMALL, 3, basis);
        VideoMaePretraining still = new VideoMaePretraining(plain, SMALL, 3);
        Tensor weight = requireNonNull(ours.all().get(VideoMaePretraining.EMBEDDING));
        Tensor pixels = requireNonNull(plain.all().get(VideoMaePretraining.EMBEDDING));
        pixels.copyFrom(basis.toPixels(weight.detach()));
        Tensor clips = random(2, 2, 8, 8, 8, 2);
        TokenMask mask =
                MaskStrategy.tubes().draw(new MaskContext(Device.cpu(), 2, SMALL.grid(), .5, 1, 2, 0, null, null));
        Tensor first = loss(moving, clips, mask);
        Tensor second = loss(still, clips, mask);
        Close.within(first.item(), second.item(), 1e-5, "loss");
        first.backward();
        second.backward();
        // d loss / d weight = (d loss / d pixels) M^T, and M^T is what fromPixels divides by squared gains.
        float[] slopes = requireNonNull(weight.grad()).toFloats();
        Tensor direction = random(3, weight.shape().toArray());
        float[] along = basis.toPixels(direction).toFloats();
        float[] ofPixels = requireNonNull(pixels.grad()).toFloats();
        Close.within(dot(slopes, direction.toFloats()), dot(ofPixels, along), 1e-4, "slope along a direction");
        assertTrue(dot(slopes, slopes) > 0, "no slope at all");
    }

    private static Tensor loss(VideoMaePretraining model, Tensor clips, TokenMask mask) {
        Tensor tokens = model.encode(clips, mask, DropPath.NONE);
        return model.reconstructionLoss(model.reconstruct(tokens, mask), clips, mask)
                .add(model.classify(tokens, 0, 0, 0)
                        .mul(model.classify(tokens, 0, 0, 0))
                        .mean(0)
                        .mean(0));
    }

    private static double dot(float[] a, float[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += (double) a[i] * b[i];
        }
        return sum;
    }

    @Test
    void aGainOfNothingIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> new MotionBasis(Device.cpu(), 4, 0));
        assertThrows(IllegalArgumentException.class, () -> new MotionBasis(Device.cpu(), 4, Double.NaN));
    }
}
