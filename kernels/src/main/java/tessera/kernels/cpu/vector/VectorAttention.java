package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.isF32;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.segment;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.VectorMask;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Blocks;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.Scratch;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarAttention;

/**
 * Scaled dot-product attention in f32.
 *
 * <p>A task takes a tile of queries of one head; the scores of that tile against a tile of keys are all that ever exists.
 * Several tiles of keys are joined by rescaling with the running maximum (Milakov and Gimelshein, "Online normalizer
 * calculation for softmax", 2018; Dao et al., "FlashAttention", NeurIPS 2022, algorithm 1). The backward pass recomputes
 * the probabilities from logSumExp (ibid., algorithm 4); a head belongs to one task, so its sums have one order.
 * Other types are left to the plain Java kernels.
 */
public final class VectorAttention extends ScalarAttention {
    private static final int QUERY_TILE = 64;
    private static final int KEY_TILE = 2048;

    private final Gemm gemm;

    public VectorAttention(Workers workers, Gemm gemm) {
        super(workers);
        this.gemm = gemm;
    }

    /** Whether this is f32 and the rows of q, k, v and out can be read as matrices. */
    private static boolean has(AttentionShape s, AttentionTensors in) {
        return isF32(in.q())
                && in.regions() == null
                && s.headDim() > 0
                && s.keys() > 0
                && s.q().row() >= s.headDim()
                && s.k().row() >= s.headDim()
                && s.v().row() >= s.headDim()
                && s.out().row() >= s.headDim();
    }

    /** The memory of q, k, v and the bias, or of their gradients. */
    private record Tensors(
            MemorySegment q,
            MemorySegment k,
            MemorySegment v,
            @Nullable MemorySegment bias) {
        static Tensors of(AttentionTensors in) {
            return new Tensors(in.q().segment(), in.k().segment(), in.v().segment(), segment(in.bias()));
        }
    }

    private static int padded(int n) {
        return (n + LANES - 1) & -LANES;
    }

    private static long offset(Strides strides, long b, long h, long row) {
        return b * strides.batch() + h * strides.head() + row * strides.row();
    }

    private static MemorySegment from(MemorySegment x, long element) {
        return x.asSlice(element * Float.BYTES);
    }

    /** {@code C = op(A) op(B)} or, to {@code accumulate}, {@code C += op(A) op(B)}, on this thread. */
    private void multiply(MatmulShape shape, MemorySegment a, MemorySegment b, MemorySegment c, boolean accumulate) {
        gemm.gemmSerial(DType.F32, shape, a, b, null, accumulate ? c : null, Activation.NONE, c);
    }

    // ----------------------------------------------------------------------------------------------------- forward

