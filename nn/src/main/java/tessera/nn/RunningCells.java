package tessera.nn;

import java.util.Arrays;
import tessera.kernels.Philox;
import tessera.tensor.TokenMask;

/**
 * Cells of {@code side x side} patches in which the visible patches move on from slot to slot; see {@link MaskStrategy#running(int)}.
 *
 * @param side of a cell
 */
record RunningCells(int side) implements MaskStrategy {
    private static final int LARGEST = 9;
    /** Bits of a patch's number in the key by which patches are sorted; more than any grid has. */
    private static final int PATCH_BITS = 24;

    RunningCells {
        if (side < 2 || side > LARGEST) {
            throw new IllegalArgumentException(
                    "running cells of " + side + " x " + side + " patches; pass a side from 2 to " + LARGEST);
        }
    }

    /** Reads the side. */
    static RunningCells of(String text) {
        try {
            return new RunningCells(Integer.parseInt(text));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "running:" + text + " names no side; pass running, or running:N with N from 2 to " + LARGEST, e);
        }
    }

    @Override
    public TokenMask draw(MaskContext c) {
        return HostMasks.slots(c, clip -> slots(c, clip));
    }

    private int[][] slots(MaskContext c, int clip) {
        int places = side * side;
        int across = (c.grid().columns() + side - 1) / side;
        int cells = across * ((c.grid().rows() + side - 1) / side);
        long first = clip * (cells + 1L);
        int start = Integer.remainderUnsigned(Philox.word(c.seed(), c.stream(), first), places);
        int[] keys = new int[cells];
        Arrays.setAll(keys, i -> Philox.word(c.seed(), c.stream(), first + 1 + i));
        int each = Math.max(1, Math.round((float) places * c.shown() / c.plane()));
        int[][] slots = new int[c.slots()][];
        for (int slot = 0; slot < slots.length; slot++) {
            long behind = start + slot + (long) c.member() * each;
            long[] order = new long[c.plane()];
            for (int patch = 0; patch < order.length; patch++) {
                int row = patch / c.grid().columns();
                int column = patch % c.grid().columns();
                long turn = Math.floorMod(row % side * side + column % side - behind, (long) places);
                long key = keys[row / side * across + column / side] & 0xFFFFFFFFL;
                order[patch] = turn << (Integer.SIZE + PATCH_BITS) | key << PATCH_BITS | patch;
            }
            Arrays.sort(order);
            int[] shown = new int[c.shown()];
            Arrays.setAll(shown, i -> (int) (order[i] & ((1 << PATCH_BITS) - 1)));
            slots[slot] = shown;
        }
        return slots;
    }

    @Override
    public String word() {
        return side == 2 ? "running" : "running:" + side;
    }
}
