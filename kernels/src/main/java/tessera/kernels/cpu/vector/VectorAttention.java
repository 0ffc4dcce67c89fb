package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorScores.padded;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarAttention;

/**
 * Scaled dot-product attention in f32.
 *
 * <p>A task takes a tile of queries of one head; the scores of that tile against a tile of keys are all that ever exists.
 * Several tiles of keys are joined by rescaling with the running maximum (Milakov and Gimelshein, "Online normalizer
 * calculation for softmax", 2018; Dao et al., "FlashAttention", NeurIPS 2022, algorithm 1). The backward pass recomputes
 * the probabilities from logSumExp (ibid., algorithm 4); a head of a sample belongs to one task, so its sums have one order.
 * The gradient of a bias that samples share is summed in blocks of {@value #SAMPLE_BLOCK} samples, then over the blocks.
 * Other types are left to the plain Java kernels.
 */
public class VectorAttention extends ScalarAttention {
    /**
     * Most queries of a tile forward: fewer, and oneDNN lays the keys out anew for too few rows; more, and the scores of many keys leave
     * the second-level cache.
     */
    private static final int QUERIES = 112;
    /** Queries of a tile backward: at least so many of one with many keys, at most so many of one with few. */
    private static final int LEAST_QUERIES = 64;

    private static final int MOST_QUERIES = 128;
    /** Scores of a tile that stay in the second-level cache beside their gradient. */
    private static final int TILE_SCORES = 1 << 16;

    private static final Tiles TILES =
            LANES == 8 ? new Tiles(448, true, 512) : new Tiles(2048, false, Integer.MAX_VALUE);
    /** Most elements of a copy, which stays with its thread. */
    private static final long COPY = 1 << 20;

    private static final int SAMPLE_BLOCK = 4;
    /** Elements of the sum over the blocks that are worth a thread. */
    private static final long SUM_GRAIN = 16_384;

    /**
     * What suits vectors of one length.
     *
     * @param keys most of a tile: with 8 lanes, so many that scores, keys and values of a tile stay in the second-level cache together
     * @param equal whether tiles of keys are about equal
     * @param queriesOfCopies fewest queries whose products are worth copies of keys and values
     */
    private record Tiles(int keys, boolean equal, int queriesOfCopies) {
        /** Most keys of a tile. */
        int of(int count) {
            return equal ? (int) HeadCopy.lines(VectorAttention.equal(count, keys)) : keys;
        }
    }

    private final Gemm gemm;
    private final HostMemory memory;

    /** @param memory where the sums of the blocks lie */
    public VectorAttention(Workers workers, Gemm gemm, HostMemory memory) {
        super(workers);
        this.gemm = gemm;
        this.memory = memory;
    }

    /** Whether this is f32 and the rows of q, k, v and out can be read as matrices. */
    private static boolean has(AttentionShape s, AttentionTensors in) {
        return isF32(in.q())
                && s.headDim() > 0
                && s.keys() > 0
                && s.q().row() >= s.headDim()
                && s.k().row() >= s.headDim()
                && s.v().row() >= s.headDim()
                && s.out().row() >= s.headDim();
    }

    /** Queries of a tile backward. */
    static int tile(int queries, int keys) {
        return equal(queries, Math.clamp(TILE_SCORES / keys, LEAST_QUERIES, MOST_QUERIES));
    }

    /** Rows of tiles of at most so many; tiles are equal but for the last, so that none is left with a few. */
    static int equal(int rows, int most) {
        return Math.ceilDiv(rows, Math.max(1, Math.ceilDiv(rows, most)));
    }

    static long offset(Strides strides, long b, long h, long row) {
        return b * strides.batch() + h * strides.head() + row * strides.row();
    }

    static MemorySegment from(MemorySegment x, long element) {
        return x.asSlice(element * Float.BYTES);
    }

    static MemorySegment head(Buffer x, Strides strides, long b, long h) {
        return from(x.segment(), offset(strides, b, h, 0));
    }

