package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;

/** Matrix products. */
final class MatmulOps {
    private MatmulOps() {}

    record Matmul() implements Op.Differentiable {
        @Override
        public Tensor forward(Context context, Tensor... in) {
            Op.floating(name(), in[0], in[1]);
            Tensor a = in[0].contiguous();
            Tensor b = in[1].contiguous();
            Op.check(
                    a.rank() >= 2
                            && a.rank() == b.rank()
                            && a.size(-1) == b.size(-2)
                            && leading(a).equals(leading(b)),
                    name(),
                    () -> in[0].describe() + " times " + in[1].describe()
                            + " is not defined; pass [.., m, k] and [.., k, n] with equal leading sizes");
            context.save(a, b);
            return multiply(a, false, b, false);
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            return new @Nullable Tensor[] {
                context.needsGradient(0) ? multiply(dy, false, context.saved(1), true) : null,
                context.needsGradient(1) ? multiply(context.saved(0), true, dy, false) : null
            };
        }

        private static Tensor multiply(Tensor a, boolean transposeA, Tensor b, boolean transposeB) {
            long m = a.size(transposeA ? -1 : -2);
            long k = a.size(transposeA ? -2 : -1);
            long n = b.size(transposeB ? -2 : -1);
            Shape shape = a.shape().with(-2, m).with(-1, n);
            Tensor c = Tensor.empty(a.device(), a.dtype(), shape);
            a.kernels()
                    .matmul()
                    .matmulBatched(
                            MatmulShape.of(transposeA, transposeB, m, n, k),
                            new Batch(a.shape().product(0, a.rank() - 2), m * k, k * n, m * n),
                            a.buffer(),
                            b.buffer(),
                            c.buffer());
            return c;
        }

        private static Shape leading(Tensor x) {
            return x.shape().with(-1, 0).with(-2, 0);
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return Cost.elementwise(2 * in[0].size(-1), output, in);
        }
    }

    /**
     * Inputs x, weight, what the product is added to if {@code residual}, and, if given, bias. Where x is bf16 the parameters
     * may be f32: their bf16 shadows are multiplied, and their gradients are f32. In bf16 are the factors of f32 inputs where so said.
     */
    record Linear(boolean residual, boolean inBf16) implements Op.Differentiable {
        Linear(boolean residual) {
            this(residual, false);
        }

        private void multiply(Tensor device, MatmulShape shape, Buffer a, Buffer b, Epilogue epilogue, Buffer c) {
            if (inBf16) {
                Op.bf16(name(), device).matmul(shape, a, b, epilogue, c);
            } else {
                device.kernels().matmul().matmul(shape, a, b, epilogue, c);
            }
        }

        private int biasAt() {
            return residual ? 3 : 2;
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            checkType(in[0], in[1]);
            Tensor x = in[0].contiguous();
            Tensor weight = in[1].inType(x.dtype());
            check(in[0], weight);
            long n = weight.size(0);
            Tensor bias = in.length > biasAt() ? in[biasAt()] : null;
            if (bias != null) {
                checkType(in[0], bias);
                Op.check(
                        bias.shape().equals(Shape.of(n)),
                        name(),
                        () -> "bias has shape " + bias.shape() + " but the weight " + weight.describe() + " has " + n
                                + " outputs; pass a bias of shape [" + n + "]");
            }
            Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape().with(-1, n));
            if (residual) {
                Op.floating(name(), x, in[2]);
                Op.check(
                        in[2].shape().equals(y.shape()),
                        name(),
                        () -> "the residual has shape " + in[2].shape() + " but the product has " + y.shape());
            }
            multiply(
                    x,
                    MatmulShape.of(false, true, x.shape().rows(), n, x.size(-1)),
                    x.buffer(),
                    weight.buffer(),
                    new Epilogue(
                            bias == null ? null : bias.inType(x.dtype()).buffer(),
                            residual ? Op.buffer(in[2]) : null,
                            Activation.NONE),
                    y.buffer());
            context.save(x, weight);
            return y;
        }

        private void checkType(Tensor x, Tensor parameter) {
            if (parameter.dtype() == x.dtype()) {
                Op.floating(name(), x, parameter);
            } else {
                Op.wideFloating(name(), x, parameter);
            }
        }

        private void check(Tensor x, Tensor weight) {
            Op.check(
                    x.rank() >= 1 && weight.rank() == 2 && weight.size(1) == x.size(-1),
                    name(),
                    () -> "weight has shape " + weight.shape() + " but the last dimension of x is "
                            + (x.rank() == 0 ? "missing" : x.size(-1)) + " (x: " + x.describe()
                            + "); pass a weight of shape [out, in]");
        }

