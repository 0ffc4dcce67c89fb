package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Random masks and numbers, the same on every device: functions of a {@link RandomStream} and of where a value lies alone, by
 * {@link Philox}.
 *
 * <p>Types: data are f32 or f64 on the CPU, f32 or bf16 on a GPU; indices are i32.
 */
public interface RandomOps {
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
    void randomMask(RandomStream random, MaskShape shape, Buffer visibleIndices, @Nullable Buffer maskedIndices);

    /** Uniform values in {@code [low, high)}: element i from Philox4x32 word {@code i % 4} of counter {@code i / 4}. */
    void randomUniform(RandomStream random, double low, double high, Buffer y);

    /**
     * Normal values by the Box-Muller transform: elements 2j and 2j + 1 are {@code r cos(a)} and {@code r sin(a)} with
     * {@code r = sqrt(-2 ln(1 - u))} and {@code a = 2 pi v} of the uniform numbers u and v that {@link #randomUniform} in
     * [0, 1) gives those two elements.
     */
    void randomNormal(RandomStream random, double mean, double std, Buffer y);

    /** {@code y[i] = x[i] / (1 - p)} where the i-th uniform number of (seed, stream) is at least p, else 0; may work in place. */
    void dropout(RandomStream random, Buffer x, double p, Buffer y);

    /**
     * Stochastic depth (Huang et al., 2016) fused with the residual sum: for each sample b of {@code batch} equal parts,
     * {@code y[b] = residual[b] + x[b] / (1 - p)} where the b-th uniform number of (seed, stream) is at least p, else
     * {@code residual[b]}; x is not looked at then. May work in place.
     *
     * @param residual null for zeros, as in the gradient of x
     */
    void dropPath(RandomStream random, @Nullable Buffer residual, Buffer x, double p, long batch, Buffer y);

    /** Which random numbers are drawn. */
    record RandomStream(long seed, long stream) {}

    /**
     * What a mask covers.
     *
     * @param batch samples
     * @param slots patches along time
     * @param plane patches in the plane of one slot
     * @param masked patches of a plane that are hidden
     * @param tube whether all slots share one plane's mask
     */
    record MaskShape(long batch, int slots, int plane, int masked, boolean tube) {}
}
