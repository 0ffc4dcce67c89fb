package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;

/** Operations that treat each element alone, and the sum over an axis. */
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

    /** A stored gradient times the cotangent of its scalar loss. */
    static Tensor scaled(Tensor gradient, Tensor cotangent) {
        Tensor d = Tensor.empty(gradient.device(), gradient.dtype(), gradient.shape());
        gradient.kernels().elementwise().scaleBy(gradient.buffer(), cotangent.buffer(), d.buffer());
        return d;
    }

    record Unary(UnaryOp op) implements Op.Differentiable {
        @Override
        public String name() {
            return OpNames.of(op);
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels().elementwise().unary(op, x.buffer(), y.buffer());
            if (op != UnaryOp.NEG) {
                context.save(x);
            }
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor x = op == UnaryOp.NEG ? dy : context.saved(0); // a negation has the same slope everywhere
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
            return OpNames.of(op);
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
            if (op == BinaryOp.MUL || op == BinaryOp.DIV) {
                context.save(a.detach(), b.detach());
            }
            return y;
        }

        private static tessera.kernels.Buffer view(Tensor x) {
            tessera.kernels.Buffer whole = x.wholeBuffer();
            return whole.slice(x.offset(), whole.length() - x.offset());
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] d = new Tensor[2];
            if (context.needsGradient(0)) {
                Tensor da = switch (op) {
                    case ADD, SUB -> dy;
                    case MUL -> dy.mul(context.saved(1));
                    case DIV -> dy.div(context.saved(1));
                    default -> throw new IllegalStateException(op + " has no gradient");
                };
                d[0] = sumTo(da, context.inputShape(0));
            }
            if (context.needsGradient(1)) {
                Tensor db = switch (op) {
                    case ADD -> dy;
                    case SUB -> dy.neg();
                    case MUL -> dy.mul(context.saved(0));
                    case DIV ->
                        dy.mul(context.saved(0)).div(context.saved(1).square()).neg();
                    default -> throw new IllegalStateException(op + " has no gradient");
                };
                d[1] = sumTo(db, context.inputShape(1));
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

    record Sum(int axis, double scale) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0]);
            Tensor x = in[0].contiguous();
            Shape shape = x.shape();
            long[] sizes = new long[shape.rank() - 1];
            for (int i = 0; i < sizes.length; i++) {
                sizes[i] = shape.size(i < axis ? i : i + 1);
            }
            Tensor y = Tensor.empty(x.device(), Op.wide(x.dtype()), Shape.of(sizes));
            x.kernels()
                    .elementwise()
                    .sum(
                            x.buffer(),
                            shape.product(0, axis),
                            shape.size(axis),
                            shape.product(axis + 1, shape.rank()),
                            scale,
                            y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Shape shape = context.inputShape(0);
            Tensor scaled = (scale == 1 ? dy : dy.mul(scale)).to(context.inputType(0));
            return new Tensor[] {scaled.reshape(shape.with(axis, 1).toArray()).expand(shape.toArray())};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return new Cost(in[0].shape().count(), in[0].byteSize() + output.byteSize());
        }
    }

    record Cast(DType target) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(x.device(), target, x.shape());
            x.kernels().elementwise().cast(x.buffer(), y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {dy.to(context.inputType(0))};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(0, output, in);
        }
    }
}