    // ----------------------------------------------------------------------------------------------------- forward

    @Override
    public void attention(AttentionShape s, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp) {
        if (!has(s, in)) {
            super.attention(s, in, out, logSumExp);
            return;
        }
        Forward pass = new Forward(s, in, out, logSumExp, gemm);
        workers.repeatableFor(pass.tasks(), pass.grain(), pass);
    }

    /** A forward pass, whose tasks are a tile of queries of one head each. */
    private static final class Forward implements Workers.RangeBody {
        private final AttentionShape s;
        private final MemorySegment q;
        private final MemorySegment k;
        private final MemorySegment v;
        private final MemorySegment out;
        private final @Nullable MemorySegment logSumExp;
        private final VectorScores rules;
        private final Gemm gemm;
        /** Most queries of a tile, and tiles of a head. */
        private final int tile;

        private final long tiles;
        /** Most keys of a tile. */
        private final int keyTile;
        /** Elements from one row of a tile's scores to the next. */
        private final int ld;
        /** Where the scores begin, behind the running maximum and sum of each row, interleaved. */
        private final int scoresFrom;
        /** Whether products take copies of keys and values, made once in a range of tasks for each head. */
        private final boolean copies;
        /** Where the copies begin in working memory, behind the scores, and where they end. */
        private final long keysFrom;

        private final long valuesFrom;
        private final long end;
        /** Of queries and keys. */
        private final TileShapes products;
        /** Of the values, weighted by the scores. */
        private final TileShapes sums;

        Forward(AttentionShape s, AttentionTensors in, Buffer out, @Nullable Buffer logSumExp, Gemm gemm) {
            this.s = s;
            this.q = in.q().segment();
            this.k = in.k().segment();
            this.v = in.v().segment();
            this.out = out.segment();
            this.logSumExp = segment(logSumExp);
            this.rules = new VectorScores(s, in);
            this.gemm = gemm;
            this.tile = equal(s.queries(), QUERIES);
            this.tiles = tile == 0 ? 0 : Blocks.ceilDiv(s.queries(), tile);
            this.keyTile = TILES.of(s.keys());
            this.ld = padded(Math.min(s.keys(), keyTile));
            this.scoresFrom = padded(2 * tile);
            int dim = s.headDim();
            this.copies = s.queries() >= TILES.queriesOfCopies && (long) s.keys() * dim <= COPY;
            int line = HeadCopy.line(s.keys());
            this.keysFrom = HeadCopy.lines(scoresFrom + (long) tile * ld);
            this.valuesFrom = keysFrom + (copies ? (long) line * dim : 0);
            this.end = valuesFrom + (copies ? (long) s.keys() * dim : 0);
            long ldk = copies ? line : s.k().row();
            long ldv = copies ? dim : s.v().row();
            this.products = new TileShapes(
                    s.queries(),
                    tile,
                    s.keys(),
                    keyTile,
                    (rows, keys) -> new MatmulShape(false, !copies, rows, keys, dim, s.q().row(), ldk, ld));
            this.sums = new TileShapes(
                    s.queries(),
                    tile,
                    s.keys(),
                    keyTile,
                    (rows, keys) -> new MatmulShape(
                            false, false, rows, dim, keys, ld, ldv, s.out().row()));
        }

        long tasks() {
            return s.batch() * s.heads() * tiles;
        }

