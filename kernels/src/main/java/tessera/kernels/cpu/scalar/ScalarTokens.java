package tessera.kernels.cpu.scalar;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/** Masks, and rows of tokens picked by index. */
final class ScalarTokens {
    private static final int COLUMNS = 64;
    private static final int GRAIN_ELEMENTS = 16384;

    private final Workers workers;

    ScalarTokens(Workers workers) {
        this.workers = workers;
    }

    private static long grain(long width) {
        return Math.max(1, GRAIN_ELEMENTS / Math.max(1, width));
    }

    void randomMask(
            long seed,
            long stream,
            long batch,
            int slots,
            int plane,
            int masked,
            boolean tube,
            Buffer visibleIndices,
            @Nullable Buffer maskedIndices) {
        if (masked < 0 || masked > plane) {
            throw new IllegalArgumentException("random_mask: cannot mask " + masked + " of " + plane
                    + " cells; pass a number between 0 and " + plane);
        }
        workers.parallelFor(batch, 1, (worker, from, to) -> {
            boolean[] hidden = new boolean[plane];
            long[] keys = new long[plane];
            for (long b = from; b < to; b++) {
                long visible = b * slots * (plane - masked);
                long invisible = b * slots * masked;
                for (int slot = 0; slot < slots; slot++) {
                    if (slot == 0 || !tube) {
                        hide(seed, stream, (b * slots + slot) * plane, masked, keys, hidden);
                    }
                    for (int cell = 0; cell < plane; cell++) {
                        int token = slot * plane + cell;
                        if (!hidden[cell]) {
                            Elements.setInt(visibleIndices, visible++, token);
                        } else if (maskedIndices != null) {
                            Elements.setInt(maskedIndices, invisible++, token);
                        }
                    }
                }
            }
        });
    }

    /** Marks the cells with the {@code masked} smallest keys; a key's low half is its cell, so ties go by cell. */
    private static void hide(long seed, long stream, long counter, int masked, long[] keys, boolean[] hidden) {
        int[] words = new int[4];
        for (int cell = 0; cell < keys.length; cell++) {
            Philox.words(seed, stream, counter + cell, words);
            keys[cell] = (long) (words[0] ^ Integer.MIN_VALUE) << 32 | cell;
        }
        Arrays.sort(keys);
        Arrays.fill(hidden, false);
        for (int i = 0; i < masked; i++) {
            hidden[(int) keys[i]] = true;
        }
    }

    void gatherRows(Buffer x, Buffer indices, long batch, long n, long m, long d, Buffer y) {
        long bytes = d * x.dtype().bytes();
        workers.parallelFor(batch * m, grain(d), (worker, from, to) -> {
            for (long row = from; row < to; row++) {
                long source = row / m * n + index("gather_rows", indices, row, n);
                MemorySegment.copy(x.segment(), source * bytes, y.segment(), row * bytes, bytes);
            }
        });
    }

    void scatterRows(Buffer dy, Buffer indices, long batch, long n, long m, long d, Buffer dx) {
        int width = Math.toIntExact(d);
        workers.parallelFor(batch, 1, (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            long bytes = n * d * dx.dtype().bytes();
            dx.segment().asSlice(from * bytes, (to - from) * bytes).fill((byte) 0);
            for (long j = from * m; j < to * m; j++) {
                long target = (j / m * n + index("scatter_rows", indices, j, n)) * d;
                Elements.load(dx, target, width, sum, 0);
                Elements.load(dy, j * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, dx, target);
            }
        });
    }

    void addRows(Buffer x, Buffer table, @Nullable Buffer indices, long batch, long m, long d, Buffer y) {
        int width = Math.toIntExact(d);
        workers.parallelFor(batch * m, grain(d), (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            for (long j = from; j < to; j++) {
                long position = indices == null ? j % m : index("add_rows", indices, j, rows(table, d));
                Elements.load(x, j * d, width, sum, 0);
                Elements.load(table, position * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, y, j * d);
            }
        });
    }

    void assembleDecoder(
            Buffer visible,
            Buffer visibleIndices,
            Buffer maskedIndices,
            Buffer maskToken,
            Buffer table,
            long batch,
            long visibleCount,
            long maskedCount,
            long d,
            Buffer y) {
        int width = Math.toIntExact(d);
        long count = visibleCount + maskedCount;
        workers.parallelFor(batch * count, grain(d), (worker, from, to) -> {
            double[] sum = new double[width];
            double[] row = new double[width];
            for (long token = from; token < to; token++) {
                long b = token / count;
                long j = token % count;
                long position;
                if (j < visibleCount) {
                    long source = b * visibleCount + j;
                    Elements.load(visible, source * d, width, sum, 0);
                    position = index("assemble_decoder", visibleIndices, source, rows(table, d));
                } else {
                    Elements.load(maskToken, 0, width, sum, 0);
                    position = index(
                            "assemble_decoder", maskedIndices, b * maskedCount + j - visibleCount, rows(table, d));
                }
                Elements.load(table, position * d, width, row, 0);
                add(row, sum);
                Elements.store(sum, 0, width, y, token * d);
            }
        });
    }

    void assembleDecoderBackward(
            Buffer dy, long batch, long visibleCount, long maskedCount, long d, Buffer dvisible, Buffer dmaskToken) {
        long count = visibleCount + maskedCount;
        long bytes = d * dy.dtype().bytes();
        for (long b = 0; b < batch; b++) {
            MemorySegment.copy(
                    dy.segment(),
                    b * count * bytes,
                    dvisible.segment(),
                    b * visibleCount * bytes,
                    visibleCount * bytes);
        }
        workers.parallelFor(Blocks.ceilDiv(d, COLUMNS), 1, (worker, from, to) -> {
            double[] row = new double[COLUMNS];
            for (long block = from; block < to; block++) {
                long col = block * COLUMNS;
                int width = (int) Math.min(COLUMNS, d - col);
                double[] sum = new double[width];
                for (long b = 0; b < batch; b++) {
                    for (long j = visibleCount; j < count; j++) {
                        Elements.load(dy, (b * count + j) * d + col, width, row, 0);
                        add(row, sum);
                    }
                }
                Elements.store(sum, 0, width, dmaskToken, col);
            }
        });
    }

    private static void add(double[] row, double[] sum) {
        for (int i = 0; i < sum.length; i++) {
            sum[i] += row[i];
        }
    }

    private static long rows(Buffer table, long d) {
        return d == 0 ? Integer.MAX_VALUE : table.length() / d;
    }

    /** Entry {@code at} of an index list, which must lie in {@code [0, n)}. */
    static int index(String op, Buffer indices, long at, long n) {
        int index = Elements.getInt(indices, at);
        if (index < 0 || index >= n) {
            throw new IllegalArgumentException(op + ": index " + index + " at position " + at + " is outside [0, " + n
                    + "); pass indices of existing tokens");
        }
        return index;
    }
}