    @Override
    public void attention(AttentionShape s, AttentionTensors in, Buffer target, @Nullable Buffer logSums) {
        if (!has(s, in)) {
            super.attention(s, in, target, logSums);
            return;
        }
        Tensors tensors = Tensors.of(in);
        MemorySegment out = target.segment();
        MemorySegment logSumExp = segment(logSums);
        long tiles = Blocks.ceilDiv(s.queries(), QUERY_TILE);
        long work = 2L * Math.min(s.queries(), QUERY_TILE) * s.keys() * s.headDim();
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, work));
        workers.parallelFor(s.batch() * s.heads() * tiles, grain, (worker, from, to) -> {
            try (Scratch scratch = Scratch.borrow()) {
                long ld = padded(Math.min(s.keys(), KEY_TILE));
                MemorySegment memory = scratch.floats(QUERY_TILE * (ld + 2));
                MemorySegment scores = from(memory, 2 * QUERY_TILE);
                for (long task = from; task < to; task++) {
                    long head = task / tiles;
                    int row = (int) (task % tiles) * QUERY_TILE;
                    forwardTile(s, tensors, out, logSumExp, head, row, memory, scores, ld);
                }
            }
        });
    }

    /** @param statistics the running maximum and sum of each row of the tile, interleaved */
    private void forwardTile(
            AttentionShape s,
            Tensors in,
            MemorySegment out,
            @Nullable MemorySegment logSumExp,
            long head,
            int row,
            MemorySegment statistics,
            MemorySegment scores,
            long ld) {
        MemorySegment bias = in.bias();
        long b = head / s.heads();
        long h = head % s.heads();
        int rows = Math.min(QUERY_TILE, s.queries() - row);
        int dim = s.headDim();
        float scale = (float) s.scale();
        // Then the scale goes into the exponential and costs nothing.
        boolean plain = bias == null && scale > 0;
        float factor = plain ? scale : 1;
        long outFrom = offset(s.out(), b, h, row);
        MemorySegment queries = from(in.q(), offset(s.q(), b, h, row));
        MemorySegment result = from(out, outFrom);
        for (int key = 0; key < s.keys(); key += KEY_TILE) {
            int count = Math.min(KEY_TILE, s.keys() - key);
            MemorySegment keys = from(in.k(), offset(s.k(), b, h, key));
            multiply(
                    new MatmulShape(false, true, rows, count, dim, s.q().row(), s.k().row(), ld),
                    queries,
                    keys,
                    scores,
                    false);
            for (int r = 0; r < rows; r++) {
                long at = r * ld;
                if (!plain) {
                    long biasFrom = bias == null ? 0 : biasRow(s, b, h, row + r) + key;
                    scaleAndBias(scores, at, count, scale, bias, biasFrom);
                }
                pad(scores, at, count);
                float before = key == 0 ? Float.NEGATIVE_INFINITY : get(statistics, 2L * r);
                float max = Math.max(before, factor * VectorRuns.max(scores, at, padded(count)));
                // A row whose keys are all masked so far has no maximum to subtract.
                float shift = max == Float.NEGATIVE_INFINITY ? 0 : max;
                float sum = VectorRuns.exps(scores, at, padded(count), factor, -shift, scores, at);
                if (key > 0) {
                    float shrink = (float) Math.exp(before - shift);
                    sum += shrink * get(statistics, 2L * r + 1);
                    scaleRow(out, outFrom + r * s.out().row(), dim, shrink);
                }
                set(statistics, 2L * r, max);
                set(statistics, 2L * r + 1, sum);
            }
            MemorySegment values = from(in.v(), offset(s.v(), b, h, key));
            multiply(
                    new MatmulShape(
                            false,
                            false,
                            rows,
                            dim,
                            count,
                            ld,
                            s.v().row(),
                            s.out().row()),
                    scores,
                    values,
                    result,
                    key > 0);
        }
        for (int r = 0; r < rows; r++) {
            float sum = get(statistics, 2L * r + 1);
            scaleRow(out, outFrom + r * s.out().row(), dim, 1 / sum);
            if (logSumExp != null) {
                set(logSumExp, head * s.queries() + row + r, (float) (get(statistics, 2L * r) + Math.log(sum)));
            }
        }
    }

    private static long biasRow(AttentionShape s, long b, long h, long row) {
        long sample = s.biasBatch() == 1 ? 0 : b;
        return ((sample * s.heads() + h) * s.queries() + row) * s.keys();
    }

    /** {@code x = scale * x + bias}. */
    private static void scaleAndBias(
            MemorySegment x, long start, int n, float scale, @Nullable MemorySegment bias, long biasFrom) {
        scaleRow(x, start, n, scale);
        if (bias != null) {
            VectorRuns.addScaled(1, bias, biasFrom, x, start, n);
        }
    }

    /** Fills the row to whole vectors with scores that have no weight. */
    private static void pad(MemorySegment x, long start, int n) {
        for (int i = n; i < padded(n); i++) {
            set(x, start + i, Float.NEGATIVE_INFINITY);
        }
    }

    private static void scaleRow(MemorySegment x, long start, int n, float factor) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(x, start + i).mul(factor), x, start + i);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            store(load(x, start + end, mask).mul(factor), x, start + end, mask);
        }
    }

    // ---------------------------------------------------------------------------------------------------- backward

    @Override
    public void attentionBackward(
            AttentionShape s,
            AttentionTensors in,
            Buffer result,
            Buffer logSums,
            Buffer gradient,
            AttentionTensors gradients) {
        if (!has(s, in)) {
            super.attentionBackward(s, in, result, logSums, gradient, gradients);
            return;
        }
        Tensors tensors = Tensors.of(in);
        Tensors to = Tensors.of(gradients);
        MemorySegment out = result.segment();
        MemorySegment logSumExp = logSums.segment();
        MemorySegment dout = gradient.segment();
        MemorySegment dbias = to.bias();
        if (dbias != null) {
            dbias.fill((byte) 0);
        }
        // A shared bias sums over the batch, so one task takes a head of all samples.
        boolean sharedBias = dbias != null && s.biasBatch() == 1;
        long samples = sharedBias ? s.batch() : 1;
        long work = 5 * samples * s.queries() * s.keys() * s.headDim();
        long grain = Math.max(1, Gemm.WORTH_A_THREAD / Math.max(1, work));
        workers.parallelFor(s.batch() * s.heads() / samples, grain, (worker, first, last) -> {
            try (Scratch scratch = Scratch.borrow()) {
                long ld = padded(s.keys());
                MemorySegment p = scratch.floats(2 * QUERY_TILE * ld);
                MemorySegment ds = from(p, QUERY_TILE * ld);
                for (long task = first; task < last; task++) {
                    for (long b = 0; b < samples; b++) {
                        long head = sharedBias ? b * s.heads() + task : task;
                        backwardHead(s, tensors, out, logSumExp, dout, to, head, p, ds, ld);
                    }
                }
            }
        });
    }

    private void backwardHead(
            AttentionShape s,
            Tensors in,
            MemorySegment out,
            MemorySegment logSumExp,
            MemorySegment dout,
            Tensors to,
            long head,
            MemorySegment p,
            MemorySegment ds,
            long ld) {
        MemorySegment bias = in.bias();
        MemorySegment dbias = to.bias();
        long b = head / s.heads();
        long h = head % s.heads();
        int dim = s.headDim();
        int keys = s.keys();
        float scale = (float) s.scale();
        long ldq = s.q().row();
        long ldk = s.k().row();
        long ldv = s.v().row();
        long ldo = s.out().row();
        MemorySegment headK = from(in.k(), offset(s.k(), b, h, 0));
        MemorySegment headV = from(in.v(), offset(s.v(), b, h, 0));
        MemorySegment headDk = from(to.k(), offset(s.k(), b, h, 0));
        MemorySegment headDv = from(to.v(), offset(s.v(), b, h, 0));
        if (s.queries() == 0) {
            for (int key = 0; key < keys; key++) {
                headDk.asSlice(key * ldk * Float.BYTES, (long) dim * Float.BYTES)
                        .fill((byte) 0);
                headDv.asSlice(key * ldv * Float.BYTES, (long) dim * Float.BYTES)
                        .fill((byte) 0);
            }
        }
        for (int row = 0; row < s.queries(); row += QUERY_TILE) {
            int rows = Math.min(QUERY_TILE, s.queries() - row);
            long outFrom = offset(s.out(), b, h, row);
            MemorySegment queries = from(in.q(), offset(s.q(), b, h, row));
            MemorySegment gradient = from(dout, outFrom);
            multiply(new MatmulShape(false, true, rows, keys, dim, ldq, ldk, ld), queries, headK, p, false);
            multiply(new MatmulShape(false, true, rows, keys, dim, ldo, ldv, ld), gradient, headV, ds, false);
            for (int r = 0; r < rows; r++) {
                float logSum = get(logSumExp, head * s.queries() + row + r);
                float dot = VectorRuns.dot(out, dout, outFrom + r * ldo, dim);
                long at = r * ld;
                if (bias != null) {
                    scaleAndBias(p, at, keys, scale, bias, biasRow(s, b, h, row + r));
                }
                VectorRuns.exps(p, at, padded(keys), bias == null ? scale : 1, -logSum, p, at);
                scoreGradient(p, ds, at, padded(keys), dot);
                if (dbias != null) {
                    VectorRuns.addScaled(1, ds, at, dbias, biasRow(s, b, h, row + r), keys);
                }
                scaleRow(ds, at, keys, scale);
            }
            multiply(new MatmulShape(true, false, keys, dim, rows, ld, ldo, ldv), p, gradient, headDv, row > 0);
            multiply(
                    new MatmulShape(false, false, rows, dim, keys, ld, ldk, ldq),
                    ds,
                    headK,
                    from(to.q(), offset(s.q(), b, h, row)),
                    false);
            multiply(new MatmulShape(true, false, keys, dim, rows, ld, ldq, ldk), ds, queries, headDk, row > 0);
        }
    }

    /**
     * The gradient dP of probabilities P becomes that of the scores, {@code P (dP - dot)}. What follows the keys in the last
     * vector is rubbish that nobody reads.
     */
    private static void scoreGradient(MemorySegment p, MemorySegment ds, long start, int paddedN, float dot) {
        for (int i = 0; i < paddedN; i += LANES) {
            store(load(ds, start + i).sub(dot).mul(load(p, start + i)), ds, start + i);
        }
    }
}
