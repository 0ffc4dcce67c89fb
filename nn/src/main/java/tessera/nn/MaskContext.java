package tessera.nn;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * What a {@link MaskStrategy} may look at: where the masks are needed, how many of which size, and what determines them.
 *
 * @param device where the masks are used; a strategy may make them elsewhere, they are then copied
 * @param batch number of masks, one for each clip
 * @param grid the tokens of a clip: token {@code slot * plane + row * columns + column}
 * @param ratio share of hidden cells, in [0, 1)
 * @param seed with {@code stream} and {@code member} determines the masks
 * @param stream number of the draw in training, so that every step sees other masks; 0 in inference
 * @param member number of the mask in an ensemble, from 0; 0 in training
 * @param clips what is to be looked at, u8 or f32 {@code [batch, T, H, W, C]} on any device, or null where masks are drawn without
 *     clips: on the device in recorded training, and for a model that has its masks built in. Only to be read
 * @param saliency of each clip the norm of each of its tokens in the latest pass that saw it, NaN where none has, {@code
 *     [batch][tokens]}; or null in a first pass and for strategies that do not {@link MaskStrategy#looksBack look back}. Only to be read
 */
public record MaskContext(
        Device device,
        long batch,
        TokenGrid grid,
        double ratio,
        long seed,
        long stream,
        int member,
        @Nullable Tensor clips,
        float @Nullable [][] saliency) {

    /** Masks that are drawn without clips. */
    public MaskContext(Device device, long batch, TokenGrid grid, double ratio, long seed, long stream, int member) {
        this(device, batch, grid, ratio, seed, stream, member, null, null);
    }

    /** Masks that are drawn without clips, for a strategy to which it does not matter how the cells of a slot lie: they are one row. */
    public MaskContext(
            Device device, long batch, int slots, int plane, double ratio, long seed, long stream, int member) {
        this(device, batch, new TokenGrid(slots, 1, plane), ratio, seed, stream, member);
    }

    /** Time slots of the token grid. */
    public int slots() {
        return grid.slots();
    }

    /** Cells of one slot. */
    public int plane() {
        return grid.plane();
    }

    /**
     * Cells of a slot that are to be seen, {@code plane - floor(ratio * plane)}: {@code slots} times as many tokens.
     *
     * @throws IllegalArgumentException if the ratio leaves none
     */
    public int shown() {
        return plane() - TokenMask.maskedCells(plane(), ratio);
    }

    /** The same for another mask of the ensemble. */
    public MaskContext withMember(int other) {
        return new MaskContext(device, batch, grid, ratio, seed, stream, other, clips, saliency);
    }

    /**
     * Checks the tokens that a mask leaves visible: kernels trust their indices.
     *
     * @param count visible tokens of the first mask of the ensemble
     * @throws IllegalArgumentException if they are not i32 {@code [batch, count]} or one is not of the grid
     */
    public void requireVisible(TokenMask mask, long count) {
        Tensor visible = mask.visible();
        if (visible.rank() != 2
                || visible.dtype() != DType.I32
                || visible.size(0) != batch
                || visible.size(1) < 1
                || visible.size(1) != count) {
            throw new IllegalArgumentException("the mask strategy's mask " + member + " sees tokens "
                    + visible.describe() + "; it must draw i32[" + batch
                    + ", n] with the same n of 1 or more for every mask of an ensemble");
        }
        for (int token : visible.toInts()) {
            if (token < 0 || token >= grid.tokens()) {
                throw new IllegalArgumentException("the mask strategy's mask " + member + " sees token " + token
                        + " but the student's tokens are 0 to " + (grid.tokens() - 1));
            }
        }
    }

    /**
     * Checks a mask to train with: each token of a clip is visible or hidden, once.
     *
     * @throws IllegalArgumentException if not; the message names the clip and the token
     */
    public void requireWhole(TokenMask mask) {
        requireVisible(mask, mask.visible().rank() == 2 ? mask.visible().size(1) : 0);
        Tensor hidden = mask.masked();
        long rest = grid.tokens() - mask.visibleCount();
        if (hidden.rank() != 2 || hidden.dtype() != DType.I32 || hidden.size(0) != batch || hidden.size(1) != rest) {
            throw new IllegalArgumentException("the mask strategy hides tokens " + hidden.describe() + " and shows "
                    + mask.visible().describe() + " of " + grid.tokens() + "; it must hide i32[" + batch + ", "
                    + rest + "], each token that it does not show");
        }
        int[] shown = mask.visible().toInts();
        int[] others = hidden.toInts();
        int seen = shown.length / Math.toIntExact(batch);
        for (int b = 0; b < batch; b++) {
            boolean[] met = new boolean[grid.tokens()];
            for (int i = 0; i < grid.tokens(); i++) {
                int token = i < seen ? shown[b * seen + i] : others[b * (grid.tokens() - seen) + i - seen];
                if (token < 0 || token >= grid.tokens() || met[token]) {
                    throw new IllegalArgumentException("the mask strategy's mask of clip " + b + " names token " + token
                            + " twice, or there is none; it must name each of 0 to " + (grid.tokens() - 1)
                            + " once, as visible or as masked");
                }
                met[token] = true;
            }
        }
    }
}
