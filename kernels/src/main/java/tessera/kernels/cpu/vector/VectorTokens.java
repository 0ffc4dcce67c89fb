package tessera.kernels.cpu.vector;

import static tessera.kernels.VectorMath.LANES;
import static tessera.kernels.VectorMath.first;
import static tessera.kernels.VectorMath.load;
import static tessera.kernels.VectorMath.store;
import static tessera.kernels.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;

/** Sums of f32 token rows chosen by index. */
final class VectorTokens {
    private static final long GRAIN = 16_384;

    private final Workers workers;

    VectorTokens(Workers workers) {
        this.workers = workers;
    }

    private static long grain(long d) {
        return Math.max(1, GRAIN / Math.max(1, d));
    }

    void scatter(MemorySegment dy, Buffer indices, long batch, long n, long m, long d, MemorySegment dx) {
        workers.parallelFor(batch, grain(n * d), (worker, from, to) -> {
            dx.asSlice(from * n * d * Float.BYTES, (to - from) * n * d * Float.BYTES)
                    .fill((byte) 0);
            for (long r = from * m; r < to * m; r++) {
                VectorElementwise.addScaled(
                        1, dy, r * d, dx, (r / m * n + ScalarTokens.index("scatter_rows", indices, r, n)) * d, d);
            }
        });
    }

    void add(
            MemorySegment x,
            MemorySegment table,
            @Nullable Buffer indices,
            long batch,
            long m,
            long d,
            MemorySegment y) {
        long rows = rows(table, d);
        workers.parallelFor(batch * m, grain(d), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long row = indices == null ? r % m : ScalarTokens.index("add_rows", indices, r, rows);
                addRow(x, r * d, table, row * d, y, r * d, d);
            }
        });
    }

    void assemble(
            MemorySegment visible,
            Buffer visibleIndices,
            Buffer maskedIndices,
            MemorySegment maskToken,
            MemorySegment table,
            long batch,
            long visibleCount,
            long maskedCount,
            long d,
            MemorySegment y) {
        long m = visibleCount + maskedCount;
        long rows = rows(table, d);
        workers.parallelFor(batch * m, grain(d), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long b = r / m;
                long j = r % m;
                if (j < visibleCount) {
                    long token = b * visibleCount + j;
                    addRow(
                            visible,
                            token * d,
                            table,
                            ScalarTokens.index("assemble_decoder", visibleIndices, token, rows) * d,
                            y,
                            r * d,
                            d);
                } else {
                    long token = b * maskedCount + j - visibleCount;
                    addRow(
                            maskToken,
                            0,
                            table,
                            ScalarTokens.index("assemble_decoder", maskedIndices, token, rows) * d,
                            y,
                            r * d,
                            d);
                }
            }
        });
    }

    private static long rows(MemorySegment table, long d) {
        return d == 0 ? Integer.MAX_VALUE : table.byteSize() / Float.BYTES / d;
    }

    private static void addRow(
            MemorySegment a, long aFrom, MemorySegment b, long bFrom, MemorySegment y, long yFrom, long d) {
        long end = whole(d);
        for (long i = 0; i < end; i += LANES) {
            store(load(a, aFrom + i).add(load(b, bFrom + i)), y, yFrom + i);
        }
        if (end < d) {
            VectorMask<Float> mask = first((int) (d - end));
            store(load(a, aFrom + end, mask).add(load(b, bFrom + end, mask)), y, yFrom + end, mask);
        }
    }
}
