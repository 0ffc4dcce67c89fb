package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorScores.padded;

import java.lang.foreign.MemorySegment;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;

/**
 * Scaled dot-product attention of f32 tensors whose two products have bf16 factors and f32 sums; the softmax is f32. For
 * inference only. Tiled as {@link VectorAttention}, with wider tiles of queries, because oneDNN lays out keys and values anew for
 * every tile.
 */
final class VectorBf16Attention {
    private static final int QUERY_TILE = 128;
    private static final int KEY_TILE = 512;

    private final Workers workers;

    VectorBf16Attention(Workers workers) {
        this.workers = workers;
    }

    /** Whether the rows of these f32 tensors can be read as matrices. */
    static boolean has(AttentionShape s, AttentionTensors in) {
        return OneDnnBf16.usable()
                && (LANES == 8 || LANES == 16)
                && isF32(in.q())
                && s.headDim() > 0
                && s.keys() > 0
                && s.out().row() >= s.headDim();
    }

    private static long offset(Strides strides, long b, long h, long row) {
        return b * strides.batch() + h * strides.head() + row * strides.row();
    }

    void attention(AttentionShape s, AttentionTensors in, Buffer out) {
        VectorScores rules = new VectorScores(s, in);
        long tiles = Blocks.ceilDiv(s.queries(), QUERY_TILE);
        long work = 2L * Math.min(s.queries(), QUERY_TILE) * s.keys() * s.headDim();
        long grain = Math.max(1, 2 * Gemm.WORTH_A_THREAD / Math.max(1, work));
        workers.parallelFor(s.batch() * s.heads() * tiles, grain, (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                Head head = new Head(s, in, rules, out.segment(), scratch);
                for (long task = from; task < to; task++) {
                    head.choose(task / tiles);
                    head.tile((int) (task % tiles) * QUERY_TILE);
                }
            }
        });
    }

    /** One head at a time with its keys and values in bf16, and the memory of a tile; used by one thread. */
    private static final class Head {
        private final AttentionShape s;
        private final AttentionTensors in;
        private final VectorScores rules;
        private final MemorySegment out;
        private final int dim;
        /** Elements between two rows of the scores and of the probabilities. */
        private final int ld;

        private final MemorySegment keys;
        private final MemorySegment values;
        private final MemorySegment queries;
        private final MemorySegment probabilities;
        private final MemorySegment scores;
        /** The running maximum and sum of each row of a tile, interleaved. */
        private final MemorySegment statistics;

        private long chosen = -1;
        private long b;
        private long h;

        Head(AttentionShape s, AttentionTensors in, VectorScores rules, MemorySegment out, Scratch scratch) {
            this.s = s;
            this.in = in;
            this.rules = rules;
            this.out = out;
            this.dim = s.headDim();
            this.ld = (Math.min(s.keys(), KEY_TILE) + 31) & -32;
            long rows = Math.min(s.queries(), QUERY_TILE);
            long matrix = lines(Short.BYTES * (long) s.keys() * dim);
            long query = lines(Short.BYTES * rows * dim);
            long half = Short.BYTES * rows * ld;
            long whole = Float.BYTES * rows * ld;
            long all = 2 * matrix + query + half + whole + 2 * Float.BYTES * rows;
            MemorySegment memory = scratch.floats(Blocks.ceilDiv(all, Float.BYTES));
            keys = memory;
            values = keys.asSlice(matrix);
            queries = values.asSlice(matrix);
            probabilities = queries.asSlice(query);
            scores = probabilities.asSlice(half);
            statistics = scores.asSlice(whole);
        }

        private static long lines(long bytes) {
            return (bytes + 63) & -64;
        }

        /** Converts the keys and values of a head. */
        void choose(long head) {
            if (head == chosen) {
                return;
            }
            chosen = head;
            b = head / s.heads();
            h = head % s.heads();
            convert(in.k().segment(), s.k(), 0, s.keys(), keys);
            convert(in.v().segment(), s.v(), 0, s.keys(), values);
        }

        private void convert(MemorySegment x, Strides strides, int row, int rows, MemorySegment y) {
            for (int r = 0; r < rows; r++) {
                VectorBf16Rows.narrow(x, offset(strides, b, h, row + r), dim, y, (long) r * dim);
            }
        }

        /** The results of the queries of a tile. */
        void tile(int row) {
            int rows = Math.min(QUERY_TILE, s.queries() - row);
            // Then the scale goes into the exponential and costs nothing.
            boolean plain = rules.onlyScaled(b) && s.scale() > 0;
            float factor = plain ? (float) s.scale() : 1;
            long outFrom = offset(s.out(), b, h, row);
            long outRow = s.out().row();
            MemorySegment result = out.asSlice(outFrom * Float.BYTES);
            convert(in.q().segment(), s.q(), row, rows, queries);
            for (int key = 0; key < s.keys(); key += KEY_TILE) {
                int count = Math.min(KEY_TILE, s.keys() - key);
                MemorySegment some = keys.asSlice((long) key * dim * Short.BYTES);
                OneDnnBf16.multiply(
                        new MatmulShape(false, true, rows, count, dim, dim, dim, ld),
                        queries,
                        some,
                        null,
                        null,
                        Activation.NONE,
                        scores);
                for (int r = 0; r < rows; r++) {
                    long at = (long) r * ld;
                    float largest = plain
                            ? VectorScores.paddedMax(scores, at, count)
                            : rules.complete(b, h, row + r, scores, at, key, count);
                    float before = key == 0 ? Float.NEGATIVE_INFINITY : get(statistics, 2L * r);
                    float max = Math.max(before, factor * largest);
                    // A row whose keys are all masked so far has no maximum to subtract.
                    float shift = max == Float.NEGATIVE_INFINITY ? 0 : max;
                    float sum = VectorBf16Rows.exps(scores, at, padded(count), factor, -shift, probabilities);
                    if (key > 0) {
                        float shrink = (float) Math.exp(before - shift);
                        sum += shrink * get(statistics, 2L * r + 1);
                        VectorScores.scale(out, outFrom + r * outRow, dim, shrink);
                    }
                    set(statistics, 2L * r, max);
                    set(statistics, 2L * r + 1, sum);
                }
                MemorySegment weighed = values.asSlice((long) key * dim * Short.BYTES);
                MatmulShape shape = new MatmulShape(false, false, rows, dim, count, ld, dim, outRow);
                // Two calls, in each of which the compiler sees that its product need not be allocated.
                if (key > 0) {
                    OneDnnBf16.multiply(shape, probabilities, weighed, null, result, Activation.NONE, result);
                } else {
                    OneDnnBf16.multiply(shape, probabilities, weighed, null, null, Activation.NONE, result);
                }
            }
            for (int r = 0; r < rows; r++) {
                VectorScores.scale(out, outFrom + r * outRow, dim, 1 / get(statistics, 2L * r + 1));
            }
        }
    }
}
