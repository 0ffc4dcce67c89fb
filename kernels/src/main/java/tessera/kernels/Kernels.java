package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Every numerical primitive, on raw contiguous buffers of one device.
 *
 * <p>All matrices are row-major. Unless a method says otherwise, floating buffers of one call share one type, f32 or f64;
 * indices and labels are i32. Sizes may be zero. Callers have checked shapes: these methods check only what would
 * otherwise corrupt memory. Outputs may not overlap inputs except where a method says that it works in place.
 *
 * <p>Results are deterministic: the same inputs and the same number of threads give the same bits. Implementations are
 * thread-safe; each call returns when its outputs are complete (CPU) or enqueued in order (GPU).
 */
public interface Kernels {

    // ------------------------------------------------------------------------------------------------ element-wise

    /** {@code y[i] = value} for every floating or integer type. */
    void fill(Buffer y, double value);

    /** {@code y[i] = x[i]}, converting between any two types; bf16 rounds to nearest even, integers saturate. */
    void cast(Buffer x, Buffer y);

    /**
     * Copies a strided view into another: for every index of {@code shape}, {@code y[yOffset + i . yStrides] = x[xOffset +
     * i . xStrides]}. Any type, the same on both sides. A stride of 0 on the input broadcasts.
     */
    void copyStrided(Buffer x, long xOffset, long[] xStrides, Buffer y, long yOffset, long[] yStrides, long[] shape);

    /** {@code y = op(x)}; may work in place. */
    void unary(UnaryOp op, Buffer x, Buffer y);

