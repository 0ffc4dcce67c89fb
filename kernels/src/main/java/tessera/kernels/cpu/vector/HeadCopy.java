package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import tessera.kernels.cpu.Slots;

/**
 * Copies of the keys and values of a head, laid out as products of f32 like them best: keys as columns, values without gaps. In a tensor
 * their rows are apart, which costs a product over many keys a third of its rate where vectors have 8 lanes, and more than the copies as
 * soon as a few tiles of queries share them.
 *
 * <p>Plain Java over arrays, since it is fast before it is compiled too.
 */
final class HeadCopy {
    /** Keys that are turned at a time: what is written stays in the first-level cache. */
    private static final int KEYS = 64;
    /** f32 of a cache line. */
    private static final int LINE = 16;

    private static final Slots<HeadCopy> POOL = new Slots<>(HeadCopy::new, arrays -> {});

    private float[] row = {};
    private float[] turned = {};

    private HeadCopy() {}

    /** So many f32 in whole cache lines. */
    static long lines(long count) {
        return (count + LINE - 1) / LINE * LINE;
    }

    /** Elements between two rows of {@link #columns} of so many rows: whole cache lines of an odd number, so that rows do not crowd one set. */
    static int line(int rows) {
        return (int) lines(rows) | LINE;
    }

    /**
     * The transpose of a matrix.
     *
     * @param x {@code [rows, dim]} from element {@code from} on with rows {@code stride} elements apart
     * @param y {@code [dim, rows]} from element {@code to} on with rows {@link #line line(rows)} elements apart
     */
    static void columns(MemorySegment x, long from, long stride, int rows, int dim, MemorySegment y, long to) {
        HeadCopy arrays = POOL.borrow();
        if (arrays.row.length < dim) {
            arrays.row = new float[dim];
            arrays.turned = new float[dim * KEYS];
        }
        int line = line(rows);
        for (int r = 0; r < rows; r += KEYS) {
            int count = Math.min(KEYS, rows - r);
            for (int i = 0; i < count; i++) {
                arrays.read(x, from + (r + i) * stride, dim, i);
            }
            arrays.write(count, dim, y, to + r, line);
        }
        POOL.giveBack(arrays);
    }

    /** A row becomes a column. */
    private void read(MemorySegment x, long start, int dim, int column) {
        MemorySegment.copy(x, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, row, 0, dim);
        for (int d = 0; d < dim; d++) {
            turned[d * KEYS + column] = row[d];
        }
    }

    private void write(int count, int dim, MemorySegment y, long start, int line) {
        for (int d = 0; d < dim; d++) {
            long at = (start + (long) d * line) * Float.BYTES;
            MemorySegment.copy(turned, d * KEYS, y, ValueLayout.JAVA_FLOAT_UNALIGNED, at, count);
        }
    }

    /** Rows as {@link #columns} has them, one behind the other. */
    static void rows(MemorySegment x, long from, long stride, int rows, int dim, MemorySegment y, long to) {
        copy(x, from, stride, rows, dim, y, to, dim);
    }

    /** What {@link #rows} has put one behind the other goes where rows are {@code stride} elements apart. */
    static void back(MemorySegment x, long from, int rows, int dim, MemorySegment y, long to, long stride) {
        copy(x, from, dim, rows, dim, y, to, stride);
    }

    private static void copy(
            MemorySegment x, long from, long stride, int rows, int dim, MemorySegment y, long to, long distance) {
        for (int r = 0; r < rows; r++) {
            MemorySegment.copy(
                    x,
                    (from + r * stride) * Float.BYTES,
                    y,
                    (to + r * distance) * Float.BYTES,
                    (long) dim * Float.BYTES);
        }
    }
}
