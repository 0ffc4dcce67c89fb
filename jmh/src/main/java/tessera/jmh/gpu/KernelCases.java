package tessera.jmh.gpu;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.jmh.gpu.KernelCase.Cost;
import tessera.jmh.gpu.KernelCase.Setup;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.AttentionShape;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.MatmulShape;
import tessera.kernels.Kernels.PackedWeight;
import tessera.kernels.Kernels.PatchGeometry;
import tessera.kernels.Kernels.Strides;
import tessera.kernels.Kernels.UnaryOp;

/** Every kernel at the shapes of MM-CDFSL (spec 4.1). Bytes and operations are what the task needs, not what a kernel does. */
final class KernelCases {
    private static final double RHO = .75;
    private static final double PRETRAIN_RHO = .9;

    private final Sizes sizes;
    private final int d;
    private final int heads;
    private final int visible;
    private final int tokens;
    private final List<KernelCase> cases = new ArrayList<>();

    private KernelCases(Sizes sizes) {
        this.sizes = sizes;
        this.d = sizes.config().embedDim();
        this.heads = sizes.config().heads();
        this.visible = sizes.visible(RHO);
        this.tokens = sizes.tokens();
    }

    static List<KernelCase> of(Sizes sizes) {
        KernelCases all = new KernelCases(sizes);
        all.attention();
        all.products();
        all.norms();
        all.patches();
        all.tokenRows();
        all.elementwise();
        all.losses();
        all.optimiser();
        return all.cases;
    }

    /** Attention alone, at the lengths that the mask ratios leave. */
    static List<KernelCase> attention(Sizes sizes) {
        KernelCases all = new KernelCases(sizes);
        all.attention();
        for (double ratio : new double[] {PRETRAIN_RHO, .5}) {
            all.attention("attention", sizes.visible(ratio), all.heads, all.d);
        }
        return all.cases;
    }

    /** A kernel bound by memory. */
    private void moves(String name, String shape, Cost bytes, Cost flops, Setup setup) {
        cases.add(new KernelCase(name, shape, sizes.batch(), 1, true, bytes, flops, false, false, setup));
    }

    private String batched(Object... rest) {
        return sizes.batch() + " x "
                + String.join(" x ", Arrays.stream(rest).map(String::valueOf).toList());
    }

    // --------------------------------------------------------------------------------------------------- attention

    private void attention() {
        attention("attention", visible, heads, d);
        attention("attention", tokens, heads, d);
        attention(
                "attention of the decoder",
                tokens,
                sizes.config().decoderHeads(),
                sizes.config().decoderDim());
    }

