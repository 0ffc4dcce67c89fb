package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;

/** Operations that normalise the rows of the last axis. */
final class NormsOps {
    private NormsOps() {}

    record Softmax(boolean log) implements Op.Differentiable {
        @Override
        public String name() {
            return log ? "log_softmax" : "softmax";
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Op.check(in[0].rank() > 0, name(), () -> "a scalar has no last axis; reshape it to [1]");
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            long cols = x.size(-1);
            x.kernels().norms().softmax(new RowShape(x.shape().rows(), cols), x.buffer(), log, y.buffer());
            context.save(y.detach());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor y = context.saved(0);
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), dy.shape());
            dy.kernels()
                    .norms()
                    .softmaxBackward(
                            new RowShape(dy.shape().rows(), dy.size(-1)), y.buffer(), dy.buffer(), log, dx.buffer());
            return new Tensor[] {dx};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(5, output, in);
        }
    }

    record LayerNorm(double eps) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.wideFloating(name(), in[0], in[1], in[2]);
            Op.check(in[0].rank() > 0, name(), () -> "a scalar has no last axis; reshape it to [1]");
            Tensor x = in[0].contiguous();
            long cols = x.size(-1);
            for (int i = 1; i <= 2; i++) {
                Tensor p = in[i];
                String what = i == 1 ? "weight" : "bias";
                Op.check(
                        p.shape().equals(Shape.of(cols)),
                        name(),
                        () -> what + " has shape " + p.shape() + " but the last dimension of x is " + cols + " (x: "
                                + in[0].describe() + "); pass a " + what + " of shape [" + cols + "]");
            }
            long rows = x.shape().rows();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            if (!context.isRecording()) {
                x.kernels()
                        .norms()
                        .layerNorm(
                                new RowShape(rows, cols),
                                x.buffer(),
                                new NormParameters(Op.buffer(in[1]), Op.buffer(in[2]), eps),
                                y.buffer(),
                                null);
                return y;
            }
            Tensor mean = Tensor.empty(x.device(), Op.wide(x.dtype()), Shape.of(rows));
            Tensor rstd = Tensor.empty(x.device(), Op.wide(x.dtype()), Shape.of(rows));
            x.kernels()
                    .norms()
                    .layerNorm(
                            new RowShape(rows, cols),
                            x.buffer(),
                            new NormParameters(Op.buffer(in[1]), Op.buffer(in[2]), eps),
                            y.buffer(),
                            new NormStatistics(mean.buffer(), rstd.buffer()));
            context.save(x, in[1].contiguous(), mean, rstd);
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor x = context.saved(0);
            Tensor weight = context.saved(1);
            @Nullable Tensor[] d = new Tensor[3];
            for (int i = 0; i < 3; i++) {
                if (context.needsGradient(i)) {
                    Tensor like = i == 0 ? x : weight;
                    d[i] = Tensor.empty(like.device(), like.dtype(), like.shape());
                }
            }
            Tensor soFar = context.gradientSoFar(0);
            dy.kernels()
                    .norms()
                    .layerNormBackward(
                            new RowShape(x.shape().rows(), x.size(-1)),
                            x.buffer(),
                            weight.buffer(),
                            new NormStatistics(
                                    context.saved(2).buffer(), context.saved(3).buffer()),
                            dy.buffer(),
                            new NormGradients(
                                    soFar == null ? null : Op.buffer(soFar),
                                    Op.bufferOrNull(d[0]),
                                    Op.bufferOrNull(d[1]),
                                    Op.bufferOrNull(d[2])));
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(8, output, in);
        }
    }
}
