package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;

/**
 * Sums of f32.
 *
 * <p>Long sums are cut into chunks of one fixed length, summed in f32 each and added up in f64 in the order of the chunks: so a
 * result depends neither on timing nor on the number of threads.
 */
final class VectorSums {
    private static final int CHUNK = 4096;
    private static final long CHUNKS_PER_RANGE = 4;
    private static final int BLOCK_ROWS = 64;
    /** Columns of rows that are read at a time where vectors are short: fewer, and the next line of a row is not fetched ahead. */
    private static final int LINE = 192;

    private final Workers workers;

    VectorSums(Workers workers) {
        this.workers = workers;
    }

    void sum(MemorySegment x, long outer, long reduced, long inner, double scale, MemorySegment y) {
        if (inner == 1 && outer < workers.threads() && reduced > CHUNK) {
            for (long o = 0; o < outer; o++) {
                VectorMath.set(y, o, (float) (scale * sum(x, o * reduced, reduced)));
            }
        } else if (inner == 1) {
            long grain = Math.max(1, VectorElementwise.GRAIN / Math.max(1, reduced));
            workers.repeatableFor(outer, grain, (worker, from, to) -> {
                for (long o = from; o < to; o++) {
                    double total = 0;
                    for (long i = 0; i < reduced; i += CHUNK) {
                        total += chunkSum(x, o * reduced + i, (int) Math.min(CHUNK, reduced - i));
                    }
                    VectorMath.set(y, o, (float) (scale * total));
                }
            });
        } else {
            int width = LANES > 8 ? 4 * LANES : LINE;
            long blocks = (inner + width - 1) / width;
            long grain = Math.max(1, VectorElementwise.GRAIN / Math.max(1, reduced * width));
            workers.repeatableFor(outer * blocks, grain, (worker, from, to) -> {
                for (long i = from; i < to; i++) {
                    long column = i % blocks * width;
                    int columns = (int) Math.min(width, inner - column);
                    columnSums(
                            x,
                            i / blocks * reduced * inner + column,
                            reduced,
                            inner,
                            columns,
                            (float) scale,
                            y,
                            i / blocks * inner + column);
                }
            });
        }
    }

    private double sum(MemorySegment x, long start, long length) {
        return total(length, (from, n) -> chunkSum(x, start + from, n));
    }

    /** One term of a sum, of the {@code count} elements after {@code from}. */
    private interface Chunk {
        double of(long from, int count);
    }

    private double total(long length, Chunk chunk) {
        double[] chunks = new double[Math.toIntExact((length + CHUNK - 1) / CHUNK)];
        workers.parallelFor(chunks.length, CHUNKS_PER_RANGE, (worker, from, to) -> {
            for (long c = from; c < to; c++) {
                chunks[(int) c] = chunk.of(c * CHUNK, (int) Math.min(CHUNK, length - c * CHUNK));
            }
        });
        return Blocks.total(chunks);
    }

    private static float chunkSum(MemorySegment x, long start, int length) {
        FloatVector s0 = all(0);
        FloatVector s1 = s0;
        FloatVector s2 = s0;
        FloatVector s3 = s0;
        int i = 0;
        for (; i <= length - 4 * LANES; i += 4 * LANES) {
            s0 = s0.add(load(x, start + i));
            s1 = s1.add(load(x, start + i + LANES));
            s2 = s2.add(load(x, start + i + 2L * LANES));
            s3 = s3.add(load(x, start + i + 3L * LANES));
        }
        for (; i < length; i += LANES) {
            s0 = s0.add(load(x, start + i, first(Math.min(LANES, length - i))));
        }
        return VectorMath.sum(s0.add(s1).add(s2.add(s3)));
    }

    /** Sums of some vectors of columns, in blocks of rows so that rounding errors do not grow with the rows. */
    private static void columnSums(
            MemorySegment x,
            long start,
            long rows,
            long stride,
            int columns,
            float scale,
            MemorySegment y,
            long yStart) {
        if (columns == 4 * LANES) {
            fourVectorSums(x, start, rows, stride, scale, y, yStart);
            return;
        }
        int end = whole(columns);
        if (LANES > 8) {
            for (int i = 0; i < end; i += LANES) {
                vectorSums(x, start + i, rows, stride, scale, y, yStart + i);
            }
        } else {
            rowSums(x, start, rows, stride, end, scale, y, yStart);
        }
        // Not by a mask: the compiler makes it an object for each call, and the columns are few.
        for (int i = end; i < columns; i++) {
            columnSum(x, start + i, rows, stride, scale, y, yStart + i);
        }
    }

