package tessera.nn;

import java.util.Arrays;
import java.util.function.IntFunction;
import tessera.kernels.Philox;
import tessera.tensor.TokenMask;

/** Masks that are made in memory of the host. */
final class HostMasks {
    private HostMasks() {}

    /**
     * Masks that show some cells of every clip, the same in every slot.
     *
     * @param shown the cells that a clip shows, in any order, equally many of each
     */
    static TokenMask tubes(MaskContext c, IntFunction<int[]> shown) {
        return slots(c, clip -> {
            int[][] every = new int[c.slots()][];
            Arrays.fill(every, shown.apply(clip));
            return every;
        });
    }

    /**
     * Masks that show some cells of every slot of every clip.
     *
     * @param shown for each slot the cells that a clip shows, in any order, equally many of each clip
     */
    static TokenMask slots(MaskContext c, IntFunction<int[][]> shown) {
        int[][] hidden = new int[Math.toIntExact(c.batch())][c.grid().tokens()];
        for (int clip = 0; clip < hidden.length; clip++) {
            Arrays.fill(hidden[clip], 1);
            int[][] slots = shown.apply(clip);
            for (int slot = 0; slot < slots.length; slot++) {
                for (int cell : slots[slot]) {
                    hidden[clip][slot * c.plane() + cell] = 0;
                }
            }
        }
        return TokenMask.of(hidden);
    }

    /** The random numbers that {@link TokenMask#tubes} gives the cells of a clip in the context's stream: the largest are seen. */
    static int[] keys(MaskContext c, int clip) {
        int[] keys = new int[c.plane()];
        long first = (long) clip * c.slots() * c.plane();
        Arrays.setAll(keys, cell -> Philox.word(c.seed(), c.stream(), first + cell));
        return keys;
    }

    /**
     * The cells of a clip by falling values, those of equal ones in a random order.
     *
     * @param values one for each cell
     */
    static int[] falling(MaskContext c, int clip, double[] values) {
        int[] keys = keys(c, clip);
        Integer[] cells = new Integer[values.length];
        Arrays.setAll(cells, i -> i);
        Arrays.sort(cells, (a, b) -> {
            int byValue = Double.compare(values[b], values[a]);
            int byKey = byValue != 0 ? byValue : Integer.compareUnsigned(keys[b], keys[a]);
            return byKey != 0 ? byKey : Integer.compare(b, a);
        });
        return Arrays.stream(cells).mapToInt(i -> i).toArray();
    }

    /** The context's part of a clip's cells, which the masks of an ensemble take in turn, beginning again where they end. */
    static int[] turn(MaskContext c, int[] cells) {
        int shown = c.shown();
        int[] part = new int[shown];
        long from = (long) c.member() * shown;
        Arrays.setAll(part, i -> cells[(int) ((from + i) % cells.length)]);
        return part;
    }
}
