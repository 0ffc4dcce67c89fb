package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Scaled dot-product attention.
 *
 * <p>Types: all buffers of one call share one type, f32 or f64 on the CPU, f32 or bf16 on a GPU. There the bias and its gradient may
 * be f32 or bf16 each beside data of either type, and the log of the sums is always f32.
 */
public interface Attention {
    /** Added to the score of a query and a key that lie in different regions. */
    float OTHER_REGION = -100;

    /**
     * {@code out = softmax(scale * Q K^T + bias) V}, with the regions' term if there are any, tiled: the matrix of scores never exists as a whole (Dao et al., 2022).
     *
     * @param logSumExp {@code [batch, heads, queries]}, log of the softmax's denominator for the backward pass, or null
     */
    void attention(AttentionShape shape, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp);

    /**
     * Gradients of {@link #attention}.
     *
     * @param gradients of q, k and v, with their strides and overwritten (only the elements that the strides reach); that of the
     *     bias is overwritten too, null where not wanted
     */
    void attentionBackward(
            AttentionShape shape,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients);

    /**
     * What attention looks at.
     *
     * @param bias added to the scores, {@code [biasBatch, heads, queries, keys]} with biasBatch 1 or the batch, or with {@link
     *     AttentionShape#biasOfKeys} {@code [biasBatch, keys]}, or null
     * @param regions i32 {@code [regionBatch, queries]}, or null: sample b has row {@code b % regionBatch}, and {@link
     *     #OTHER_REGION} is added to the score of a query and a key in different regions (the shift mask of Liu et al., "Swin
     *     transformer", ICCV 2021); there are as many keys as queries. Unused in gradients
     */
    record AttentionTensors(
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            @Nullable Buffer regions) {
        /** Without regions. */
        public AttentionTensors(Buffer q, Buffer k, Buffer v, @Nullable Buffer bias) {
            this(q, k, v, bias, null);
        }
    }

    /**
     * Geometry of one attention call. Element (batch b, head h, row n, dim d) of a tensor lies at {@code b *
     * strides.batch + h * strides.head + n * strides.row + d}; so q, k and v may be slices of one packed {@code [B, N, 3,
     * heads, headDim]} buffer.
     *
     * @param biasBatch 1 if all samples share one bias, else the batch size; 0 without bias
     * @param regionBatch rows of the regions, a divisor of the batch; 0 without regions
     * @param biasOfKeys whether all heads and queries share a row of the bias; on a CPU only, and such a bias has no gradient
     */
    record AttentionShape(
            long batch,
            int heads,
            int queries,
            int keys,
            int headDim,
            double scale,
            Strides q,
            Strides k,
            Strides v,
            Strides out,
            long biasBatch,
            long regionBatch,
            boolean biasOfKeys) {
        /** Without regions, and with a bias for each head and query, if any. */
        public AttentionShape(
                long batch,
                int heads,
                int queries,
                int keys,
                int headDim,
                double scale,
                Strides q,
                Strides k,
                Strides v,
                Strides out,
                long biasBatch) {
            this(batch, heads, queries, keys, headDim, scale, q, k, v, out, biasBatch, 0, false);
        }
    }

    /** Strides in elements; the stride of the last axis is 1. */
    record Strides(long batch, long head, long row) {}
}
