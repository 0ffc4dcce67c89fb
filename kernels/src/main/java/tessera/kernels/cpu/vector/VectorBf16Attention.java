package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorScores.padded;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Buffer;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;

/**
 * Scaled dot-product attention of f32 tensors whose products, forward and backward, have bf16 factors and f32 sums; the softmax, its
 * statistics and the gradient of a bias are f32. Tiled as {@link VectorAttention}, which computes what this cannot, with wider tiles of
 * queries forward, because oneDNN lays out keys and values anew for every tile.
 */
final class VectorBf16Attention extends VectorAttention {
    private static final int QUERY_TILE = 128;
    /** More, and the scores leave the second-level cache. */
    private static final int KEY_TILE = 1024;

    VectorBf16Attention(Workers workers, Gemm gemm, HostMemory memory) {
        super(workers, gemm, memory);
    }

    /** Whether this processor has the products and the rows of these f32 tensors can be read as matrices. */
    private static boolean has(AttentionShape s, AttentionTensors in) {
        return OneDnnBf16.usable()
                && (LANES == 8 || LANES == 16)
                && isF32(in.q())
                && s.headDim() > 0
                && s.keys() > 0
                && s.out().row() >= s.headDim();
    }

    @Override
    public void attention(AttentionShape s, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        if (!has(s, in)) {
            super.attention(s, in, out, logSumExp);
            return;
        }
        VectorScores rules = new VectorScores(s, in);
        int tile = equal(s.queries(), QUERY_TILE);
        long tiles = tile == 0 ? 0 : Blocks.ceilDiv(s.queries(), tile);
        long work = 2L * tile * s.keys() * s.headDim();
        long grain = Math.max(1, 2 * Gemm.WORTH_A_THREAD / Math.max(1, work));
        workers.parallelFor(s.batch() * s.heads() * tiles, grain, (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                Head head = new Head(s, in, rules, out.segment(), segment(logSumExp), tile, scratch);
                for (long task = from; task < to; task++) {
                    head.choose(task / tiles);
                    head.tile((int) (task % tiles) * tile);
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
        private final @Nullable MemorySegment logSumExp;
        private final int dim;
        /** Most queries of a tile. */
        private final int tile;

        /** Most keys of a tile, and elements between two rows of the scores and of the probabilities. */
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

        Head(
                AttentionShape s,
                AttentionTensors in,
                VectorScores rules,
                MemorySegment out,
                @Nullable MemorySegment logSumExp,
                int tile,
                Scratch scratch) {
            this.s = s;
            this.in = in;
            this.rules = rules;
            this.out = out;
            this.logSumExp = logSumExp;
            this.tile = tile;
            this.dim = s.headDim();
            this.ld = line(equal(s.keys(), KEY_TILE));
            long matrix = lines(Short.BYTES * (long) s.keys() * dim);
            long query = lines(Short.BYTES * (long) tile * dim);
            long half = Short.BYTES * (long) tile * ld;
            long whole = Float.BYTES * (long) tile * ld;
            long all = 2 * matrix + query + half + whole + 2L * Float.BYTES * tile;
            MemorySegment memory = scratch.floats(Blocks.ceilDiv(all, Float.BYTES));
            keys = memory;
            values = keys.asSlice(matrix);
            queries = values.asSlice(matrix);
            probabilities = queries.asSlice(query);
            scores = probabilities.asSlice(half);
            statistics = scores.asSlice(whole);
        }

        /** Converts the keys and values of a head. */
        void choose(long head) {
            if (head == chosen) {
                return;
            }
            chosen = head;
            b = head / s.heads();
            h = head % s.heads();
            narrow(in.k(), offset(s.k(), b, h, 0), s.k().row(), s.keys(), dim, keys);
            narrow(in.v(), offset(s.v(), b, h, 0), s.v().row(), s.keys(), dim, values);
        }

        /** The results of the queries of a tile. */
        void tile(int row) {
            int rows = Math.min(tile, s.queries() - row);
            // Then the scale goes into the exponential and costs nothing.
            boolean plain = rules.onlyScaled(b) && s.scale() > 0;
            float factor = plain ? (float) s.scale() : 1;
            long outFrom = offset(s.out(), b, h, row);
            long outRow = s.out().row();
            MemorySegment result = out.asSlice(outFrom * Float.BYTES);
            narrow(in.q(), offset(s.q(), b, h, row), s.q().row(), rows, dim, queries);
            for (int key = 0; key < s.keys(); key += ld) {
                int count = Math.min(ld, s.keys() - key);
                MemorySegment part = keys.asSlice((long) key * dim * Short.BYTES);
                multiply(new MatmulShape(false, true, rows, count, dim, dim, dim, ld), queries, part, scores, false);
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
                multiply(
                        new MatmulShape(false, false, rows, dim, count, ld, dim, outRow),
                        probabilities,
                        weighed,
                        result,
                        key > 0);
            }
            for (int r = 0; r < rows; r++) {
                float sum = get(statistics, 2L * r + 1);
                VectorScores.scale(out, outFrom + r * outRow, dim, 1 / sum);
                if (logSumExp != null) {
                    long at = (b * s.heads() + h) * s.queries() + row + r;
                    set(logSumExp, at, (float) (get(statistics, 2L * r) + Math.log(sum)));
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------- backward

    @Override
    void backwardTiles(HeadBackward head, int tile, Scratch scratch) {
        Backward pass = head.pass();
        AttentionShape s = pass.shape();
        if (!has(s, pass.in())) {
            super.backwardTiles(head, tile, scratch);
            return;
        }
        long b = head.b();
        long h = head.h();
        int dim = s.headDim();
        int keys = s.keys();
        int ld = line(keys);
        long matrix = lines(Short.BYTES * (long) keys * dim);
        long some = lines(Short.BYTES * (long) tile * dim);
        long half = Short.BYTES * (long) tile * ld;
        MemorySegment memory = scratch.floats((2 * matrix + 2 * some + 6 * half) / Float.BYTES);
        MemorySegment headV = memory.asSlice(matrix);
        MemorySegment queries = headV.asSlice(matrix);
        MemorySegment gradient = queries.asSlice(some);
        MemorySegment narrowP = gradient.asSlice(some);
        MemorySegment narrowDs = narrowP.asSlice(half);
        MemorySegment p = narrowDs.asSlice(half);
        MemorySegment ds = p.asSlice(2 * half);
        MemorySegment headDk = head(pass.gradients().k(), s.k(), b, h);
        MemorySegment headDv = head(pass.gradients().v(), s.v(), b, h);
        narrow(pass.in().k(), offset(s.k(), b, h, 0), s.k().row(), keys, dim, memory);
        narrow(pass.in().v(), offset(s.v(), b, h, 0), s.v().row(), keys, dim, headV);
        for (int row = 0; row < s.queries(); row += tile) {
            int rows = Math.min(tile, s.queries() - row);
            narrow(pass.in().q(), offset(s.q(), b, h, row), s.q().row(), rows, dim, queries);
            narrow(pass.dout(), offset(s.out(), b, h, row), s.out().row(), rows, dim, gradient);
            multiply(new MatmulShape(false, true, rows, keys, dim, dim, dim, ld), queries, memory, p, false);
            multiply(new MatmulShape(false, true, rows, keys, dim, dim, dim, ld), gradient, headV, ds, false);
            head.softmax(row, rows, p, ds, ld);
            VectorBf16Rows.narrow(p, 0, (long) rows * ld, narrowP);
            VectorBf16Rows.narrow(ds, 0, (long) rows * ld, narrowDs);
            multiply(
                    new MatmulShape(true, false, keys, dim, rows, ld, dim, s.v().row()),
                    narrowP,
                    gradient,
                    headDv,
                    row > 0);
            multiply(
                    new MatmulShape(false, false, rows, dim, keys, ld, dim, s.q().row()),
                    narrowDs,
                    memory,
                    from(pass.gradients().q().segment(), offset(s.q(), b, h, row)),
                    false);
            multiply(
                    new MatmulShape(true, false, keys, dim, rows, ld, dim, s.k().row()),
                    narrowDs,
                    queries,
                    headDk,
                    row > 0);
        }
    }

    // -------------------------------------------------------------------------------------------------------- bf16

    /** Bytes in whole cache lines. */
    private static long lines(long bytes) {
        return (bytes + 63) & -64;
    }

    /** So many bf16 in whole cache lines. */
    private static int line(int count) {
        return (count + 31) & -32;
    }

    /** Rounds rows of a tensor that begin at {@code from} and lie {@code stride} elements apart; in y they have no gaps. */
    private static void narrow(Buffer x, long from, long stride, int rows, int dim, MemorySegment y) {
        VectorBf16Rows.narrow(x.segment(), from, stride, rows, dim, y);
    }

    private static void multiply(
            MatmulShape shape, MemorySegment a, MemorySegment b, MemorySegment c, boolean accumulate) {
        // Two calls, in each of which the compiler sees that its product need not be allocated.
        if (accumulate) {
            OneDnnBf16.multiply(shape, a, b, null, c, Activation.NONE, c);
        } else {
            OneDnnBf16.multiply(shape, a, b, null, null, Activation.NONE, c);
        }
    }
}
