package tessera.tensor;

import org.jspecify.annotations.Nullable;

/** Operations on the tokens of masked models. */
public final class Tokens {
    private Tokens() {}

    /**
     * Adds to each token its row of a fixed position table.
     *
     * @param x {@code [B, M, D]}
     * @param table {@code [N, D]}, without a gradient
     * @param indices i32 {@code [B, M]}, or null if token j has position j
     */
    public static Tensor addPositions(Tensor x, Tensor table, @Nullable Tensor indices) {
        TokensOps.AddPositions op = new TokensOps.AddPositions();
        return indices == null ? Op.apply(op, x, table) : Op.apply(op, x, table, indices);
    }

    /**
     * Sums of tokens: row i of a sample's result is the sum of its tokens j with {@code indices[j] == i}, in ascending j, and zeros where
     * there is none. The adjoint of {@link Tensor#gatherRows}.
     *
     * @param x {@code [B, M, D]}
     * @param indices i32 {@code [B, M]}, each below {@code count}
     * @param count rows of the result
     * @return {@code [B, count, D]}
     */
    public static Tensor scatterRows(Tensor x, Tensor indices, long count) {
        return Op.apply(new TokensOps.ScatterRows(count), x, indices);
    }

    /**
     * Input of VideoMAE's decoder: visible tokens with their positions, then a copy of the mask token with each masked
     * position, without un-shuffling.
     *
     * @param visible {@code [B, Nvis, D]}
     * @param maskToken D values
     * @param table {@code [N, D]}
     * @return {@code [B, Nvis + Nmask, D]}
     */
    public static Tensor assembleDecoder(Tensor visible, Tensor maskToken, Tensor table, TokenMask mask) {
        return Op.apply(
                new TokensOps.AssembleDecoder(),
                visible,
                maskToken.to(visible.dtype()),
                table,
                mask.visible(),
                mask.masked());
    }
}
