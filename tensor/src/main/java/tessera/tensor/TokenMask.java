package tessera.tensor;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;

/**
 * Which tokens of each sample a model sees: two ascending index lists per sample.
 *
 * <p>One mask serves every model whose modality lies on the same token grid. The tensors belong to whoever made the mask.
 *
 * @param visible i32 {@code [B, Nvis]}
 * @param masked i32 {@code [B, Nmask]}
 */
public record TokenMask(Tensor visible, Tensor masked) {

    /**
     * Tube masks (Tong et al., VideoMAE, NeurIPS 2022): {@code floor(maskRatio * plane)} random cells of the plane are
     * hidden, the same ones in every time slot, so that motion does not reveal them.
     *
     * @param batch number of masks
     * @param slots time slots of the token grid
     * @param plane cells of one slot
     * @param maskRatio share of hidden cells, in [0, 1), leaving at least one cell
     * @param seed with {@code stream} determines the masks, on every device alike
     */
    public static TokenMask tubes(
            Device device, long batch, int slots, int plane, double maskRatio, long seed, long stream) {
        return random(device, batch, slots, plane, maskedCells(plane, maskRatio), true, seed, stream);
    }

    /**
     * One of the tube masks under which an ensemble sees the same clips. Each is distributed as those of {@link #tubes}.
     * Masks 2k and 2k + 1 of a sample see different cells where they can, that is where a mask hides at least half of
     * them: together they miss less than two independent masks.
     *
     * @param member number of the mask in the ensemble, from 0
     */
    public static TokenMask ofEnsemble(
            Device device, long batch, int slots, int plane, double maskRatio, long seed, int member) {
        int masked = maskedCells(plane, maskRatio);
        int seen = plane - masked;
        if (member % 2 == 0 || seen > masked) {
            return random(device, batch, slots, plane, masked, true, seed, member);
        }
        // The other mask of the pair sees the end of the shuffled plane, this one its beginning.
        TokenMask inverse = random(device, batch, slots, plane, seen, true, seed, member - 1);
        return new TokenMask(/* visible= */ inverse.masked(), /* masked= */ inverse.visible());
    }

    /** As {@link #tubes}, but every time slot draws its own cells. */
    public static TokenMask perSlot(
            Device device, long batch, int slots, int plane, double maskRatio, long seed, long stream) {
        return random(device, batch, slots, plane, maskedCells(plane, maskRatio), false, seed, stream);
    }

    private static TokenMask random(
            Device device, long batch, int slots, int plane, int masked, boolean tube, long seed, long stream) {
        Tensor visible = Tensor.empty(device, DType.I32, Shape.of(batch, (long) slots * (plane - masked)));
        Tensor hidden = Tensor.empty(device, DType.I32, Shape.of(batch, (long) slots * masked));
        device.kernels()
                .random()
                .randomMask(
                        new RandomStream(seed, stream),
                        new MaskShape(batch, slots, plane, masked, tube),
                        visible.buffer(),
                        hidden.buffer());
        return new TokenMask(visible, hidden);
    }

    /**
     * Hidden cells of a plane: {@code floor(maskRatio * plane)}.
     *
     * @throws IllegalArgumentException if the ratio is not in [0, 1) or leaves no cell
     */
    public static int maskedCells(int plane, double maskRatio) {
        if (!(maskRatio >= 0 && maskRatio < 1)) {
            throw new IllegalArgumentException("mask ratio " + maskRatio
                    + " is not in [0, 1); at 1 no token would be left to look at, so pass for example 0.75");
        }
        // The ratio times the plane may miss an integer by rounding: .9 of 10 cells are 9.
        int masked = (int) Math.floor(maskRatio * plane + 1e-9);
        if (masked >= plane) {
            throw new IllegalArgumentException(
                    "mask ratio " + maskRatio + " hides all " + plane + " cells of the plane; pass a smaller ratio");
        }
        return masked;
    }

    /**
     * A mask from explicit flags, as other implementations store them.
     *
     * @param flags per sample and token, non-zero where masked; every sample masks equally many
     */
    public static TokenMask of(int[][] flags) {
        int batch = flags.length;
        int tokens = batch == 0 ? 0 : flags[0].length;
        int masked = 0;
        for (int i = 0; i < tokens; i++) {
            masked += flags[0][i] != 0 ? 1 : 0;
        }
        int[] visibleIndices = new int[batch * (tokens - masked)];
        int[] maskedIndices = new int[batch * masked];
        int v = 0;
        int m = 0;
        for (int b = 0; b < batch; b++) {
            for (int i = 0; i < tokens; i++) {
                if (flags[b][i] != 0) {
                    Op.check(m < (b + 1) * masked, "mask", unequal(b));
                    maskedIndices[m++] = i;
                } else {
                    Op.check(v < (b + 1) * (tokens - masked), "mask", unequal(b));
                    visibleIndices[v++] = i;
                }
            }
        }
        return new TokenMask(
                Tensor.of(visibleIndices, batch, tokens - masked), Tensor.of(maskedIndices, batch, masked));
    }

    private static java.util.function.Supplier<String> unequal(int sample) {
        return () -> "sample " + sample
                + " masks another number of tokens than sample 0; every sample of a batch must mask equally many";
    }

    /** Number of masks. */
    public long batch() {
        return visible.size(0);
    }

    /** Visible tokens per sample. */
    public long visibleCount() {
        return visible.size(1);
    }

    /** Hidden tokens per sample. */
    public long maskedCount() {
        return masked.size(1);
    }
}
