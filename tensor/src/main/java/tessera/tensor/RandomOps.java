package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.RandomOps.RandomStream;

/** Operations that leave out what random numbers say; these are a function of (seed, stream) and the position. */
final class RandomOps {
    private RandomOps() {}

    record Dropout(double p, long seed, long stream) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.check(p >= 0 && p < 1, name(), () -> "probability " + p + " is not in [0, 1)");
            Op.floating(name(), in[0]);
            return masked(in[0].contiguous());
        }

        private Tensor masked(Tensor x) {
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels().random().dropout(new RandomStream(seed, stream), x.buffer(), p, y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {masked(dy)};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(1, output, in);
        }
    }

    /** {@code residual + x}, with x left out of random samples (stochastic depth; Huang et al., ECCV 2016). */
    record DropPath(double p, long seed, long stream) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor residual = in[0];
            Tensor x = in[1];
            Op.check(p >= 0 && p < 1, name(), () -> "probability " + p + " is not in [0, 1)");
            Op.floating(name(), residual, x);
            Op.check(
                    residual.rank() > 0 && residual.shape().equals(x.shape()),
                    name(),
                    () -> x.describe() + " is added to " + residual.describe()
                            + "; both need one shape, whose first axis counts the samples");
            return dropped(residual.contiguous(), x.contiguous());
        }

        private Tensor dropped(@Nullable Tensor residual, Tensor x) {
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels()
                    .random()
                    .dropPath(
                            new RandomStream(seed, stream),
                            residual == null ? null : residual.buffer(),
                            x.buffer(),
                            p,
                            x.size(0),
                            y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new @Nullable Tensor[] {dy, context.needsGradient(1) ? dropped(null, dy) : null};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(2, output, in);
        }
    }
}
