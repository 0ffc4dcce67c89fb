package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarTokens;

/** Sums of f32 token rows chosen by index; other types and plain copies are left to the plain Java kernels. */
public final class VectorTokens extends ScalarTokens {
    private static final long GRAIN = 16_384;

    public VectorTokens(Workers workers) {
        super(workers);
    }

    private static long grain(long d) {
        return Math.max(1, GRAIN / Math.max(1, d));
    }

    @Override
    public void scatterRows(TokenShape shape, Buffer gradient, Buffer indices, Buffer target) {
        if (!isF32(target)) {
            super.scatterRows(shape, gradient, indices, target);
            return;
        }
        long n = shape.tokens();
        long m = shape.selected();
        long d = shape.width();
        MemorySegment dy = gradient.segment();
        MemorySegment dx = target.segment();
        workers.parallelFor(shape.batch(), grain(n * d), (worker, from, to) -> {
            dx.asSlice(from * n * d * Float.BYTES, (to - from) * n * d * Float.BYTES)
                    .fill((byte) 0);
            for (long r = from * m; r < to * m; r++) {
                VectorRuns.addScaled(
                        1, dy, r * d, dx, (r / m * n + Elements.index("scatter_rows", indices, r, n)) * d, d);
            }
        });
    }

    @Override
    public void addRows(TokenShape shape, Buffer source, Buffer addends, @Nullable Buffer indices, Buffer target) {
        if (!isF32(source)) {
            super.addRows(shape, source, addends, indices, target);
            return;
        }
        long m = shape.selected();
        long d = shape.width();
        long rows = rows(addends, d);
        MemorySegment x = source.segment();
        MemorySegment table = addends.segment();
        MemorySegment y = target.segment();
        workers.parallelFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long row = indices == null ? r % m : Elements.index("add_rows", indices, r, rows);
                addRow(x, r * d, table, row * d, y, r * d, d);
            }
        });
    }

    @Override
    public void assembleDecoder(
            DecoderShape shape, Buffer shown, TokenIndices indices, Buffer token, Buffer addends, Buffer target) {
        if (!isF32(target)) {
            super.assembleDecoder(shape, shown, indices, token, addends, target);
            return;
        }
        long visibleCount = shape.visible();
        long maskedCount = shape.masked();
        long m = visibleCount + maskedCount;
        long d = shape.width();
        long rows = rows(addends, d);
        MemorySegment visible = shown.segment();
        MemorySegment maskToken = token.segment();
        MemorySegment table = addends.segment();
        MemorySegment y = target.segment();
        workers.parallelFor(shape.batch() * m, grain(d), (worker, from, to) -> {
            for (long r = from; r < to; r++) {
                long b = r / m;
                long j = r % m;
                if (j < visibleCount) {
                    long at = b * visibleCount + j;
                    addRow(
                            visible,
                            at * d,
                            table,
                            Elements.index("assemble_decoder", indices.visible(), at, rows) * d,
                            y,
                            r * d,
                            d);
                } else {
                    long at = b * maskedCount + j - visibleCount;
                    addRow(
                            maskToken,
                            0,
                            table,
                            Elements.index("assemble_decoder", indices.masked(), at, rows) * d,
                            y,
                            r * d,
                            d);
                }
            }
        });
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
