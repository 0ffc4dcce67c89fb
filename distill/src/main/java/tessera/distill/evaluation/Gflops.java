package tessera.distill.evaluation;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Work of one view of a clip, in 10^9 floating-point operations of its matrix products, a multiply-add counting as 2, in the two
 * conventions of publications. Elementwise work and the heads are in neither.
 *
 * @param all of every matrix product
 * @param withoutAttention leaving out the products within attention, of queries with keys and of weights with values, which common
 *     profilers do not see
 */
public record Gflops(double all, double withoutAttention) {
    /**
     * Measures a student of any architecture by letting it look at an empty clip.
     *
     * @param masking all passes of an ensemble count
     * @throws IllegalArgumentException if how many tokens are computed depends on what clips show
     */
    public static Gflops of(Student student, Masking masking) {
        if (masking.reduction().threshold() != null) {
            throw new IllegalArgumentException(masking.reduction()
                    + " computes fewer tokens of some clips than of others; measure the work on clips");
        }
        ClipShape input = student.config().input();
        try (Scope scope = Scope.open();
                CostMeter meter = CostMeter.open()) {
            Tensor clip = Tensor.full(
                    Device.cpu(),
                    DType.F32,
                    Shape.of(1, input.frames(), input.height(), input.width(), input.channels()),
                    0);
            student.features(clip, masking, 0);
            return of(meter);
        }
    }

    /**
     * Measures a student by letting it look at clips.
     *
     * @param clips u8 or f32 {@code [B, T, H, W, C]}, one or more
     * @return the mean over the clips
     */
    public static Gflops of(Student student, Masking masking, Tensor clips) {
        try (Scope scope = Scope.open();
                CostMeter meter = CostMeter.open()) {
            student.features(clips, masking, 0);
            return of(meter).ofEach(clips.size(0));
        }
    }

    /** The work of one of several clips that did so much together. */
    public Gflops ofEach(long clips) {
        return new Gflops(all / clips, withoutAttention / clips);
    }

    /** What a meter has counted. */
    public static Gflops of(CostMeter meter) {
        double products = (meter.of("linear").flops() + meter.of("matmul").flops()) / 1e9;
        return new Gflops(products + meter.of("attention").flops() / 1e9, products);
    }

    /** The work of several views, or of so many on average. */
    public Gflops times(double views) {
        return new Gflops(views * all, views * withoutAttention);
    }
}