    private void attention(String name, int n, int h, int width) {
        String shape = batched(n, h, width / h);
        double products = 2.0 * n * n * width;
        cases.add(new KernelCase(
                name,
                shape,
                sizes.batch(),
                1,
                true,
                (b, s) -> b * 4 * n * width * s,
                (b, s) -> b * 2 * products,
                false,
                true,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * n * 3 * width);
                    Buffer out = in.output(b * n * width);
                    AttentionShape form = attentionShape(b, n, h, width);
                    return () ->
                            kernels.attention(form, qkv, part(qkv, 1, width), part(qkv, 2, width), null, out, null);
                }));
        cases.add(new KernelCase(
                name + " backward",
                shape,
                sizes.batch(),
                1,
                true,
                (b, s) -> b * 8 * n * width * s,
                (b, s) -> b * 5 * products,
                false,
                true,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * n * 3 * width);
                    Buffer dout = in.normal(b * n * width);
                    Buffer out = in.output(b * n * width);
                    Buffer logSumExp = in.masterOutput(b * h * n);
                    Buffer dqkv = in.output(b * n * 3 * width);
                    AttentionShape form = attentionShape(b, n, h, width);
                    Buffer k = part(qkv, 1, width);
                    Buffer v = part(qkv, 2, width);
                    kernels.attention(form, qkv, k, v, null, out, logSumExp);
                    return () -> kernels.attentionBackward(
                            form,
                            qkv,
                            k,
                            v,
                            null,
                            out,
                            logSumExp,
                            dout,
                            dqkv,
                            part(dqkv, 1, width),
                            part(dqkv, 2, width),
                            null);
                }));
    }

    /** What begins with q (0), k (1) or v (2) of the first token of {@code [B, N, 3, D]}. */
    private static Buffer part(Buffer qkv, int which, int width) {
        return qkv.slice((long) which * width, qkv.length() - (long) which * width);
    }

    private static AttentionShape attentionShape(long b, int n, int h, int width) {
        int headDim = width / h;
        Strides packed = new Strides(3L * n * width, headDim, 3L * width);
        Strides out = new Strides((long) n * width, headDim, width);
        return new AttentionShape(b, h, n, n, headDim, 1 / Math.sqrt(headDim), packed, packed, packed, out, 0);
    }

    // ---------------------------------------------------------------------------------------------- matrix products

    private void products() {
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
    }

    private void linear(String name, int rows, int in, int out, Activation activation, boolean accumulate) {
        cases.add(new KernelCase(
                name,
                batched(rows) + ", " + in + " to " + out,
                sizes.batch(),
                1,
                true,
                (b, s) -> (b * rows * (in + (accumulate ? 2.0 : 1.0) * out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                false,
                true,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    PackedWeight weight = inputs.keep(kernels.pack(inputs.normal((long) in * out, .05), out, in));
                    Buffer bias = inputs.normal(out);
                    Buffer y = accumulate ? inputs.written(inputs.normal(m * out)) : inputs.output(m * out);
                    return () -> kernels.linear(m, x, weight, bias, accumulate ? y : null, activation, y);
                }));
    }

    private void product(String name, int rows, int in, int out, boolean ofWeight) {
        cases.add(new KernelCase(
                name,
                batched(rows) + ", " + in + " and " + out,
                sizes.batch(),
                1,
                true,
                (b, s) -> (b * rows * (in + out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                false,
                true,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer dy = inputs.normal(m * out);
                    if (ofWeight) {
                        Buffer x = inputs.normal(m * in);
                        Buffer dw = inputs.output((long) in * out);
                        MatmulShape shape = MatmulShape.of(true, false, out, in, m);
                        return () -> kernels.matmul(shape, dy, x, null, null, Activation.NONE, dw);
                    }
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer dx = inputs.output(m * in);
                    MatmulShape shape = MatmulShape.of(false, false, m, in, out);
                    return () -> kernels.matmul(shape, dy, weight, null, null, Activation.NONE, dx);
                }));
    }

    /** The residual stays as it is, for the backward pass. */
    private void residual(String name, int rows, int in, int out) {
        cases.add(new KernelCase(
                name,
                batched(rows) + ", " + in + " to " + out,
                sizes.batch(),
                1,
                true,
                (b, s) -> (b * rows * (in + 2.0 * out) + (double) in * out) * s,
                (b, s) -> 2 * b * rows * in * out,
                false,
                true,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer x = inputs.normal(m * in);
                    Buffer weight = inputs.normal((long) in * out, .05);
                    Buffer bias = inputs.normal(out);
                    Buffer residual = inputs.normal(m * out);
                    Buffer y = inputs.output(m * out);
                    MatmulShape shape = MatmulShape.of(false, true, m, out, in);
                    return () -> kernels.matmul(shape, x, weight, bias, residual, Activation.NONE, y);
                }));
    }

    /** dW and db from one reading of dY where the library has the epilogue; f32 beside bf16 data, as in training. */
    private void parameters(String name, int rows, int in, int out) {
        cases.add(new KernelCase(
                name,
                batched(rows) + ", " + in + " and " + out,
                sizes.batch(),
                1,
                true,
                (b, s) -> b * rows * (in + out) * s + 4.0 * in * out,
                (b, s) -> 2 * b * rows * in * out,
                false,
                true,
                (kernels, inputs, b) -> {
                    long m = b * rows;
                    Buffer dy = inputs.normal(m * out);
                    Buffer x = inputs.normal(m * in);
                    Buffer dw = inputs.masterOutput((long) in * out);
                    Buffer db = inputs.masterOutput(out);
                    return () -> kernels.linearBackward(m, out, in, dy, x, dw, db);
                }));
    }

    // ------------------------------------------------------------------------------------------- norms and softmax

    private void norms() {
        norm(visible, d);
        norm(tokens, sizes.config().decoderDim());
        long columns = visible;
        long rows = (long) heads * visible;
        moves(
                "softmax",
                batched(heads, visible, visible),
                (b, s) -> b * 2 * rows * columns * s,
                (b, s) -> b * rows * columns * 5,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * rows * columns);
                    Buffer y = in.output(b * rows * columns);
                    return () -> kernels.softmax(x, b * rows, columns, false, y);
                });
    }

    private void norm(int n, int width) {
        double elements = (double) n * width;
        moves(
                "layer norm",
                batched(n, width),
                (b, s) -> b * 2 * elements * s,
                (b, s) -> b * elements * 8,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * n * width);
                    Buffer gamma = in.master(width);
                    Buffer beta = in.master(width);
                    Buffer y = in.output(b * n * width);
                    Buffer mean = in.masterOutput(b * n);
                    Buffer rstd = in.masterOutput(b * n);
                    return () -> kernels.layerNorm(x, gamma, beta, 1e-6, b * n, width, y, mean, rstd);
                });
        normBackward("layer norm backward", n, width, false);
        normBackward("layer norm backward onto the residual's gradient", n, width, true);
    }

    private void normBackward(String name, int n, int width, boolean residual) {
        double elements = (double) n * width;
        moves(
                name,
                batched(n, width),
                (b, s) -> b * (residual ? 4 : 3) * elements * s,
                (b, s) -> b * elements * 14,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * n * width);
                    Buffer gamma = in.master(width);
                    Buffer beta = in.master(width);
                    Buffer dy = in.normal(b * n * width);
                    Buffer addend = residual ? in.normal(b * n * width) : null;
                    Buffer y = in.output(b * n * width);
                    Buffer mean = in.masterOutput(b * n);
                    Buffer rstd = in.masterOutput(b * n);
                    Buffer dx = in.output(b * n * width);
                    Buffer dgamma = in.masterOutput(width);
                    Buffer dbeta = in.masterOutput(width);
                    kernels.layerNorm(x, gamma, beta, 1e-6, b * n, width, y, mean, rstd);
                    return () -> kernels.layerNormBackward(
                            x, gamma, mean, rstd, dy, b * n, width, addend, dx, dgamma, dbeta);
                });
    }

    // ----------------------------------------------------------------------------------------------------- patches

    private void patches() {
        PatchGeometry one = sizes.geometry(1);
        int plane = one.plane();
        int hidden = plane - visible / one.slots();
        moves("random mask", batched(tokens), (b, s) -> b * 4 * tokens, (b, s) -> 0, (kernels, in, b) -> {
            Buffer shown = in.indexOutput(b * visible);
            Buffer masked = in.indexOutput(b * (tokens - visible));
            return () -> kernels.randomMask(1, 2, b, one.slots(), plane, hidden, true, shown, masked);
        });
        double values = (double) visible * one.patchLength();
        moves(
                "gather patches of u8",
                batched(visible, one.patchLength()),
                (b, s) -> b * values * (1 + s),
                (b, s) -> b * values * 2,
                (kernels, in, b) -> {
                    Buffer video = in.bytes(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer out = in.output(b * visible * one.patchLength());
                    return () -> kernels.gatherPatches(sizes.geometry(b), video, indices, visible, out);
                });
        moves(
                "gather patches of f32",
                batched(visible, one.patchLength()),
                (b, s) -> b * values * (4 + s),
                (b, s) -> b * values * 2,
                (kernels, in, b) -> {
                    Buffer video = in.floatVideo(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer out = in.output(b * visible * one.patchLength());
                    return () -> kernels.gatherPatches(sizes.geometry(b), video, indices, visible, out);
                });
        int masked = tokens - sizes.visible(PRETRAIN_RHO);
        double targets = (double) masked * one.patchLength();
        String shape = sizes.pretrainBatch() + " x " + masked + " x " + one.patchLength();
        cases.add(new KernelCase(
                "reconstruction target",
                shape,
                sizes.pretrainBatch(),
                1,
                true,
                (b, s) -> b * targets * (1 + s),
                (b, s) -> b * targets * 7,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer video = in.bytes(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, masked);
                    Buffer target = in.output(b * masked * one.patchLength());
                    return () ->
                            kernels.reconstructionTarget(sizes.geometry(b), video, indices, masked, 1e-6, true, target);
                }));
        cases.add(new KernelCase(
                "reconstruction loss with gradient",
                shape,
                sizes.pretrainBatch(),
                1,
                true,
                (b, s) -> b * targets * (1 + 2 * s),
                (b, s) -> b * targets * 11,
                true,
                false,
                (kernels, in, b) -> {
                    Buffer video = in.bytes(b * sizes.pixels());
                    Buffer indices = in.tokens(b, tokens, masked);
                    Buffer prediction = in.normal(b * masked * one.patchLength());
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(b * masked * one.patchLength());
                    return () -> kernels.reconstructionLoss(
                            sizes.geometry(b), video, indices, masked, 1e-6, true, prediction, loss, gradient);
                }));
    }

    // ------------------------------------------------------------------------------------------------------ tokens

    private void tokenRows() {
        double kept = (double) visible * d;
        double all = (double) tokens * d;
        moves("gather rows", batched(visible, d), (b, s) -> b * 2 * kept * s, (b, s) -> 0, (kernels, in, b) -> {
            Buffer x = in.normal(b * tokens * d);
            Buffer indices = in.tokens(b, tokens, visible);
            Buffer y = in.output(b * visible * d);
            return () -> kernels.gatherRows(x, indices, b, tokens, visible, d, y);
        });
        moves("scatter rows", batched(tokens, d), (b, s) -> b * (kept + all) * s, (b, s) -> 0, (kernels, in, b) -> {
            Buffer dy = in.normal(b * visible * d);
            Buffer indices = in.tokens(b, tokens, visible);
            Buffer dx = in.output(b * tokens * d);
            return () -> kernels.scatterRows(dy, indices, b, tokens, visible, d, dx);
        });
        moves(
                "add position rows",
                batched(visible, d),
                (b, s) -> (b * 2 * kept + all) * s,
                (b, s) -> b * kept,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * d);
                    Buffer table = in.normal((long) tokens * d);
                    Buffer indices = in.tokens(b, tokens, visible);
                    Buffer y = in.output(b * visible * d);
                    return () -> kernels.addRows(x, table, indices, b, visible, d, y);
                });
        int shown = sizes.visible(PRETRAIN_RHO);
        int masked = tokens - shown;
        int narrow = sizes.config().decoderDim();
        moves(
                "decoder assembly",
                batched(tokens, narrow),
                (b, s) -> b * (shown + tokens) * (double) narrow * s,
                (b, s) -> b * tokens * narrow,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * shown * narrow);
                    Buffer shownIndices = in.tokens(b, tokens, shown);
                    Buffer maskedIndices = in.tokens(b, tokens, masked);
                    Buffer token = in.normal(narrow);
                    Buffer table = in.normal((long) tokens * narrow);
                    Buffer y = in.output(b * tokens * narrow);
                    return () -> kernels.assembleDecoder(
                            x, shownIndices, maskedIndices, token, table, b, shown, masked, narrow, y);
                });
        moves(
                "decoder assembly backward",
                batched(tokens, narrow),
                (b, s) -> b * (shown + tokens) * (double) narrow * s,
                (b, s) -> b * masked * narrow,
                (kernels, in, b) -> {
                    Buffer dy = in.normal(b * tokens * narrow);
                    Buffer dx = in.output(b * shown * narrow);
                    Buffer dtoken = in.output(narrow);
                    return () -> kernels.assembleDecoderBackward(dy, b, shown, masked, narrow, dx, dtoken);
                });
        moves("mean over tokens", batched(visible, d), (b, s) -> b * kept * s, (b, s) -> b * kept, (kernels, in, b) -> {
            Buffer x = in.normal(b * visible * d);
            Buffer y = in.output(b * d);
            return () -> kernels.sum(x, b, visible, d, 1.0 / visible, y);
        });
    }

    // ------------------------------------------------------------------------------------------------ element-wise

    private void elementwise() {
        int wide = 4 * d;
        double hidden = (double) visible * wide;
        double rows = (double) visible * d;
        moves(
                "GELU",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden * 20,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.unary(UnaryOp.GELU, x, y);
                });
        moves(
                "GELU backward",
                batched(visible, wide),
                (b, s) -> b * 3 * hidden * s,
                (b, s) -> b * hidden * 30,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer dy = in.normal(b * visible * wide);
                    Buffer dx = in.output(b * visible * wide);
                    return () -> kernels.unaryBackward(UnaryOp.GELU, x, dy, dx);
                });
        moves("sum of two", batched(visible, d), (b, s) -> b * 3 * rows * s, (b, s) -> b * rows, (kernels, in, b) -> {
            Buffer x = in.normal(b * visible * d);
            Buffer z = in.normal(b * visible * d);
            Buffer y = in.output(b * visible * d);
            long[] shape = {b * visible, d};
            long[] strides = {d, 1};
            return () -> kernels.binary(BinaryOp.ADD, x, strides, z, strides, y, shape);
        });
        moves(
                "bias row added",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer bias = in.normal(wide);
                    Buffer y = in.output(b * visible * wide);
                    long[] shape = {b * visible, wide};
                    long[] strides = {wide, 1};
                    long[] broadcast = {0, 1};
                    return () -> kernels.binary(BinaryOp.ADD, x, strides, bias, broadcast, y, shape);
                });
        moves(
                "dropout",
                batched(visible, wide),
                (b, s) -> b * 2 * hidden * s,
                (b, s) -> b * hidden * 20,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.dropout(x, .5, 1, 2, y);
                });
        double rate = .2;
        moves(
                "drop-path onto the residual",
                batched(visible, d) + ", rate " + rate,
                (b, s) -> b * (3 - rate) * rows * s,
                (b, s) -> b * (1 - rate) * 2 * rows,
                (kernels, in, b) -> {
                    Buffer residual = in.normal(b * visible * d);
                    Buffer x = in.normal(b * visible * d);
                    Buffer y = in.output(b * visible * d);
                    return () -> kernels.dropPath(residual, x, rate, 1, 2, b, y);
                });
        moves("transpose of heads", batched(visible, d), (b, s) -> b * 2 * rows * s, (b, s) -> 0, (kernels, in, b) -> {
            Buffer x = in.normal(b * visible * d);
            Buffer y = in.output(b * visible * d);
            int headDim = d / heads;
            long[] shape = {b, heads, visible, headDim};
            long[] from = {(long) visible * d, headDim, d, 1};
            long[] to = {(long) visible * d, (long) visible * headDim, headDim, 1};
            return () -> kernels.copyStrided(x, 0, from, y, 0, to, shape);
        });
        moves(
                "bias gradient, sum over rows",
                batched(visible, wide),
                (b, s) -> b * hidden * s,
                (b, s) -> b * hidden,
                (kernels, in, b) -> {
                    Buffer dy = in.normal(b * visible * wide);
                    Buffer db = in.output(wide);
                    return () -> kernels.sum(dy, 1, b * visible, wide, 1, db);
                });
        cases.add(new KernelCase(
                "conversion from f32 to bf16",
                batched(visible, wide),
                sizes.batch(),
                1,
                false,
                (b, s) -> b * hidden * 6,
                (b, s) -> 0,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer x = in.normal(b * visible * wide);
                    Buffer y = in.shadowOutput(b * visible * wide);
                    return () -> kernels.cast(x, y);
                }));
        cases.add(new KernelCase(
                "normal numbers",
                batched(visible, wide),
                sizes.batch(),
                1,
                false,
                (b, s) -> b * hidden * 4,
                (b, s) -> b * hidden * 40,
                false,
                false,
                (kernels, in, b) -> {
                    Buffer y = in.output(b * visible * wide);
                    return () -> kernels.randomNormal(1, 2, 0, 1, y);
                }));
    }

    // ------------------------------------------------------------------------------------------------------ losses

    private void losses() {
        crossEntropy(sizes.batch(), sizes.classes());
        crossEntropy(sizes.largeRows(), sizes.largeCols());
        features(sizes.batch(), d);
        features(sizes.batch() * visible, d);
        distillation(sizes.batch(), sizes.classes(), 3);
        distillation(sizes.largeRows(), sizes.largeCols(), 3);
    }

    private void loss(String name, String shape, int rows, Cost bytes, Cost flops, Setup setup) {
        cases.add(new KernelCase(name, shape, rows, Math.min(rows, 16), true, bytes, flops, true, false, setup));
    }

    private void crossEntropy(int rows, int classes) {
        loss(
                "cross-entropy with gradient",
                rows + " x " + classes,
                rows,
                (r, s) -> 2 * r * classes * s,
                (r, s) -> r * classes * 8,
                (kernels, in, r) -> {
                    Buffer logits = in.normal(r * classes);
                    Buffer labels = in.labels(r, classes);
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(r * classes);
                    return () -> kernels.crossEntropy(logits, labels, .1, r, classes, loss, gradient);
                });
    }

    private void features(int rows, int width) {
        int modalities = 3;
        loss(
                "feature loss of 3 with gradient",
                modalities + " x " + rows + " x " + width,
                rows,
                (r, s) -> 3 * modalities * r * width * s,
                (r, s) -> 4 * modalities * r * width,
                (kernels, in, r) -> {
                    Buffer[] projected = new Buffer[modalities];
                    Buffer[] targets = new Buffer[modalities];
                    Buffer[] gradients = new Buffer[modalities];
                    for (int m = 0; m < modalities; m++) {
                        projected[m] = in.normal(r * width);
                        targets[m] = in.normal(r * width);
                        gradients[m] = in.output(r * width);
                    }
                    Buffer losses = in.masterOutput(modalities);
                    Buffer loss = in.masterOutput(1);
                    double[] weights = {1, .5, 2};
                    return () -> kernels.featureLoss(projected, targets, weights, losses, loss, gradients);
                });
    }

    private void distillation(int rows, int classes, int teachers) {
        loss(
                "distillation loss of 3 with gradient",
                teachers + " x " + rows + " x " + classes,
                rows,
                (r, s) -> (teachers + 2) * r * classes * s,
                (r, s) -> (2 * teachers + 20) * r * classes,
                (kernels, in, r) -> {
                    Buffer student = in.normal(r * classes);
                    Buffer[] logits = new Buffer[teachers];
                    for (int t = 0; t < teachers; t++) {
                        logits[t] = in.normal(r * classes);
                    }
                    Buffer weights = in.positive(r * teachers);
                    Buffer labels = in.labels(r, classes);
                    Buffer loss = in.masterOutput(1);
                    Buffer gradient = in.output(r * classes);
                    return () -> kernels.distillationLoss(
                            student, logits, weights, true, labels, 2, 1, .5, r, classes, loss, gradient);
                });
    }

    // --------------------------------------------------------------------------------------------------- optimiser

    private void optimiser() {
        int depth = sizes.config().depth();
        // Of one block: four matrices, then norms and biases.
        long[] lengths = {3L * d * d, (long) d * d, 4L * d * d, 4L * d * d, d, d, d, d, d, 3L * d, d, 4L * d};
        double parameters = (double) depth * Arrays.stream(lengths).sum();
        String shape = depth + " blocks, " + Math.round(parameters) + " parameters";
        cases.add(new KernelCase(
                "global norm",
                shape,
                depth,
                1,
                true,
                (blocks, s) -> blocks / depth * parameters * s,
                (blocks, s) -> blocks / depth * parameters * 2,
                false,
                false,
                (kernels, in, blocks) -> {
                    Buffer[] gradients = new Buffer[Math.toIntExact(blocks * lengths.length)];
                    Arrays.setAll(gradients, i -> in.normal(lengths[i % lengths.length]));
                    Buffer norm = in.masterOutput(1);
                    return () -> kernels.globalNorm(gradients, norm);
                }));
        cases.add(new KernelCase(
                "AdamW",
                shape + "; bf16: gradients and shadows",
                depth,
                1,
                true,
                (blocks, s) -> blocks / depth * parameters * 28,
                (blocks, s) -> blocks / depth * parameters * 14,
                false,
                false,
                (kernels, in, blocks) -> {
                    int count = Math.toIntExact(blocks * lengths.length);
                    boolean shadowed = in.type() == DType.BF16;
                    Buffer[] p = new Buffer[count];
                    Buffer[] g = new Buffer[count];
                    Buffer[] m = new Buffer[count];
                    Buffer[] v = new Buffer[count];
                    @Nullable Buffer[] shadows = new Buffer[count];
                    double[] decay = new double[count];
                    for (int i = 0; i < count; i++) {
                        long length = lengths[i % lengths.length];
                        p[i] = in.written(in.master(length));
                        g[i] = in.normal(length);
                        m[i] = in.written(in.master(length));
                        v[i] = in.written(in.positive(length));
                        shadows[i] = shadowed ? in.shadowOutput(length) : null;
                        decay[i] = length > 4L * d ? .05 : 0;
                    }
                    return () ->
                            kernels.adamW(p, g, m, v, shadowed ? shadows : null, decay, 1e-3, .9, .95, 1e-8, 3, null);
                }));
    }
}