        @Override
        public @Nullable Tensor[] backward(Context context, Tensor dy) {
            Shape weight = context.inputShape(1);
            Kernels kernels = dy.kernels();
            long rows = dy.shape().rows();
            long n = weight.size(0);
            long k = weight.size(1);
            @Nullable Tensor[] d = new Tensor[context.inputCount()];
            if (context.needsGradient(0)) {
                Tensor dx = Tensor.empty(dy.device(), dy.dtype(), context.inputShape(0));
                Tensor soFar = context.gradientSoFar(0);
                multiply(
                        dy,
                        MatmulShape.of(false, false, rows, k, n),
                        dy.buffer(),
                        context.saved(1).buffer(),
                        new Epilogue(null, soFar == null ? null : Op.buffer(soFar), Activation.NONE),
                        dx.buffer());
                d[0] = dx;
            }
            if (residual) {
                d[2] = dy;
            }
            boolean bias = context.inputCount() > biasAt() && context.needsGradient(biasAt());
            DType parameterType = context.inputType(1);
            Tensor dw = context.needsGradient(1) ? Tensor.empty(dy.device(), parameterType, weight) : null;
            Tensor db = bias ? Tensor.empty(dy.device(), parameterType, Shape.of(n)) : null;
            if (dw != null && db != null && !inBf16) {
                kernels.matmul()
                        .linearBackward(
                                new LinearShape(rows, n, k),
                                dy.buffer(),
                                context.saved(0).buffer(),
                                dw.buffer(),
                                db.buffer());
            } else {
                if (dw != null) {
                    MatmulShape shape = MatmulShape.of(true, false, n, k, rows);
                    multiply(dy, shape, dy.buffer(), context.saved(0).buffer(), Epilogue.NONE, dw.buffer());
                }
                if (db != null) {
                    kernels.elementwise().sum(dy.buffer(), 1, rows, n, 1, db.buffer());
                }
            }
            d[1] = dw;
            if (bias) {
                d[biasAt()] = db;
            }
            return d;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long passes = residual ? 2 : 1;
            return linearCost(output, in[0].size(-1), passes * output.byteSize() + in[0].byteSize() + in[1].byteSize());
        }
    }

    static Cost linearCost(Tensor output, long in, long bytes) {
        return new Cost(2 * output.shape().count() * in, bytes);
    }

    /** A linear layer on a packed weight, for inference. */
    record PackedProduct(PackedLinear layer, Activation activation) implements Op.Constant {
        @Override
        public String name() {
            return "linear";
        }

        @Override
        public String whyNoGradient() {
            return "the weight is packed and frozen for inference";
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Tensor x = in[0].contiguous();
            Tensor y = Tensor.empty(
                    x.device(), layer.dtype(), x.shape().with(-1, layer.weight().n()));
            layer.run(x, null, activation, y);
            return y;
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            return linearCost(output, layer.weight().k(), output.byteSize() + in[0].byteSize() + layer.byteSize());
        }
    }

    /**
     * Adds a linear layer's result to its second input in place, for inference.
     *
     * @param first a layer before it, with GELU between the two, or null
     */
    record PackedAccumulate(PackedLinear layer, @Nullable PackedLinear first) implements Op.Constant {
        @Override
        public String name() {
            return "linear";
        }

        @Override
        public String whyNoGradient() {
            return "the weight is packed and frozen for inference";
        }

        @Override
        public Tensor forward(Context context, Tensor... in) {
            Shape shape = in[0].shape().with(-1, layer.weight().n());
            Op.check(
                    in[1].dtype() == layer.dtype() && in[1].shape().equals(shape) && in[1].isContiguous(),
                    name(),
                    () -> "the sum is " + in[1].describe() + "; pass a contiguous " + layer.dtype() + shape);
            if (first == null) {
                layer.run(in[0].contiguous(), in[1], Activation.NONE, in[1]);
            } else {
                layer.runAfter(first, in[0].contiguous(), in[1]);
            }
            in[1].changedBy(name());
            return in[1].detach();
        }

        @Override
        public Cost cost(Tensor output, Tensor... in) {
            long bytes = 2 * output.byteSize() + in[0].byteSize() + layer.byteSize();
            Cost cost = linearCost(output, layer.weight().k(), bytes);
            if (first == null) {
                return cost;
            }
            long hidden = in[0].shape().rows() * first.weight().n();
            return new Cost(cost.flops() + 2 * hidden * first.weight().k(), cost.bytes() + first.byteSize());
        }
    }
}
