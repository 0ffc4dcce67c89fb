package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Norms and softmax over the last axis.
 *
 * <p>Types: data are f32 or f64 on the CPU, f32 or bf16 on a GPU. Beside bf16 data, {@code gamma}, {@code beta}, their gradients
 * and the statistics are f32; else they have the type of the data.
 */
public interface Norms {
    /**
     * Layer norm (Ba et al., 2016): {@code y = (x - mean) * rstd * gamma + beta} over each row, with the biased variance and {@code
     * rstd = 1 / sqrt(var + eps)}.
     *
     * @param statistics where mean and rstd are written for the backward pass, or null
     */
    void layerNorm(RowShape shape, Buffer x, NormParameters parameters, Buffer y, @Nullable NormStatistics statistics);

    /** Gradients of {@link #layerNorm}. */
    void layerNormBackward(
            RowShape shape, Buffer x, Buffer gamma, NormStatistics statistics, Buffer dy, NormGradients gradients);

    /** Softmax (or its logarithm) of each row, computed after subtracting the row's maximum; may work in place. */
    void softmax(RowShape shape, Buffer x, boolean log, Buffer y);

    /** Gradient of {@link #softmax} from its output {@code y}; may work in place on {@code dy}. */
    void softmaxBackward(RowShape shape, Buffer y, Buffer dy, boolean log, Buffer dx);

    /** Data of {@code rows} rows of {@code cols} neighbouring values. */
    record RowShape(long rows, long cols) {}

    /** Scale and shift of a norm, {@code [cols]} each, and what is added to the variance. */
    record NormParameters(Buffer gamma, Buffer beta, double eps) {}

    /** Mean and reciprocal standard deviation of each row, {@code [rows]} each. */
    record NormStatistics(Buffer mean, Buffer rstd) {}

    /**
     * Where the gradients of a norm go; all are overwritten, each may be null.
     *
     * @param addend added to {@code dx} as it is written, shaped as x and read only, or null; the gradient of a residual
     *     path around the norm
     * @param dx shaped as x
     * @param dgamma {@code [cols]}
     * @param dbeta {@code [cols]}
     */
    record NormGradients(
            @Nullable Buffer addend,
            @Nullable Buffer dx,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta) {}
}
