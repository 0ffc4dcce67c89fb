package tessera.jmh.gpu;

import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.GeluProducts;
import tessera.kernels.Matmul.LinearShape;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.NormProducts;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.RowShape;

/** Matrix products of a block. */
final class MatmulCases extends FamilyCases {
    MatmulCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        int patch = sizes.config().patches().channels()
                * sizes.config().patches().tubelet()
                * sizes.config().patches().patch()
                * sizes.config().patches().patch();
        linear("linear, patch embedding", visible, patch, d, Activation.NONE, false);
        linear("linear, qkv", visible, d, 3 * d, Activation.NONE, false);
        linear("linear, projection onto the residual", visible, d, d, Activation.NONE, true);
        linear("linear with GELU, fc1", visible, d, 4 * d, Activation.GELU, false);
        linear("linear onto the residual, fc2", visible, 4 * d, d, Activation.NONE, true);
        linear("linear, fc1 of all tokens", tokens, d, 4 * d, Activation.NONE, false);
        product("product of gradients, dW of fc1", visible, d, 4 * d, true);
        product("product of gradients, dX of fc1", visible, d, 4 * d, false);
        residual("linear of another residual, fc2 in training", visible, 4 * d, d);
        parameters("gradients of weight and bias, fc1", visible, d, 4 * d);
        keepingGelu("linear with GELU in training, fc1", visible, d, 4 * d);
        geluGradient("product of gradients with GELU's, dX of fc2", visible, 4 * d, d, false);
        geluGradient("product of gradients with GELU's and sums of columns, dX of fc2", visible, 4 * d, d, true);
        behindNorm("linear behind a layer norm, qkv", visible, d, 3 * d, Activation.NONE);
        behindNorm("linear with GELU behind a layer norm, fc1", visible, d, 4 * d, Activation.GELU);
        batch("batch of products, Q K^T of all heads", visible, d / heads);
        pack("packing of a weight, with one row through it, fc1", d, 4 * d);
    }

    private void linear(String name, int rows, int in, int out, Activation activation, boolean accumulate) {
        multiplies(
                "matmul.linear",
                name,
                batched(rows) + ", " + in + " to " + out,
                (b, s) -> (b * rows * (in + (accumulate ? 2.0 : 1.0) * out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    PackedWeight weight =
                            inputs.keep(kernels.matmul().pack(inputs.normal((long) in * out, .05), out, in));
                    Buffer bias = inputs.normal(out);
                    Buffer y = accumulate ? inputs.written(inputs.normal(m * out)) : inputs.output(m * out);
                    Epilogue epilogue = new Epilogue(bias, accumulate ? y : null, activation);
                    return () -> kernels.matmul().linear(m, x, weight, epilogue, y);
                });
    }

    private void product(String name, int rows, int in, int out, boolean ofWeight) {
        multiplies(
                "matmul.matmul",
                name,
                batched(rows) + ", " + in + " and " + out,
                (b, s) -> (b * rows * (in + out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer dy = inputs.normal(m * out);
                    if (ofWeight) {
                        Buffer x = inputs.normal(m * in);
                        Buffer dw = inputs.output((long) in * out);
                        MatmulShape shape = MatmulShape.of(true, false, out, in, m);
                        return () -> kernels.matmul().matmul(shape, dy, x, Epilogue.NONE, dw);
                    }
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer dx = inputs.output(m * in);
                    MatmulShape shape = MatmulShape.of(false, false, m, in, out);
                    return () -> kernels.matmul().matmul(shape, dy, weight, Epilogue.NONE, dx);
                });
    }

    /** The residual stays as it is, for the backward pass. */
    private void residual(String name, int rows, int in, int out) {
        multiplies(
                "matmul.matmul",
                name,
                batched(rows) + ", " + in + " to " + out,
                (b, s) -> (b * rows * (in + 2.0 * out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer bias = inputs.normal(out);
                    Buffer residual = inputs.normal(m * out);
                    Buffer y = inputs.output(m * out);
                    MatmulShape shape = MatmulShape.of(false, true, m, out, in);
                    Epilogue epilogue = new Epilogue(bias, residual, Activation.NONE);
                    return () -> kernels.matmul().matmul(shape, x, weight, epilogue, y);
                });
    }

    /** dW and db from one reading of dY where the library has the epilogue; f32 beside bf16 data, as in training. */
    private void parameters(String name, int rows, int in, int out) {
        multiplies(
                "matmul.linearBackward",
                name,
                batched(rows) + ", " + in + " and " + out,
                (b, s) -> b * rows * (in + out) * s + 4.0 * in * out,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer dy = inputs.normal(m * out);
                    Buffer x = inputs.normal(m * in);
                    Buffer dw = inputs.masterOutput((long) in * out);
                    Buffer db = inputs.masterOutput(out);
                    LinearShape shape = new LinearShape(m, out, in);
                    return () -> kernels.matmul().linearBackward(shape, dy, x, dw, db);
                });
    }

    /** What GELU is computed of is written too. */
    private void keepingGelu(String name, int rows, int in, int out) {
        multiplies(
                "matmul.geluProducts",
                name,
                batched(rows) + ", " + in + " to " + out,
                (b, s) -> (b * rows * (in + 2.0 * out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer bias = inputs.normal(out);
                    Buffer z = inputs.output(m * out);
                    Buffer y = inputs.output(m * out);
                    GeluProducts fused = kernels.matmul().geluProducts().orElse(null);
                    if (fused != null) {
                        return () -> fused.forward(new LinearShape(m, out, in), x, weight, bias, z, y);
                    }
                    return () -> {
                        MatmulShape shape = MatmulShape.of(false, true, m, out, in);
                        kernels.matmul().matmul(shape, x, weight, Epilogue.bias(bias), z);
                        kernels.elementwise().unary(UnaryOp.GELU, z, y);
                    };
                });
    }

    /** @param summed whether the sums of the result's columns are computed too */
    private void geluGradient(String name, int rows, int in, int out, boolean summed) {
        multiplies(
                "matmul.geluProducts",
                name,
                batched(rows) + ", " + in + " to " + out,
                (b, s) -> (b * rows * (2.0 * in + out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer dy = inputs.normal(m * out);
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer z = inputs.normal(m * in);
                    Buffer dz = inputs.output(m * in);
                    Buffer sums = summed ? inputs.masterOutput(in) : null;
                    GeluProducts fused = kernels.matmul().geluProducts().orElse(null);
                    if (fused != null) {
                        return () -> {
                            boolean written = fused.backward(new LinearShape(m, out, in), dy, weight, z, dz, sums);
                            if (sums != null && !written) {
                                kernels.elementwise().sum(dz, 1, m, in, 1, sums);
                            }
                        };
                    }
                    return () -> {
                        MatmulShape shape = MatmulShape.of(false, false, m, in, out);
                        kernels.matmul().matmul(shape, dy, weight, Epilogue.NONE, dz);
                        kernels.elementwise().unaryBackward(UnaryOp.GELU, z, dz, dz);
                        if (sums != null) {
                            kernels.elementwise().sum(dz, 1, m, in, 1, sums);
                        }
                    };
                });
    }

    /** The norm as the product is written where that is asked for or was measured to be faster. */
    private void behindNorm(String name, int rows, int in, int out, Activation activation) {
        multiplies(
                "matmul.normProducts",
                name,
                batched(rows) + ", " + in + " to " + out,
                (b, s) -> (b * rows * (in + (double) out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    Buffer weight = inputs.master((long) out * in);
                    Buffer bias = inputs.master(out);
                    NormParameters norm = new NormParameters(inputs.master(in), inputs.master(in), 1e-6);
                    Buffer y = inputs.output(m * out);
                    NormProducts joined = kernels.matmul().normProducts().orElse(null);
                    if (joined != null && x.dtype() == DType.BF16) {
                        PackedWeight packed = inputs.keep(joined.pack(weight, out, in, bias, norm));
                        return () -> joined.linear(m, x, packed, activation, y);
                    }
                    Buffer narrow = inputs.normal((long) out * in);
                    Buffer narrowBias = inputs.normal(out);
                    kernels.elementwise().cast(weight, narrow);
                    kernels.elementwise().cast(bias, narrowBias);
                    PackedWeight packed = inputs.keep(kernels.matmul().pack(narrow, out, in));
                    Buffer normed = inputs.normal(m * in);
                    return () -> {
                        kernels.norms().layerNorm(new RowShape(m, in), x, norm, normed, null);
                        kernels.matmul().linear(m, normed, packed, new Epilogue(narrowBias, null, activation), y);
                    };
                });
    }

    private void batch(String name, int rows, int headDim) {
        double products = heads;
        multiplies(
                "matmul.matmulBatched",
                name,
                batched(heads, rows, headDim),
                (b, s) -> b * products * rows * (2.0 * headDim + rows) * s,
                (b, s) -> 2 * b * products * rows * rows * headDim,
                (kernels, inputs, b) -> {
                    long side = (long) rows * headDim;
                    Buffer q = inputs.normal(b * heads * side);
                    Buffer k = inputs.normal(b * heads * side);
                    Buffer scores = inputs.output(b * heads * rows * rows);
                    MatmulShape shape = MatmulShape.of(false, true, rows, rows, headDim);
                    Batch batch = new Batch(b * heads, side, side, (long) rows * rows);
                    return () -> kernels.matmul().matmulBatched(shape, batch, q, k, scores);
                });
    }

    /** A packed weight has a layout of the device's own, so what is compared is a row that went through it. */
    private void pack(String name, int in, int out) {
        double elements = (double) in * out;
        add(new KernelCase(
                "matmul.pack",
                name,
                in + " to " + out,
                1,
                1,
                true,
                (b, s) -> 3 * elements * s,
                (b, s) -> 2 * elements,
                false,
                false,
                (kernels, inputs, b) -> {
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer x = inputs.normal(in);
                    Buffer y = inputs.output(out);
                    return () -> {
                        try (PackedWeight packed = kernels.matmul().pack(weight, out, in)) {
                            kernels.matmul().linear(1, x, packed, Epilogue.NONE, y);
                        }
                    };
                }));
    }
}
