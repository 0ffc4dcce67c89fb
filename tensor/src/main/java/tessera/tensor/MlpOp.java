package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.GeluProducts;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;

/**
 * Two linear layers with exact GELU between them, for training on devices that compute the GELU and its gradient as they write
 * the products. Inputs x {@code [.., k]}, first weight {@code [n, k]} and bias, second weight {@code [o, n]} and bias, and what the
 * result is added to if {@code residual}. Where x is bf16 the parameters may be f32, as for a linear layer.
 */
record MlpOp(boolean residual) implements Op.Differentiable {
    private static final int RESIDUAL = 5;

    @Override
    public String name() {
        return "mlp";
    }

    @Override
    public Tensor forward(Context context, Tensor... in) {
        Tensor x = in[0].contiguous();
        for (int i = 1; i < RESIDUAL; i++) {
            if (in[i].dtype() == x.dtype()) {
                Op.floating(name(), x, in[i]);
            } else {
                Op.wideFloating(name(), x, in[i]);
            }
        }
        Tensor first = in[1].inType(x.dtype());
        Tensor second = in[3].inType(x.dtype());
        long k = x.size(-1);
        Op.check(
                first.rank() == 2
                        && second.rank() == 2
                        && first.size(1) == k
                        && second.size(1) == first.size(0)
                        && in[2].shape().equals(Shape.of(first.size(0)))
                        && in[4].shape().equals(Shape.of(second.size(0))),
                name(),
                () -> "the layers " + first.describe() + " + " + in[2].describe() + " and " + second.describe() + " + "
                        + in[4].describe() + " do not follow " + x.describe()
                        + "; pass weights [hidden, in] and [out, hidden], each with a bias of its outputs");
        long rows = x.shape().rows();
        long n = first.size(0);
        Tensor z = Tensor.empty(x.device(), x.dtype(), x.shape().with(-1, n));
        Tensor hidden = Tensor.empty(x.device(), x.dtype(), z.shape());
        Tensor y = Tensor.empty(x.device(), x.dtype(), x.shape().with(-1, second.size(0)));
        if (residual) {
            Op.floating(name(), x, in[RESIDUAL]);
            Op.check(
                    in[RESIDUAL].shape().equals(y.shape()),
                    name(),
                    () -> "the residual has shape " + in[RESIDUAL].shape() + " but the product has " + y.shape());
        }
        Kernels kernels = x.kernels();
        Buffer bias = in[2].inType(x.dtype()).buffer();
        GeluProducts fused = kernels.matmul().geluProducts().orElse(null);
        if (fused != null) {
            fused.forward(new LinearShape(rows, n, k), x.buffer(), first.buffer(), bias, z.buffer(), hidden.buffer());
        } else {
            MatmulShape shape = MatmulShape.of(false, true, rows, n, k);
            kernels.matmul().matmul(shape, x.buffer(), first.buffer(), Epilogue.bias(bias), z.buffer());
            kernels.elementwise().unary(UnaryOp.GELU, z.buffer(), hidden.buffer());
        }
        Buffer addend = residual ? Op.buffer(in[RESIDUAL]) : null;
        kernels.matmul()
                .matmul(
                        MatmulShape.of(false, true, rows, second.size(0), n),
                        hidden.buffer(),
                        second.buffer(),
                        new Epilogue(in[4].inType(x.dtype()).buffer(), addend, Activation.NONE),
                        y.buffer());
        context.save(x, first, z, hidden, second);
        return y;
    }

    @Override
    public @Nullable Tensor[] backward(Context context, Tensor dy) {
        Tensor x = context.saved(0);
        Tensor first = context.saved(1);
        Tensor z = context.saved(2);
        Tensor second = context.saved(4);
        Kernels kernels = dy.kernels();
        long rows = dy.shape().rows();
        long k = first.size(1);
        long n = first.size(0);
        long out = second.size(0);
        @Nullable Tensor[] d = new Tensor[context.inputCount()];
        if (residual) {
            d[RESIDUAL] = dy;
        }
        parameters(context, d, 3, new LinearShape(rows, out, n), dy, context.saved(3), null);
        if (!context.needsGradient(0) && !context.needsGradient(1) && !context.needsGradient(2)) {
            return d;
        }
        Tensor dz = Tensor.empty(dy.device(), dy.dtype(), z.shape());
        GeluProducts fused = kernels.matmul().geluProducts().orElse(null);
        Tensor sums = null;
        if (fused != null) {
            Tensor db = context.needsGradient(2)
                    ? Tensor.empty(dy.device(), context.inputType(2), context.inputShape(2))
                    : null;
            boolean summed = fused.backward(
                    new LinearShape(rows, out, n),
                    dy.buffer(),
                    second.buffer(),
                    z.buffer(),
                    dz.buffer(),
                    Op.bufferOrNull(db));
            sums = summed ? db : null;
        } else {
            Tensor slope = Tensor.empty(dy.device(), dy.dtype(), z.shape());
            MatmulShape shape = MatmulShape.of(false, false, rows, n, out);
            kernels.matmul().matmul(shape, dy.buffer(), second.buffer(), Epilogue.NONE, slope.buffer());
            kernels.elementwise().unaryBackward(UnaryOp.GELU, z.buffer(), slope.buffer(), dz.buffer());
        }
        if (context.needsGradient(0)) {
            Tensor dx = Tensor.empty(dy.device(), dy.dtype(), context.inputShape(0));
            Tensor soFar = context.gradientSoFar(0);
            kernels.matmul()
                    .matmul(
                            MatmulShape.of(false, false, rows, k, n),
                            dz.buffer(),
                            first.buffer(),
                            new Epilogue(null, soFar == null ? null : Op.buffer(soFar), Activation.NONE),
                            dx.buffer());
            d[0] = dx;
        }
        parameters(context, d, 1, new LinearShape(rows, n, k), dz, x, sums);
        return d;
    }

    /**
     * Gradients of the weight at an input and of the bias behind it.
     *
     * @param sums of the columns of dY, where they are known
     */
    private static void parameters(
            Context context,
            @Nullable Tensor[] d,
            int weight,
            LinearShape linear,
            Tensor dy,
            Tensor x,
            @Nullable Tensor sums) {
        DType type = context.inputType(weight);
        Tensor dw = context.needsGradient(weight) ? Tensor.empty(dy.device(), type, context.inputShape(weight)) : null;
        Tensor db = sums == null && context.needsGradient(weight + 1)
                ? Tensor.empty(dy.device(), type, context.inputShape(weight + 1))
                : null;
        Kernels kernels = dy.kernels();
        if (dw != null && db != null) {
            kernels.matmul().linearBackward(linear, dy.buffer(), x.buffer(), dw.buffer(), db.buffer());
        } else if (dw != null) {
            kernels.matmul().matmul(linear.weightGradient(), dy.buffer(), x.buffer(), Epilogue.NONE, dw.buffer());
        } else if (db != null) {
            kernels.elementwise().sum(dy.buffer(), 1, linear.m(), linear.n(), 1, db.buffer());
        }
        d[weight] = dw;
        d[weight + 1] = sums == null ? db : sums;
    }

    @Override
    public Cost cost(Tensor output, Tensor... in) {
        long hidden = in[0].shape().rows() * in[1].size(0);
        Cost second = MatmulOps.linearCost(
                output, in[3].size(1), output.byteSize() + in[0].byteSize() + in[1].byteSize() + in[3].byteSize());
        return new Cost(second.flops() + 2 * hidden * in[0].size(-1), second.bytes());
    }
}