    /** {@code dx = dy * op'(x)}; {@code dx} may be {@code dy}. */
    void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx);

    /**
     * {@code y = a op b} with {@code y} contiguous in {@code shape} and the inputs read by strides in elements, 0 where
     * they are broadcast.
     */
    void binary(BinaryOp op, Buffer a, long[] aStrides, Buffer b, long[] bStrides, Buffer y, long[] shape);

    /** {@code y = alpha * x + beta}; may work in place. */
    void affine(Buffer x, double alpha, double beta, Buffer y);

    /** {@code y += alpha * x}. */
    void axpy(double alpha, Buffer x, Buffer y);

    /** {@code y = x * scale[0]} where {@code scale} has one element; may work in place. */
    void scaleBy(Buffer x, Buffer scale, Buffer y);

    /** Sum over the middle axis: {@code y[o, i] = scale * sum_r x[o, r, i]} for x {@code [outer, reduced, inner]}. */
    void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y);

    // ------------------------------------------------------------------------------------------------------ matmul

    /**
     * {@code C = act(op(A) op(B) + bias + addend)}, in one pass where the device can.
     *
     * @param bias {@code [n]}, or null
     * @param addend laid out as C: C itself, to add to what it holds, or another buffer, which stays as it is; or null
     */
    void matmul(
            MatmulShape shape,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer c);

    /** {@code batch} independent products of one shape; each matrix lies {@code strideX} elements after the one before. */
    void matmulBatched(
            MatmulShape shape, long batch, Buffer a, long strideA, Buffer b, long strideB, Buffer c, long strideC);

    /**
     * Geometry of {@code C = op(A) op(B)} with op(A) {@code [m, k]}, op(B) {@code [k, n]} and C {@code [m, n]}.
     *
     * @param transposeA whether A is stored as {@code [k, m]}
     * @param transposeB whether B is stored as {@code [n, k]}
     * @param lda distance of the rows of A as stored, in elements; so a matrix may be a slice of columns of a wider one
     */
    record MatmulShape(boolean transposeA, boolean transposeB, long m, long n, long k, long lda, long ldb, long ldc) {
        /** Matrices without gaps. */
        public static MatmulShape of(boolean transposeA, boolean transposeB, long m, long n, long k) {
            return new MatmulShape(transposeA, transposeB, m, n, k, transposeA ? m : k, transposeB ? k : n, n);
        }

        /** As many rows of C and op(A). */
        MatmulShape rows(long count) {
            return new MatmulShape(transposeA, transposeB, count, n, k, lda, ldb, ldc);
        }

        /** As many columns of C and op(B). */
        MatmulShape columns(long count) {
            return new MatmulShape(transposeA, transposeB, m, count, k, lda, ldb, ldc);
        }
    }

    /**
     * Copies a linear weight {@code [n, k]} into the layout the device's matmul likes best. The packed weight is
     * immutable, usable from many threads, and closed by the caller.
     */
    PackedWeight pack(Buffer weight, long n, long k);

    /** {@code y = act(x W^T + bias + addend)} with x {@code [m, k]} and y {@code [m, n]}; the addend as in {@link #matmul}. */
    void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer y);

    /**
     * Gradients of a linear layer's parameters: {@code dW = dY^T X} and {@code db}, the sums of the columns of dY, for dY
     * {@code [m, n]}, X {@code [m, k]}, dW {@code [n, k]} and db {@code [n]}, all without gaps; db has the type of dW.
     */
    void linearBackward(long m, long n, long k, Buffer dy, Buffer x, Buffer dw, Buffer db);

    /** A linear weight in a device's own layout. */
    interface PackedWeight extends AutoCloseable {
        /** Output features. */
        long n();

        /** Input features. */
        long k();

        @Override
        void close();
    }

    // ------------------------------------------------------------------------------------------- norm and softmax

    /**
     * {@code y = (x - mean) * rstd * gamma + beta} over the last axis, with the biased variance and {@code rstd = 1 /
     * sqrt(var + eps)}. Statistics are written to {@code mean} and {@code rstd} ({@code [rows]}) where not null.
     */
    void layerNorm(
            Buffer x,
            Buffer gamma,
            Buffer beta,
            double eps,
            long rows,
            long cols,
            Buffer y,
            @Nullable Buffer mean,
            @Nullable Buffer rstd);

    /**
     * Gradients of {@link #layerNorm}; {@code dgamma} and {@code dbeta} are overwritten, each output may be null.
     *
     * @param addend added to {@code dx} as it is written, shaped as x and read only, or null; the gradient of a residual
     *     path around the norm
     */
    void layerNormBackward(
            Buffer x,
            Buffer gamma,
            Buffer mean,
            Buffer rstd,
            Buffer dy,
            long rows,
            long cols,
            @Nullable Buffer addend,
            @Nullable Buffer dx,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta);

    /** Softmax (or its logarithm) of each row, computed after subtracting the row's maximum; may work in place. */
    void softmax(Buffer x, long rows, long cols, boolean log, Buffer y);

    /** Gradient of {@link #softmax} from its output {@code y}; may work in place on {@code dy}. */
    void softmaxBackward(Buffer y, Buffer dy, long rows, long cols, boolean log, Buffer dx);

    // --------------------------------------------------------------------------------------------------- attention

    /**
     * Scaled dot-product attention, {@code softmax(scale * Q K^T + bias) V}, tiled: the matrix of scores never exists as
     * a whole.
     *
     * @param bias added to the scores, {@code [biasBatch, heads, queries, keys]} with biasBatch 1 or the batch, or null
     * @param logSumExp {@code [batch, heads, queries]}, log of the softmax's denominator for the backward pass, or null
     */
    void attention(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            @Nullable Buffer logSumExp);

    /**
     * Gradients of {@link #attention}. {@code dq}, {@code dk}, {@code dv} have the strides of q, k, v and are overwritten
     * (only the elements that the strides reach); {@code dbias} is overwritten, null where not wanted.
     */
    void attentionBackward(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            Buffer dq,
            Buffer dk,
            Buffer dv,
            @Nullable Buffer dbias);

    /**
     * Geometry of one attention call. Element (batch b, head h, row n, dim d) of a tensor lies at {@code b *
     * strides.batch + h * strides.head + n * strides.row + d}; so q, k and v may be slices of one packed {@code [B, N, 3,
     * heads, headDim]} buffer.
     *
     * @param biasBatch 1 if all samples share one bias, else the batch size; 0 without bias
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
            long biasBatch) {}

    /** Strides in elements; the stride of the last axis is 1. */
    record Strides(long batch, long head, long row) {}

    // -------------------------------------------------------------------------------------------- masking, tokens

    /**
     * Random masks as ascending index lists over {@code slots * plane} tokens per sample (VideoMAE's tube masking): the
     * plane's cells are shuffled by random numbers of (seed, stream, sample) and the first {@code masked} are hidden. With
     * {@code tube} all slots share one plane; otherwise each slot draws its own.
     *
     * <p>Cell c of slot s (s = 0 for tubes) of sample b has the key {@code Philox4x32(seed, stream, (b * slots + s) * plane
     * + c)}, first word, compared unsigned, ties by smaller c; the {@code masked} smallest keys are masked. The same on
     * every device.
     *
     * @param visibleIndices i32 {@code [batch, slots * (plane - masked)]}
     * @param maskedIndices i32 {@code [batch, slots * masked]}, or null
     */
    void randomMask(
            long seed,
            long stream,
            long batch,
            int slots,
            int plane,
            int masked,
            boolean tube,
            Buffer visibleIndices,
            @Nullable Buffer maskedIndices);

    /**
     * Cuts patches out of a video, normalises and flattens them: row r = (b, j) of {@code out} is the patch {@code
     * indices[b, j]} of sample b as a vector in the order (c, dt, dy, dx), each value {@code (pixel * scale - mean[c]) /
     * std[c]}. Only visible patches are ever read.
     *
     * @param video u8, f32 or f64, addressed by the geometry's strides
     * @param indices i32 {@code [batch, count]}, or null for all patches in order
     * @param out f32 or f64 {@code [batch, count, patchLength]}
     */
    void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out);

    /**
     * Gradient of {@link #gatherPatches} with respect to a floating video: adds {@code dout * scale / std[c]} of each
     * patch to {@code dvideo}, which the caller has cleared.
     */
    void scatterPatches(PatchGeometry geometry, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo);

    /**
     * Target of masked reconstruction (VideoMAE, norm_pix_loss): each listed patch in the order (dt, dy, dx, c), normalised
     * per patch and channel over its pixels by mean and unbiased standard deviation, {@code (x - mean) / (sqrt(var) +
     * eps)} where x is the de-normalised value, or left raw without {@code normalise}. The video holds values x =
     * pixel * scale (before mean and std); a video that was already normalised by std is the same with eps / std, so pass
     * {@code geometry} with the scale and std that apply and {@code eps}.
     *
     * @param target {@code [batch, count, patchLength]}
     */
    void reconstructionTarget(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer target);

    /**
     * Mean squared error against {@link #reconstructionTarget}, without materialising the target.
     *
     * @param loss one element: mean over {@code batch * count * patchLength}
     * @param dprediction gradient of the loss, shaped as the prediction, or null
     */
    void reconstructionLoss(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction);

    /** {@code y[b, j, :] = x[b, indices[b, j], :]} for x {@code [batch, n, d]}, indices {@code [batch, m]}. */
    void gatherRows(Buffer x, Buffer indices, long batch, long n, long m, long d, Buffer y);

    /** Adjoint of {@link #gatherRows}: clears {@code dx} and adds each row of {@code dy}, in ascending j. */
    void scatterRows(Buffer dy, Buffer indices, long batch, long n, long m, long d, Buffer dx);

    /** {@code y[b, j, :] = x[b, j, :] + table[indices[b, j], :]}; null indices mean j itself. May work in place. */
    void addRows(Buffer x, Buffer table, @Nullable Buffer indices, long batch, long m, long d, Buffer y);

    /**
     * Input of VideoMAE's decoder: {@code [visible + table[visibleIndices]; maskToken + table[maskedIndices]]} along the
     * token axis, without un-shuffling. y is {@code [batch, visibleCount + maskedCount, d]}.
     */
    void assembleDecoder(
            Buffer visible,
            Buffer visibleIndices,
            Buffer maskedIndices,
            Buffer maskToken,
            Buffer table,
            long batch,
            long visibleCount,
            long maskedCount,
            long d,
            Buffer y);

    /** Gradients of {@link #assembleDecoder}; both outputs are overwritten. */
    void assembleDecoderBackward(
            Buffer dy, long batch, long visibleCount, long maskedCount, long d, Buffer dvisible, Buffer dmaskToken);

    /**
     * Where the patches of a video lie.
     *
     * @param batch samples
     * @param frames height width channels size of one sample, multiples of the patch
     * @param tubelet frames per patch
     * @param patch pixels per patch side
     * @param strideB strides of the video in elements along batch, time, row, column and channel, so that channel-last
     *     frames and channel-first tensors are read alike
     * @param scale factor on raw values (1/255 for u8 pixels)
     * @param mean subtracted per channel after scaling
     * @param std divided by per channel
     */
    record PatchGeometry(
            long batch,
            int frames,
            int height,
            int width,
            int channels,
            int tubelet,
            int patch,
            long strideB,
            long strideT,
            long strideY,
            long strideX,
            long strideC,
            double scale,
            double[] mean,
            double[] std) {
        /** Patches along time. */
        public int slots() {
            return frames / tubelet;
        }

        /** Patches in the plane of one slot. */
        public int plane() {
            return (height / patch) * (width / patch);
        }

        /** Patches of one sample. */
        public int patches() {
            return slots() * plane();
        }

        /** Values of one patch. */
        public int patchLength() {
            return channels * tubelet * patch * patch;
        }
    }

    // ------------------------------------------------------------------------------------------------------ random

    /** Uniform values in {@code [low, high)}: element i from Philox4x32 word {@code i % 4} of counter {@code i / 4}. */
    void randomUniform(long seed, long stream, double low, double high, Buffer y);

    /**
     * Normal values by the Box-Muller transform: elements 2j and 2j + 1 are {@code r cos(a)} and {@code r sin(a)} with
     * {@code r = sqrt(-2 ln(1 - u))} and {@code a = 2 pi v} of the uniform numbers u and v that {@link #randomUniform} in
     * [0, 1) gives those two elements.
     */
    void randomNormal(long seed, long stream, double mean, double std, Buffer y);

    /** {@code y[i] = x[i] / (1 - p)} where the i-th uniform number of (seed, stream) is at least p, else 0; may work in place. */
    void dropout(Buffer x, double p, long seed, long stream, Buffer y);

    /**
     * Stochastic depth (Huang et al., 2016) fused with the residual sum: for each sample b of {@code batch} equal parts,
     * {@code y[b] = residual[b] + x[b] / (1 - p)} where the b-th uniform number of (seed, stream) is at least p, else
     * {@code residual[b]}; x is not looked at then. May work in place.
     *
     * @param residual null for zeros, as in the gradient of x
     */
    void dropPath(@Nullable Buffer residual, Buffer x, double p, long seed, long stream, long batch, Buffer y);

    // ------------------------------------------------------------------------------------------------------ losses

    /**
     * Mean softmax cross-entropy with label smoothing s: target {@code (1 - s) onehot + s / cols}. Loss and gradient in one
     * pass.
     *
     * @param logits {@code [rows, cols]}
     * @param labels i32 {@code [rows]}
     * @param loss one element
     * @param dlogits gradient of the loss, or null
     */
    void crossEntropy(
            Buffer logits,
            Buffer labels,
            double smoothing,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dlogits);

    /** {@code loss = mean((a - b)^2)}; {@code da = 2 (a - b) / count} where not null. */
    void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da);

    /**
     * Multi-modality feature distillation (MM-CDFSL): {@code sum_m weights[m] * mean((projected[m] - target[m])^2)} over
     * all modalities in one pass, with the gradients of the projected features.
     *
     * @param losses one element per modality, unweighted
     * @param loss one element, the weighted sum
     */
    void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected);

    /**
     * Weighted-ensemble logit distillation (Radevski et al., ICCV 2023): with ensemble logits {@code z = sum_t w_t z_t},
     * {@code loss = alpha T^2 mean_b KL(softmax(z / T) || softmax(student / T)) + beta CE(student, labels)}; loss and gradient
     * in one pass, in log space.
     *
     * @param teachers each {@code [rows, cols]}, at most 8
     * @param weights {@code [teachers]} or per sample {@code [rows, teachers]}
     * @param labels i32 {@code [rows]}; may be null if beta is 0
     * @param loss one element
     */
    void distillationLoss(
            Buffer student,
            Buffer[] teachers,
            Buffer weights,
            boolean perSample,
            @Nullable Buffer labels,
            double temperature,
            double alpha,
            double beta,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dstudent);

    // --------------------------------------------------------------------------------------------------- optimiser

    /**
     * L2 norm of all elements of many gradients together, each f32, f64 or bf16. Squares are summed in f32 at least. NaN or
     * infinite where an element is, or where that sum overflows.
     *
     * @param norm one element, f32 or f64
     */
    void globalNorm(Buffer[] gradients, Buffer norm);

    /**
     * How {@link #adamW} scales gradients: by {@code min(1, largest / (norm + 1e-6))}, as PyTorch's {@code clip_grad_norm_}.
     * What is not finite stays visible there too: a norm of NaN makes every parameter NaN, an infinite one the parameters
     * whose gradient is infinite (others get a gradient of 0). Who wants to stop before looks at the norm.
     *
     * @param norm one element that {@link #globalNorm} wrote
     */
    record Clip(Buffer norm, double largest) {}

    /**
     * One AdamW step (Loshchilov and Hutter, 2019) on many tensors at once: {@code p *= 1 - lr * decay; m, v} updated;
     * {@code p -= lr * mhat / (sqrt(vhat) + eps)}. Parameters and moments f32 or all f64; each gradient of their type or bf16.
     *
     * @param shadows bf16 copies of the parameters that are written in the same pass, null where there is none
     * @param decay weight decay of each tensor
     * @param step 1 for the first step
     * @param clip how the gradients are scaled first, null for as they are
     */
    void adamW(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            @Nullable Buffer @Nullable [] shadows,
            double[] decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step,
            @Nullable Clip clip);

    // ------------------------------------------------------------------------------------------------------- names

    /** What follows a matmul. */
    enum Activation {
        NONE,
        /** Exact GELU, x Phi(x). */
        GELU
    }

    /** Element-wise functions of one argument. */
    enum UnaryOp {
        NEG,
        ABS,
        SQUARE,
        SQRT,
        EXP,
        LOG,
        TANH,
        SIGMOID,
        RELU,
        /** Exact GELU, x Phi(x) with the normal distribution function Phi by erf. */
        GELU
    }

    /** Element-wise functions of two arguments. */
    enum BinaryOp {
        ADD,
        SUB,
        MUL,
        DIV
    }
}