        long grain() {
            return Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, 2L * tile * s.keys() * s.headDim()));
        }

        @Override
        public void run(int worker, long from, long to) {
            try (Scratch scratch = Scratch.borrow()) {
                MemorySegment memory = scratch.floats(end);
                long copied = -1;
                for (long task = from; task < to; task++) {
                    long head = task / tiles;
                    if (copies && head != copied) {
                        copied = head;
                        copy(head / s.heads(), head % s.heads(), memory);
                    }
                    tile(head, (int) (task % tiles) * tile, memory);
                }
            }
        }

        private void copy(long b, long h, MemorySegment memory) {
            int dim = s.headDim();
            HeadCopy.columns(k, offset(s.k(), b, h, 0), s.k().row(), s.keys(), dim, memory, keysFrom);
            HeadCopy.rows(v, offset(s.v(), b, h, 0), s.v().row(), s.keys(), dim, memory, valuesFrom);
        }

        private void tile(long head, int row, MemorySegment memory) {
            int rows = Math.min(tile, s.queries() - row);
            long b = head / s.heads();
            long h = head % s.heads();
            int dim = s.headDim();
            boolean divided = rules.divided(b);
            // Then the scale goes into the exponential and costs nothing.
            boolean plain = rules.onlyScaled(divided) && s.scale() > 0;
            float factor = plain ? (float) s.scale() : 1;
            long outFrom = offset(s.out(), b, h, row);
            long outRow = s.out().row();
            for (int key = 0; key < s.keys(); key += keyTile) {
                int count = Math.min(keyTile, s.keys() - key);
                gemm.tile(
                        products.of(rows, count),
                        q,
                        offset(s.q(), b, h, row),
                        copies ? memory : k,
                        copies ? keysFrom + key : offset(s.k(), b, h, key),
                        false,
                        memory,
                        scoresFrom);
                for (int r = 0; r < rows; r++) {
                    long at = scoresFrom + (long) r * ld;
                    float largest = plain
                            ? VectorScores.paddedMax(memory, at, count)
                            : rules.complete(b, h, row + r, divided, memory, at, key, count);
                    float before = key == 0 ? Float.NEGATIVE_INFINITY : get(memory, 2L * r);
                    float max = Math.max(before, factor * largest);
                    // A row whose keys are all masked so far has no maximum to subtract.
                    float shift = max == Float.NEGATIVE_INFINITY ? 0 : max;
                    float sum = VectorRuns.exps(memory, at, padded(count), factor, -shift, memory, at);
                    if (key > 0) {
                        float shrink = (float) Math.exp(before - shift);
                        sum += shrink * get(memory, 2L * r + 1);
                        VectorScores.scale(out, outFrom + r * outRow, dim, shrink);
                    }
                    set(memory, 2L * r, max);
                    set(memory, 2L * r + 1, sum);
                }
                gemm.tile(
                        sums.of(rows, count),
                        memory,
                        scoresFrom,
                        copies ? memory : v,
                        copies ? valuesFrom + (long) key * dim : offset(s.v(), b, h, key),
                        key > 0,
                        out,
                        outFrom);
            }
            for (int r = 0; r < rows; r++) {
                float sum = get(memory, 2L * r + 1);
                VectorScores.scale(out, outFrom + r * outRow, dim, 1 / sum);
                if (logSumExp != null) {
                    set(logSumExp, head * s.queries() + row + r, (float) (get(memory, 2L * r) + Math.log(sum)));
                }
            }
        }
    }

    // ---------------------------------------------------------------------------------------------------- backward

    @Override
    public void attentionBackward(
            AttentionShape s,
            AttentionTensors in,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients) {
        if (!has(s, in)) {
            super.attentionBackward(s, in, out, logSumExp, dout, gradients);
            return;
        }
        Backward pass = new Backward(s, in, new VectorScores(s, in), out, logSumExp, dout, gradients);
        MemorySegment dbias = segment(gradients.bias());
        if (dbias == null || s.biasBatch() != 1) {
            backward(pass, 1, dbias, null);
        } else if (s.batch() == 0 || s.queries() == 0) {
            dbias.fill((byte) 0);
            backward(pass, 1, null, null);
        } else {
            backwardOfSharedBias(pass, dbias);
        }
    }

    /** What all heads of a backward pass share. */
    record Backward(
            AttentionShape shape,
            AttentionTensors in,
            VectorScores rules,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            AttentionTensors gradients) {
        /** Elements of the gradient of a shared bias. */
        long biasSize() {
            return (long) shape.heads() * shape.queries() * shape.keys();
        }
    }

    /** The first block of samples adds to the gradient itself, the others to memory of their own. */
    private void backwardOfSharedBias(Backward pass, MemorySegment dbias) {
        long others = Blocks.ceilDiv(pass.shape.batch(), SAMPLE_BLOCK) - 1;
        if (others == 0) {
            backward(pass, SAMPLE_BLOCK, dbias, null);
            return;
        }
        long count = pass.biasSize();
        HostMemory.Block block = memory.allocate(others * count * Float.BYTES);
        try {
            MemorySegment sums = block.segment();
            backward(pass, SAMPLE_BLOCK, dbias, sums);
            workers.parallelFor(count, SUM_GRAIN, (worker, from, to) -> {
                for (long i = 0; i < others; i++) {
                    VectorRuns.addScaled(1, sums, i * count + from, dbias, from, to - from);
                }
            });
        } finally {
            block.free();
        }
    }

    /**
     * Gradients of all heads, a task being one head of {@code samples} samples.
     *
     * @param sums where the blocks of samples after the first sum their part of dbias
     */
    private void backward(Backward pass, int samples, @Nullable MemorySegment dbias, @Nullable MemorySegment sums) {
        AttentionShape s = pass.shape;
        long work = 5L * samples * s.queries() * s.keys() * s.headDim();
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, work));
        workers.parallelFor(Blocks.ceilDiv(s.batch(), samples) * s.heads(), grain, (worker, first, last) -> {
            try (Scratch scratch = Scratch.borrow()) {
                for (long task = first; task < last; task++) {
                    long block = task / s.heads();
                    MemorySegment target =
                            sums == null || block == 0 ? dbias : from(sums, (block - 1) * pass.biasSize());
                    for (long i = 0; i < Math.min(samples, s.batch() - block * samples); i++) {
                        backwardHead(pass, block * samples + i, task % s.heads(), target, i > 0, scratch);
                    }
                }
            }
        });
    }

    /**
     * Gradients of one head of one sample.
     *
     * @param add whether the gradient of the bias is added to what is there
     */
    private void backwardHead(
            Backward pass, long b, long h, @Nullable MemorySegment dbias, boolean add, Scratch scratch) {
        AttentionShape s = pass.shape;
        if (s.queries() == 0) {
            clear(head(pass.gradients.k(), s.k(), b, h), s.k().row(), s.keys(), s.headDim());
            clear(head(pass.gradients.v(), s.v(), b, h), s.v().row(), s.keys(), s.headDim());
            return;
        }
        HeadBackward head = new HeadBackward(pass, b, h, dbias, add);
        backwardTiles(head, tile(s.queries(), s.keys()), scratch);
    }

    /** One head of a backward pass, whose tiles differ only in how their products are made. */
    static final class HeadBackward {
        private final Backward pass;
        private final long b;
        private final long h;
        private final @Nullable MemorySegment dbias;
        private final boolean add;
        private final boolean divided;
        private final boolean plain;

        HeadBackward(Backward pass, long b, long h, @Nullable MemorySegment dbias, boolean add) {
            this.pass = pass;
            this.b = b;
            this.h = h;
            this.dbias = dbias;
            this.add = add;
            this.divided = pass.rules.divided(b);
            this.plain = pass.rules.onlyScaled(divided);
        }

        Backward pass() {
            return pass;
        }

        long b() {
            return b;
        }

        long h() {
            return h;
        }

        /**
         * Products of queries and keys become probabilities P, and those of dout and the values the gradient of the products.
         *
         * @param p rows of {@code ld} elements, as ds
         */
        void softmax(int row, int rows, MemorySegment p, MemorySegment ds, long ld) {
            for (int r = 0; r < rows; r++) {
                row(row + r, dot(row + r), 0, pass.shape.keys(), p, r * ld, ds, r * ld);
            }
        }

        /** The product of a query's result and its gradient. */
        float dot(int query) {
            AttentionShape s = pass.shape;
            return VectorRuns.dot(pass.out.segment(), pass.dout.segment(), offset(s.out(), b, h, query), s.headDim());
        }

        /**
         * As {@link #softmax}, of a query and the {@code count} keys from {@code key}.
         *
         * @param dot of {@link #dot}
         */
        void row(int query, float dot, int key, int count, MemorySegment p, long pFrom, MemorySegment ds, long dsFrom) {
            AttentionShape s = pass.shape;
            VectorScores rules = pass.rules;
            float scale = (float) s.scale();
            float logSum = get(pass.logSumExp.segment(), (b * s.heads() + h) * s.queries() + query);
            if (!plain) {
                rules.complete(b, h, query, divided, p, pFrom, key, count);
            }
            VectorRuns.exps(p, pFrom, padded(count), plain ? scale : 1, -logSum, p, pFrom);
            if (dbias == null) {
                VectorScores.gradient(p, pFrom, ds, dsFrom, count, dot, scale);
            } else {
                long biasFrom = rules.biasRow(b, h, query) + key;
                VectorScores.gradient(p, pFrom, ds, dsFrom, count, dot, scale, dbias, biasFrom, add);
            }
        }
    }

    /** Gradients of a head that has queries and keys, so many queries at a time. */
    void backwardTiles(HeadBackward head, int tile, Scratch scratch) {
        Backward pass = head.pass;
        AttentionShape s = pass.shape;
        if (HeadGradients.take(s)) {
            new HeadGradients(s, gemm).run(head, scratch);
            return;
        }
        long b = head.b;
        long h = head.h;
        int dim = s.headDim();
        int keys = s.keys();
        long ld = padded(keys);
        long ldq = s.q().row();
        long ldk = s.k().row();
        long ldv = s.v().row();
        long ldo = s.out().row();
        MemorySegment p = scratch.floats(2L * tile * ld);
        MemorySegment ds = from(p, tile * ld);
        MemorySegment q = pass.in.q().segment();
        MemorySegment k = pass.in.k().segment();
        MemorySegment v = pass.in.v().segment();
        MemorySegment dq = pass.gradients.q().segment();
        MemorySegment dk = pass.gradients.k().segment();
        MemorySegment dv = pass.gradients.v().segment();
        MemorySegment dout = pass.dout.segment();
        long atK = offset(s.k(), b, h, 0);
        long atV = offset(s.v(), b, h, 0);
        for (int row = 0; row < s.queries(); row += tile) {
            int rows = Math.min(tile, s.queries() - row);
            long atQ = offset(s.q(), b, h, row);
            long atOut = offset(s.out(), b, h, row);
            boolean add = row > 0;
            gemm.tile(new MatmulShape(false, true, rows, keys, dim, ldq, ldk, ld), q, atQ, k, atK, false, p, 0);
            gemm.tile(new MatmulShape(false, true, rows, keys, dim, ldo, ldv, ld), dout, atOut, v, atV, false, ds, 0);
            head.softmax(row, rows, p, ds, ld);
            gemm.tile(new MatmulShape(true, false, keys, dim, rows, ld, ldo, ldv), p, 0, dout, atOut, add, dv, atV);
            gemm.tile(new MatmulShape(false, false, rows, dim, keys, ld, ldk, ldq), ds, 0, k, atK, false, dq, atQ);
            gemm.tile(new MatmulShape(true, false, keys, dim, rows, ld, ldq, ldk), ds, 0, q, atQ, add, dk, atK);
        }
    }

    private static void clear(MemorySegment x, long ld, int rows, int columns) {
        for (int row = 0; row < rows; row++) {
            from(x, row * ld).asSlice(0, (long) columns * Float.BYTES).fill((byte) 0);
        }
    }
}
