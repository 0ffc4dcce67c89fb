package tessera.jmh.gpu;

import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;

/** Scaled dot-product attention. */
final class AttentionCases extends FamilyCases {
    /** The head dim of ViT-H. */
    private static final int WIDE_HEAD = 80;

    AttentionCases(Sizes sizes) {
        super(sizes);
    }

    @Override
    void all() {
        whole();
        windows(8, visible, 2 * heads, d);
    }

    /** What warpgroups compute only where it was measured that they had better: in windows, and of wide heads. */
    void rare() {
        windows(8, visible, 2 * heads, d);
        attention("attention of wide heads", visible, 4, 4 * WIDE_HEAD);
    }

    /** Whether a case of attention is one of {@link #rare}. */
    static boolean isRare(KernelCase one) {
        return isInWindows(one) || one.name().contains("of wide heads");
    }

    static boolean isInWindows(KernelCase one) {
        return one.name().contains("in windows");
    }

    /** Attention without a bias and regions, for which there are several providers. */
    void whole() {
        attention("attention", visible, heads, d);
        attention("attention", tokens, heads, d);
        attention(
                "attention of the decoder",
                tokens,
                sizes.config().decoderHeads(),
                sizes.config().decoderDim());
    }

    /** The lengths that the other mask ratios of the paper leave. */
    void otherLengths() {
        for (double ratio : new double[] {PRETRAIN_RHO, .5}) {
            attention("attention", sizes.visible(ratio), heads, d);
        }
    }

    private void attention(String name, int n, int h, int width) {
        String shape = batched(n, h, width / h);
        double products = 2.0 * n * n * width;
        multiplies(
                "attention.attention",
                name,
                shape,
                (b, s) -> b * 4 * n * width * s,
                (b, s) -> b * 2 * products,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * n * 3 * width);
                    Buffer out = in.output(b * n * width);
                    AttentionShape form = attentionShape(b, n, h, width);
                    AttentionTensors tensors = tensors(qkv, width);
                    return () -> kernels.attention().attention(form, tensors, out, null);
                });
        multiplies(
                "attention.attentionBackward",
                name + " backward",
                shape,
                (b, s) -> b * 8 * n * width * s,
                (b, s) -> b * 5 * products,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * n * 3 * width);
                    Buffer dout = in.normal(b * n * width);
                    Buffer out = in.output(b * n * width);
                    Buffer logSumExp = in.masterOutput(b * h * n);
                    Buffer dqkv = in.output(b * n * 3 * width);
                    AttentionShape form = attentionShape(b, n, h, width);
                    AttentionTensors tensors = tensors(qkv, width);
                    AttentionTensors gradients = tensors(dqkv, width);
                    kernels.attention().attention(form, tensors, out, logSumExp);
                    return () -> kernels.attention().attentionBackward(form, tensors, out, logSumExp, dout, gradients);
                });
    }

    /** Attention in windows with one bias and regions, as in Swin. */
    private void windows(int count, int n, int h, int width) {
        String shape = batched(count, n, h, width / h);
        double products = 2.0 * n * n * width * count;
        double pairs = (double) h * n * n;
        multiplies(
                "attention.attention",
                "attention in windows",
                shape,
                (b, s) -> (b * 4 * count * n * width + pairs) * s,
                (b, s) -> b * 2 * products,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * count * n * 3 * width);
                    AttentionTensors tensors = windows(in, qkv, width, (long) pairs, count, n);
                    Buffer out = in.output(b * count * n * width);
                    AttentionShape form = windowShape(b * count, n, h, width, count);
                    return () -> kernels.attention().attention(form, tensors, out, null);
                });
        multiplies(
                "attention.attentionBackward",
                "attention in windows backward",
                shape,
                (b, s) -> (b * 8 * count * n * width + 2 * pairs) * s,
                (b, s) -> b * 5 * products,
                (kernels, in, b) -> {
                    Buffer qkv = in.normal(b * count * n * 3 * width);
                    AttentionTensors tensors = windows(in, qkv, width, (long) pairs, count, n);
                    Buffer dout = in.normal(b * count * n * width);
                    Buffer out = in.output(b * count * n * width);
                    Buffer logSumExp = in.masterOutput(b * count * h * n);
                    Buffer dqkv = in.output(b * count * n * 3 * width);
                    AttentionTensors gradients = new AttentionTensors(
                            dqkv, part(dqkv, 1, width), part(dqkv, 2, width), in.output((long) pairs));
                    AttentionShape form = windowShape(b * count, n, h, width, count);
                    kernels.attention().attention(form, tensors, out, logSumExp);
                    return () -> kernels.attention().attentionBackward(form, tensors, out, logSumExp, dout, gradients);
                });
    }

    private static AttentionTensors windows(Inputs in, Buffer qkv, int width, long pairs, int count, int n) {
        return new AttentionTensors(
                qkv, part(qkv, 1, width), part(qkv, 2, width), in.normal(pairs), in.regions(count, n));
    }

    private static AttentionShape windowShape(long windows, int n, int h, int width, int regionBatch) {
        AttentionShape plain = attentionShape(windows, n, h, width);
        return new AttentionShape(
                windows,
                h,
                n,
                n,
                plain.headDim(),
                plain.scale(),
                plain.q(),
                plain.k(),
                plain.v(),
                plain.out(),
                1,
                regionBatch,
                false);
    }

    /** The three parts of {@code [B, N, 3, D]}. */
    private static AttentionTensors tensors(Buffer qkv, int width) {
        return new AttentionTensors(qkv, part(qkv, 1, width), part(qkv, 2, width), null);
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
}
