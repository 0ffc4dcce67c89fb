package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.RandomOps.RandomStream;

/** Operations that treat each element alone. */
final class ElementwiseOps {
    private ElementwiseOps() {}

    /** Strides that read {@code x} as if it had been repeated to {@code target}. */
    static long[] broadcastStrides(Tensor x, Shape target) {
        long[] strides = new long[target.rank()];
        int shift = target.rank() - x.rank();
        long[] own = x.strides();
        for (int i = 0; i < x.rank(); i++) {
            strides[i + shift] = x.size(i) == 1 ? 0 : own[i];
        }
        return strides;
    }

    /** Sums a gradient over the axes along which its tensor was repeated; sums of bf16 are rounded once, at the end. */
    static Tensor sumTo(Tensor gradient, Shape shape) {
        Tensor g = gradient;
        while (g.rank() > shape.rank()) {
            g = g.sum(0);
        }
        for (int i = 0; i < shape.rank(); i++) {
            if (shape.size(i) == 1 && g.size(i) != 1) {
                long[] kept = g.shape().with(i, 1).toArray();
                g = g.sum(i).reshape(kept);
            }
        }
        return g.to(gradient.dtype());
    }

    record Unary(UnaryOp op) implements Op.Differentiable {
        @Override
        public String name() {
            return op.name().toLowerCase(java.util.Locale.ROOT);
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels().elementwise().unary(op, x.buffer(), y.buffer());
            context.save(x);
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor x = context.saved(0);
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), dy.shape());
            dy.kernels().elementwise().unaryBackward(op, x.buffer(), dy.buffer(), dx.buffer());
            return new Tensor[] {dx};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(1, output, in);
        }
    }

    record Binary(BinaryOp op) implements Op.Differentiable {
        @Override
        public String name() {
            return op.name().toLowerCase(java.util.Locale.ROOT);
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor a = in[0];
            Tensor b = in[1];
            Op.floating(name(), a, b);
            Shape shape = Shape.broadcast(a.shape(), b.shape());
            if (shape == null) {
                throw new IllegalArgumentException(name() + ": " + a.describe() + " and " + b.describe()
                        + " do not broadcast; sizes must be equal or 1, counted from the last axis");
            }
            Tensor y = Tensor.empty(a.device(), a.dtype(), shape);
            a.kernels()
                    .elementwise()
                    .binary(
                            op,
                            new Strided(view(a), 0, broadcastStrides(a, shape)),
                            new Strided(view(b), 0, broadcastStrides(b, shape)),
                            y.buffer(),
                            shape.toArray());
            context.save(a.detach(), b.detach());
            return y;
        }

        private static tessera.kernels.Buffer view(Tensor x) {
            tessera.kernels.Buffer whole = x.wholeBuffer();
            return whole.slice(x.offset(), whole.length() - x.offset());
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor a = context.saved(0);
            Tensor b = context.saved(1);
            @Nullable Tensor[] d = new Tensor[2];
            if (context.needsGradient(0)) {
                Tensor da = switch (op) {
                    case ADD, SUB -> dy;
                    case MUL -> dy.mul(b);
                    case DIV -> dy.div(b);
                    default -> throw new IllegalStateException(op + " has no gradient");
                };
                d[0] = sumTo(da, a.shape());
            }
            if (context.needsGradient(1)) {
                Tensor db = switch (op) {
                    case ADD -> dy;
                    case SUB -> dy.neg();
                    case MUL -> dy.mul(a);
                    case DIV -> dy.mul(a).div(b.square()).neg();
                    default -> throw new IllegalStateException(op + " has no gradient");
                };
                d[1] = sumTo(db, b.shape());
            }
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(1, output, in);
        }
    }

    record Affine(double scale, double shift) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels().elementwise().affine(x.buffer(), scale, shift, y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {dy.mul(scale)};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(2, output, in);
        }
    }

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
