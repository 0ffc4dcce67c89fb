package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * Gathering, scattering and assembling of tokens.
 *
 * <p>Types: tokens and tables share one type, f32 or f64 on the CPU, f32 or bf16 on a GPU; functions say where they take others.
 * Indices are i32.
 */
public interface Tokens {
    /**
     * {@code y[b, j, :] = x[b, indices[b, j], :]} for x {@code [batch, tokens, width]}, indices {@code [batch, selected]}, and x and y
     * of any one type, on a GPU of 1, 2 or 4 bytes.
     */
    void gatherRows(TokenShape shape, Buffer x, Buffer indices, Buffer y);

    /** Adjoint of {@link #gatherRows}: clears {@code dx} and adds each row of {@code dy}, in ascending j. */
    void scatterRows(TokenShape shape, Buffer dy, Buffer indices, Buffer dx);

    /**
     * Rows by one index list for all samples: {@code y[b, j, :] = x[b, index[j], :]}, and zeros where {@code index[j]} is -1, for
     * x {@code [batch, tokens, width]} and index {@code [selected]}.
     */
    void selectRows(TokenShape shape, Buffer x, Buffer index, Buffer y);

    /**
     * Adjoint of {@link #selectRows}: {@code dx[b, i, :]} is the sum of {@code dy[b, j, :]} over all j with {@code index[j] == i},
     * in an order that does not depend on the number of threads. All of {@code dx} is overwritten.
     */
    void sumRows(TokenShape shape, Buffer dy, Buffer index, Buffer dx);

    /**
     * {@code y[b, j, :] = x[b, j, :] + table[indices[b, j], :]} for x {@code [batch, selected, width]} and a table of
     * {@code tokens} rows; null indices mean j itself. May work in place.
     */
    void addRows(TokenShape shape, Buffer x, Buffer table, @Nullable Buffer indices, Buffer y);

    /**
     * Input of VideoMAE's decoder: {@code [visible + table[indices.visible]; maskToken + table[indices.masked]]} along the token
     * axis, without un-shuffling.
     *
     * @param visible {@code [batch, visible, width]}
     * @param y {@code [batch, visible + masked, width]}
     */
    void assembleDecoder(
            DecoderShape shape, Buffer visible, TokenIndices indices, Buffer maskToken, Buffer table, Buffer y);

    /**
     * Gradients of {@link #assembleDecoder}; both outputs are overwritten. On a GPU the mask token's is f32 or bf16, whatever the
     * tokens are.
     */
    void assembleDecoderBackward(DecoderShape shape, Buffer dy, Buffer dvisible, Buffer dmaskToken);

    /** Rows of {@code width} values: {@code selected} of the {@code tokens} of each sample. */
    record TokenShape(long batch, long tokens, long selected, long width) {}

    /** How many of a sample's tokens are visible and masked, and their width. */
    record DecoderShape(long batch, long visible, long masked, long width) {}

    /** Which tokens are visible and which masked, i32 {@code [batch, visible]} and {@code [batch, masked]}. */
    record TokenIndices(Buffer visible, Buffer masked) {}
}