    /** With the bits of {@link #vectorSums}, row by row, which memory likes better. */
    private static void rowSums(
            MemorySegment x,
            long start,
            long rows,
            long stride,
            int columns,
            float scale,
            MemorySegment y,
            long yStart) {
        try (Scratch scratch = Scratch.borrow()) {
            MemorySegment sums = scratch.floats(2L * columns);
            fill(sums, 0, columns);
            for (long block = 0; block < rows; block += BLOCK_ROWS) {
                long end = Math.min(rows, block + BLOCK_ROWS);
                fill(sums, columns, columns);
                long row = block;
                for (; row <= end - 4; row += 4) {
                    addFour(x, start + row * stride, stride, sums, columns, columns);
                }
                for (; row < end; row++) {
                    VectorRuns.addScaled(1, x, start + row * stride, sums, columns, columns);
                }
                VectorRuns.addScaled(1, sums, columns, sums, 0, columns);
            }
            VectorRuns.affine(sums, 0, columns, scale, 0, y, yStart);
        }
    }

    private static void fill(MemorySegment x, long start, int n) {
        FloatVector none = all(0);
        for (int i = 0; i < n; i += LANES) {
            store(none, x, start + i);
        }
    }

    private static void addFour(MemorySegment x, long start, long stride, MemorySegment y, long yStart, int n) {
        if (AddressRuns.take(n)) {
            AddressRuns.addFour(x, start, stride, y, yStart, n);
            return;
        }
        for (int i = 0; i < n; i += LANES) {
            FloatVector sum = load(y, yStart + i).add(load(x, start + i));
            sum = sum.add(load(x, start + stride + i));
            sum = sum.add(load(x, start + 2 * stride + i));
            store(sum.add(load(x, start + 3 * stride + i)), y, yStart + i);
        }
    }

    private static void fourVectorSums(
            MemorySegment x, long start, long rows, long stride, float scale, MemorySegment y, long yStart) {
        FloatVector t0 = all(0);
        FloatVector t1 = t0;
        FloatVector t2 = t0;
        FloatVector t3 = t0;
        for (long block = 0; block < rows; block += BLOCK_ROWS) {
            int count = (int) Math.min(BLOCK_ROWS, rows - block);
            FloatVector s0 = all(0);
            FloatVector s1 = s0;
            FloatVector s2 = s0;
            FloatVector s3 = s0;
            for (int r = 0; r < count; r++) {
                long at = start + (block + r) * stride;
                s0 = s0.add(load(x, at));
                s1 = s1.add(load(x, at + LANES));
                s2 = s2.add(load(x, at + 2L * LANES));
                s3 = s3.add(load(x, at + 3L * LANES));
            }
            t0 = t0.add(s0);
            t1 = t1.add(s1);
            t2 = t2.add(s2);
            t3 = t3.add(s3);
        }
        store(t0.mul(scale), y, yStart);
        store(t1.mul(scale), y, yStart + LANES);
        store(t2.mul(scale), y, yStart + 2L * LANES);
        store(t3.mul(scale), y, yStart + 3L * LANES);
    }

    private static void vectorSums(
            MemorySegment x, long start, long rows, long stride, float scale, MemorySegment y, long yStart) {
        FloatVector total = all(0);
        for (long block = 0; block < rows; block += BLOCK_ROWS) {
            int count = (int) Math.min(BLOCK_ROWS, rows - block);
            FloatVector sum = all(0);
            for (int r = 0; r < count; r++) {
                sum = sum.add(load(x, start + (block + r) * stride));
            }
            total = total.add(sum);
        }
        store(total.mul(scale), y, yStart);
    }

    private static void columnSum(
            MemorySegment x, long start, long rows, long stride, float scale, MemorySegment y, long yStart) {
        float total = 0;
        for (long block = 0; block < rows; block += BLOCK_ROWS) {
            int count = (int) Math.min(BLOCK_ROWS, rows - block);
            float sum = 0;
            for (int r = 0; r < count; r++) {
                sum += VectorMath.get(x, start + (block + r) * stride);
            }
            total += sum;
        }
        VectorMath.set(y, yStart, total * scale);
    }

    /**
     * Sum of {@code (a - b)^2}.
     *
     * @param d where {@code factor * (a - b)} goes, or null
     */
    double squaredDistance(MemorySegment a, MemorySegment b, long length, float factor, @Nullable MemorySegment d) {
        return total(length, (from, n) -> chunkSquaredDistance(a, b, d, factor, from, from + n));
    }

    private static double chunkSquaredDistance(
            MemorySegment a, MemorySegment b, @Nullable MemorySegment d, float factor, long from, long to) {
        FloatVector s = all(0);
        long end = from + whole(to - from);
        for (long i = from; i < end; i += LANES) {
            FloatVector e = load(a, i).sub(load(b, i));
            if (d != null) {
                store(e.mul(factor), d, i);
            }
            s = e.fma(e, s);
        }
        if (end < to) {
            VectorMask<Float> mask = first((int) (to - end));
            FloatVector e = load(a, end, mask).sub(load(b, end, mask));
            if (d != null) {
                store(e.mul(factor), d, end, mask);
            }
            s = e.fma(e, s);
        }
        return VectorMath.sum(s);
    }
}
