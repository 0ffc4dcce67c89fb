package tessera.kernels.cpu;

import java.util.Arrays;

/**
 * Two operands that are read or written by strides over one shape, cut into units: pieces of the last axis. Axes that both
 * operands step through evenly are merged first, so that contiguous operands have one long axis.
 */
public final class Layout {
    private static final int CHUNK = 4096;
    /** Elements below which a piece takes longer to find than to copy. */
    private static final int SHORT = 16;

    private final int rank;
    private final long[] shape;
    private final long[][] strides;
    private final long rows;
    private final long unitsPerRow;

    public Layout(long[] shape, long[] first, long[] second) {
        long[] merged = new long[Math.max(1, shape.length)];
        long[][] steps = new long[2][merged.length];
        int count = 0;
        for (int axis = 0; axis < shape.length; axis++) {
            if (shape[axis] == 1) {
                continue;
            }
            boolean merge = count > 0
                    && steps[0][count - 1] == first[axis] * shape[axis]
                    && steps[1][count - 1] == second[axis] * shape[axis];
            if (merge) {
                merged[count - 1] *= shape[axis];
            } else {
                merged[count++] = shape[axis];
            }
            steps[0][count - 1] = first[axis];
            steps[1][count - 1] = second[axis];
        }
        if (count == 0) {
            merged[count++] = 1;
        }
        this.rank = count;
        this.shape = merged;
        this.strides = steps;
        long outer = 1;
        for (int axis = 0; axis < rank - 1; axis++) {
            outer *= merged[axis];
        }
        this.rows = outer;
        this.unitsPerRow = Blocks.ceilDiv(merged[rank - 1], CHUNK);
    }

    /** For a copy, whose elements may come in any order: by the longest axis where pieces of the last one were short and scattered. */
    public static Layout ofCopy(long[] shape, long[] first, long[] second) {
        Layout merged = new Layout(shape, first, second);
        int last = merged.rank - 1;
        int longest = last;
        for (int axis = 0; axis < last; axis++) {
            longest = merged.shape[axis] > merged.shape[longest] ? axis : longest;
        }
        if (merged.shape[last] >= SHORT || longest == last || (merged.stride(0) == 1 && merged.stride(1) == 1)) {
            return merged;
        }
        return new Layout(
                swapped(merged.shape, longest, last),
                swapped(merged.strides[0], longest, last),
                swapped(merged.strides[1], longest, last));
    }

    private static long[] swapped(long[] values, int a, int b) {
        long[] result = Arrays.copyOf(values, Math.max(a, b) + 1);
        result[a] = values[b];
        result[b] = values[a];
        return result;
    }

    /** Number of pieces. */
    public long units() {
        return rows * unitsPerRow;
    }

    /** Pieces that are worth a task of their own. */
    public long grain() {
        return Math.max(1, 4L * CHUNK / Math.max(1, chunk()));
    }

    /** Length of the longest piece. */
    public int chunk() {
        return (int) Math.min(CHUNK, shape[rank - 1]);
    }

    /** Stride of an operand along a piece. */
    public long stride(int operand) {
        return strides[operand][rank - 1];
    }

    // Rows are often short and then one piece each: divisions would cost more than the work.

    private long row(long unit) {
        return unitsPerRow == 1 ? unit : unit / unitsPerRow;
    }

    private long start(long unit) {
        return unitsPerRow == 1 ? 0 : unit % unitsPerRow * CHUNK;
    }

    /** Length of a piece. */
    public int length(long unit) {
        return (int) Math.min(CHUNK, shape[rank - 1] - start(unit));
    }

    /** Where a piece begins in row-major order of the whole shape. */
    public long position(long unit) {
        return row(unit) * shape[rank - 1] + start(unit);
    }

    /** What {@link #locate} writes to, for each worker of a loop. */
    public long[][] places(int workers) {
        return new long[workers][2];
    }

    /** Writes to {@code offsets} where a piece begins in each operand. */
    public void locate(long unit, long[] offsets) {
        long start = start(unit);
        long row = row(unit);
        offsets[0] = start * stride(0);
        offsets[1] = start * stride(1);
        for (int axis = rank - 2; axis >= 0; axis--) {
            long rest = axis == 0 ? 0 : row / shape[axis];
            long index = row - rest * shape[axis];
            row = rest;
            offsets[0] += index * strides[0][axis];
            offsets[1] += index * strides[1][axis];
        }
    }
}
