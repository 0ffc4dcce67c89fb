package tessera.tensor;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.Strided;

/** Operations that move no data, and the copies that make their results contiguous. */
final class ViewOps {
    private ViewOps() {}

    static Shape resolve(Tensor x, long[] sizes) {
        int open = -1;
        long known = 1;
        for (int i = 0; i < sizes.length; i++) {
            if (sizes[i] == -1) {
                Op.check(
                        open < 0,
                        "reshape",
                        () -> "more than one size of " + Arrays.toString(sizes) + " is -1; give all but one");
                open = i;
            } else {
                known *= sizes[i];
            }
        }
        if (open >= 0) {
            long missing = known == 0 ? 0 : x.shape().count() / known;
            long[] full = sizes.clone();
            full[open] = missing;
            return checked(x, Shape.of(full), sizes);
        }
        return checked(x, Shape.of(sizes), sizes);
    }

    private static Shape checked(Tensor x, Shape target, long[] asked) {
        Op.check(
                target.count() == x.shape().count(),
                "reshape",
                () -> x.describe() + " has " + x.shape().count() + " elements and does not fit into shape "
                        + Arrays.toString(asked) + "; give sizes with that product");
        return target;
    }

    record Reshape(Shape target) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0].contiguous();
            return x.view(target, target.strides(), x.offset());
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {dy.reshape(context.inputShape(0).toArray())};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    record Permute(int[] axes) implements Op.Differentiable {
        /** The axes as they are, but for two of them. */
        static Permute swap(int a, int b, int rank) {
            int[] axes = new int[rank];
            Arrays.setAll(axes, i -> i == a ? b : i == b ? a : i);
            return new Permute(axes);
        }

        static Permute of(Tensor x, int[] axes) {
            int[] resolved = new int[axes.length];
            boolean[] seen = new boolean[x.rank()];
            Op.check(
                    axes.length == x.rank(),
                    "permute",
                    () -> axes.length + " axes given for " + x.describe() + "; name each of its " + x.rank()
                            + " axes once");
            for (int i = 0; i < axes.length; i++) {
                resolved[i] = x.shape().axis(axes[i]);
                int axis = resolved[i];
                Op.check(!seen[axis], "permute", () -> "axis " + axis + " is named twice in " + Arrays.toString(axes));
                seen[axis] = true;
            }
            return new Permute(resolved);
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            long[] sizes = new long[axes.length];
            long[] strides = new long[axes.length];
            long[] from = in[0].strides();
            for (int i = 0; i < axes.length; i++) {
                sizes[i] = in[0].size(axes[i]);
                strides[i] = from[axes[i]];
            }
            return in[0].view(Shape.of(sizes), strides, in[0].offset());
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            int[] inverse = new int[axes.length];
            for (int i = 0; i < axes.length; i++) {
                inverse[axes[i]] = i;
            }
            return new Tensor[] {dy.permute(inverse)};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    record Slice(int axis, long from, long to) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0];
            Op.check(
                    0 <= from && from <= to && to <= x.size(axis),
                    "slice",
                    () -> "[" + from + ", " + to + ") is no part of axis " + axis + " of " + x.describe()
                            + "; pass 0 <= from <= to <= " + x.size(axis));
            return x.view(x.shape().with(axis, to - from), x.strides(), x.offset() + from * x.strides()[axis]);
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Tensor dx = Tensor.full(dy.device(), dy.dtype(), context.inputShape(0), 0);
            long[] strides = dx.strides();
            dy.kernels()
                    .elementwise()
                    .copyStrided(
                            new Strided(dy.buffer(), 0, dy.strides()),
                            new Strided(dx.buffer(), from * strides[axis], strides),
                            dy.shape().toArray());
            return new Tensor[] {dx};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    record Expand(Shape target) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0];
            Op.check(
                    java.util.Objects.equals(target, Shape.broadcast(x.shape(), target)),
                    "expand",
                    () -> x.describe() + " cannot be repeated to " + target + "; only axes of size 1 repeat");
            return x.view(target, ElementwiseOps.broadcastStrides(x, target), x.offset());
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {ElementwiseOps.sumTo(dy, context.inputShape(0))};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.NONE;
        }
    }

    record Contiguous() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0];
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape());
            x.kernels()
                    .elementwise()
                    .copyStrided(
                            new Strided(x.wholeBuffer(), x.offset(), x.strides()),
                            new Strided(y.buffer(), 0, y.strides()),
                            x.shape().toArray());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {dy};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(0, output, in);
        }
    }

    record Concat(int axis) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            long total = 0;
            for (Tensor x : in) {
                Op.check(
                        x.rank() == in[0].rank()
                                && x.dtype() == in[0].dtype()
                                && x.shape().with(axis, 0).equals(in[0].shape().with(axis, 0)),
                        "concat",
                        () -> x.describe() + " does not fit beside " + in[0].describe() + " along axis " + axis
                                + "; types and all other sizes must be equal");
                Op.sameDevice("concat", in[0], x);
                total += x.size(axis);
            }
            Tensor y = Tensor.empty(in[0].device(), in[0].dtype(), in[0].shape().with(axis, total));
            long[] strides = y.strides();
            long at = 0;
            for (Tensor x : in) {
                x.kernels()
                        .elementwise()
                        .copyStrided(
                                new Strided(x.wholeBuffer(), x.offset(), x.strides()),
                                new Strided(y.buffer(), at * strides[axis], strides),
                                x.shape().toArray());
                at += x.size(axis);
            }
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            @Nullable Tensor[] gradients = new Tensor[context.inputCount()];
            long at = 0;
            for (int i = 0; i < gradients.length; i++) {
                long size = context.inputShape(i).size(axis);
                gradients[i] = dy.slice(axis, at, at + size);
                at += size;
            }
            return gradients;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(0, output, in);
        }
    }

    /** A copy in the memory of another device. */
    record Transfer(Device target) implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(target, x.dtype(), x.shape());
            x.buffer().copyTo(y.buffer());
            return y;
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new Tensor[] {dy.to(context.inputDevice(0))};
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(0, output, in);
        }
    }
}
