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
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
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
        Forward pass = new Forward(s, in, out, logSumExp);
        workers.repeatableFor(pass.tasks(), pass.grain(), pass);
    }

    /** A forward pass, whose tasks are a tile of queries of one head each; keys and values of a head become bf16 once in a range of tasks. */
    private static final class Forward implements Workers.RangeBody {
        private final AttentionShape s;
        private final MemorySegment q;
        private final MemorySegment k;
        private final MemorySegment v;
        private final MemorySegment out;
        private final @Nullable MemorySegment logSumExp;
        private final VectorScores rules;
        private final int dim;
        /** Most queries of a tile, and tiles of a head. */
        private final int tile;

        private final long tiles;
        /** Most keys of a tile, and elements between two rows of the scores and of the probabilities. */
        private final int ld;

        // Where the parts of the working memory begin, in elements: of bf16 the first three, which follow the keys, and
        // of f32 the others.
        private final long values;
        private final long queries;
        private final long probabilities;
        private final long scores;
        /** The running maximum and sum of each row of a tile, interleaved. */
        private final long statistics;
        /** Of queries and keys. */
        private final TileShapes products;
        /** Of the values, weighted by the probabilities. */
        private final TileShapes sums;

        Forward(AttentionShape s, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
            this.s = s;
            this.q = in.q().segment();
            this.k = in.k().segment();
            this.v = in.v().segment();
            this.out = out.segment();
            this.logSumExp = segment(logSumExp);
            this.rules = new VectorScores(s, in);
            this.dim = s.headDim();
            this.tile = equal(s.queries(), QUERY_TILE);
            this.tiles = tile == 0 ? 0 : Blocks.ceilDiv(s.queries(), tile);
            this.ld = line(equal(s.keys(), KEY_TILE));
            this.values = lines(Short.BYTES * (long) s.keys() * dim) / Short.BYTES;
            this.queries = 2 * values;
            this.probabilities = queries + lines(Short.BYTES * (long) tile * dim) / Short.BYTES;
            this.scores = (probabilities + (long) tile * ld) * Short.BYTES / Float.BYTES;
            this.statistics = scores + (long) tile * ld;
            this.products = new TileShapes(
                    s.queries(),
                    tile,
                    s.keys(),
                    ld,
                    (rows, keys) -> new MatmulShape(false, true, rows, keys, dim, dim, dim, ld));
            this.sums = new TileShapes(
                    s.queries(),
                    tile,
                    s.keys(),
                    ld,
                    (rows, keys) -> new MatmulShape(
                            false, false, rows, dim, keys, ld, dim, s.out().row()));
        }

        long tasks() {
            return s.batch() * s.heads() * tiles;
        }

        long grain() {
            return Math.max(1, 2 * Gemm.WORTH_A_THREAD / Math.max(1, 2L * tile * s.keys() * dim));
        }

        @Override
        public void run(int worker, long from, long to) {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment memory = scratch.floats(statistics + 2L * tile);
                long chosen = -1;
                for (long task = from; task < to; task++) {
                    long head = task / tiles;
                    if (head != chosen) {
                        chosen = head;
                        narrow(k, s.k(), head, 0, s.keys(), memory, 0);
                        narrow(v, s.v(), head, 0, s.keys(), memory, values);
                    }
                    tile(head, (int) (task % tiles) * tile, memory);
                }
            }
        }

        private void narrow(
                MemorySegment x, Strides strides, long head, int row, int rows, MemorySegment memory, long to) {
            long from = offset(strides, head / s.heads(), head % s.heads(), row);
            VectorBf16Rows.narrow(x, from, strides.row(), rows, dim, memory, to);
        }

        /** The results of the queries of a tile. */
        private void tile(long head, int row, MemorySegment memory) {
            long b = head / s.heads();
            long h = head % s.heads();
            int rows = Math.min(tile, s.queries() - row);
            boolean divided = rules.divided(b);
            // Then the scale goes into the exponential and costs nothing.
            boolean plain = rules.onlyScaled(divided) && s.scale() > 0;
            float factor = plain ? (float) s.scale() : 1;
            long outFrom = offset(s.out(), b, h, row);
            long outRow = s.out().row();
            narrow(q, s.q(), head, row, rows, memory, queries);
            for (int key = 0; key < s.keys(); key += ld) {
                int count = Math.min(ld, s.keys() - key);
                long skipped = (long) key * dim;
                OneDnnBf16.tile(products.of(rows, count), memory, queries, memory, skipped, false, memory, scores);
                for (int r = 0; r < rows; r++) {
                    long at = scores + (long) r * ld;
                    float largest = plain
                            ? VectorScores.paddedMax(memory, at, count)
                            : rules.complete(b, h, row + r, divided, memory, at, key, count);
                    long maximum = statistics + 2L * r;
                    float before = key == 0 ? Float.NEGATIVE_INFINITY : get(memory, maximum);
                    float max = Math.max(before, factor * largest);
                    // A row whose keys are all masked so far has no maximum to subtract.
                    float shift = max == Float.NEGATIVE_INFINITY ? 0 : max;
                    float sum = VectorBf16Rows.exps(
                            memory, at, padded(count), factor, -shift, memory, probabilities + (long) r * ld);
                    if (key > 0) {
                        float shrink = (float) Math.exp(before - shift);
                        sum += shrink * get(memory, maximum + 1);
                        VectorScores.scale(out, outFrom + r * outRow, dim, shrink);
                    }
                    set(memory, maximum, max);
                    set(memory, maximum + 1, sum);
                }
                OneDnnBf16.tile(
                        sums.of(rows, count), memory, probabilities, memory, values + skipped, key > 0, out, outFrom);
            }
            for (int r = 0; r < rows; r++) {
                float sum = get(memory, statistics + 2L * r + 1);
                VectorScores.scale(out, outFrom + r * outRow, dim, 1 / sum);
                if (logSumExp != null) {
                    float max = get(memory, statistics + 2L * r);
                    set(logSumExp, head * s.queries() + row + r, (float) (max + Math.log(sum)));
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
        MemorySegment dq = pass.gradients().q().segment();
        MemorySegment dk = pass.gradients().k().segment();
        MemorySegment dv = pass.gradients().v().segment();
        long ldq = s.q().row();
        long ldk = s.k().row();
        long ldv = s.v().row();
        long atK = offset(s.k(), b, h, 0);
        long atV = offset(s.v(), b, h, 0);
        narrow(pass.in().k(), atK, ldk, keys, dim, memory);
        narrow(pass.in().v(), atV, ldv, keys, dim, headV);
        for (int row = 0; row < s.queries(); row += tile) {
            int rows = Math.min(tile, s.queries() - row);
            long atQ = offset(s.q(), b, h, row);
            boolean add = row > 0;
            narrow(pass.in().q(), atQ, ldq, rows, dim, queries);
            narrow(pass.dout(), offset(s.out(), b, h, row), s.out().row(), rows, dim, gradient);
            MatmulShape products = new MatmulShape(false, true, rows, keys, dim, dim, dim, ld);
            OneDnnBf16.tile(products, queries, 0, memory, 0, false, p, 0);
            OneDnnBf16.tile(products, gradient, 0, headV, 0, false, ds, 0);
            head.softmax(row, rows, p, ds, ld);
            VectorBf16Rows.narrow(p, 0, (long) rows * ld, narrowP, 0);
            VectorBf16Rows.narrow(ds, 0, (long) rows * ld, narrowDs, 0);
            MatmulShape ofValues = new MatmulShape(true, false, keys, dim, rows, ld, dim, ldv);
            OneDnnBf16.tile(ofValues, narrowP, 0, gradient, 0, add, dv, atV);
            MatmulShape ofQueries = new MatmulShape(false, false, rows, dim, keys, ld, dim, ldq);
            OneDnnBf16.tile(ofQueries, narrowDs, 0, memory, 0, false, dq, atQ);
            MatmulShape ofKeys = new MatmulShape(true, false, keys, dim, rows, ld, dim, ldk);
            OneDnnBf16.tile(ofKeys, narrowDs, 0, queries, 0, add, dk, atK);
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
        VectorBf16Rows.narrow(x.segment(), from, stride, rows, dim, y, 0);
    }
}
