package tessera.kernels.cuda;

import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.Strides;
import tessera.natives.cuda.Cudnn;

/** Attention and its gradients as graphs of cuDNN operations, and the ids of the tensors in them. */
final class CudnnAttentionGraph {
    static final long Q = 1;
    static final long K = 2;
    static final long V = 3;
    static final long OUT = 4;
    static final long STATS = 5;
    /** The scale of the scores, f32 in host memory. */
    static final long SCALE = 6;
    /** 1, f32 in host memory. */
    static final long ONE = 7;

    static final long DOUT = 8;
    static final long DQ = 9;
    static final long DK = 10;
    static final long DV = 11;
    /** Scratch, f32: one number for each query and head. */
    static final long MEANS = 12;
    /** Scratch, f32: as many numbers as dQ has. */
    static final long DQ_SUM = 13;

    private CudnnAttentionGraph() {}

    /** The ids of the tensors in memory that a graph of {@link #describe} has. */
    static long[] ids(CudnnAttention.Pass pass, boolean sums) {
        return switch (pass) {
            case INFERENCE -> new long[] {SCALE, Q, K, V, OUT};
            case FORWARD -> new long[] {SCALE, Q, K, V, OUT, STATS};
            case BACKWARD ->
                sums
                        ? new long[] {SCALE, Q, K, V, OUT, STATS, DOUT, DQ, DK, DV, MEANS, ONE, DQ_SUM}
                        : new long[] {SCALE, Q, K, V, OUT, STATS, DOUT, DQ, DK, DV, MEANS, ONE};
        };
    }

    /**
     * Adds one pass to a graph.
     *
     * @param sums whether dQ may be added up in f32 in memory, by several blocks at once and in any order, which is faster; else
     *     results repeat
     */
    static void describe(CudnnGraph graph, AttentionShape shape, CudnnAttention.Pass pass, boolean sums) {
        long b = shape.batch();
        long h = shape.heads();
        long n = shape.queries();
        long m = shape.keys();
        long d = shape.headDim();
        long[] queries = {b, h, n, d};
        long[] keys = {b, h, m, d};
        long[] rows = {b, h, n, 1};
        long q = graph.tensor(Q, queries, shape.q());
        long out = graph.tensor(OUT, queries, shape.out());
        long scale = graph.scalar(SCALE);
        long stats = pass == CudnnAttention.Pass.INFERENCE ? 0 : graph.tensor(STATS, Cudnn.FLOAT, rows, h * n, n, 1, 1);
        if (pass == CudnnAttention.Pass.BACKWARD) {
            long[] scores = {b, h, n, m};
            long[] transposed = {b, h, m, n};
            long[] transposedStrides = {h * m * n, m * n, 1, m};
            long kTransposed = transposed(graph, K, shape.k(), keys);
            long vTransposed = transposed(graph, V, shape.v(), keys);
            long dout = graph.tensor(DOUT, queries, shape.out());

            // D = rowsum(dO O)
            long products = graph.pointwise(Cudnn.POINTWISE_MUL, dout, out, queries);
            long rowSums = graph.virtual(Cudnn.FLOAT, rows);
            graph.sum(products, rowSums);
            long means = graph.tensor(MEANS, Cudnn.FLOAT, rows, h * n, n, 1, 1);
            graph.pointwise(Cudnn.POINTWISE_MUL, rowSums, graph.scalar(ONE), means);

            // P = exp(scale Q K^T - L), dV = P^T dO
            long s = graph.matmul(q, kTransposed, scores);
            long scaled = graph.pointwise(Cudnn.POINTWISE_MUL, s, scale, scores);
            long shifted = graph.pointwise(Cudnn.POINTWISE_SUB, scaled, stats, scores);
            long p = graph.pointwise(Cudnn.POINTWISE_EXP, shifted, 0, scores);
            long pTransposed = graph.virtual(Cudnn.BFLOAT16, transposed, transposedStrides);
            graph.reshape(p, pTransposed);
            graph.matmul(pTransposed, dout, graph.tensor(DV, keys, shape.v()));

            // dS = scale P (dO V^T - D), dK = dS^T Q, dQ = dS K
            long dp = graph.matmul(dout, vTransposed, scores);
            long centred = graph.pointwise(Cudnn.POINTWISE_SUB, dp, means, scores);
            long weighted = graph.pointwise(Cudnn.POINTWISE_MUL, centred, p, scores);
            long ds = graph.virtual(Cudnn.BFLOAT16, scores);
            graph.pointwise(Cudnn.POINTWISE_MUL, weighted, scale, ds);
            long dsTransposed = graph.virtual(Cudnn.BFLOAT16, transposed, transposedStrides);
            graph.reshape(ds, dsTransposed);
            graph.matmul(dsTransposed, q, graph.tensor(DK, keys, shape.k()));
            Strides kStrides = shape.k();
            long[] strides = {kStrides.batch(), kStrides.head(), kStrides.row(), 1};
            long k = graph.virtual(Cudnn.BFLOAT16, keys, strides);
            graph.reshape(kTransposed, k);
            long dq = graph.tensor(DQ, queries, shape.q());
            if (sums) {
                long dqSum = graph.tensor(DQ_SUM, Cudnn.FLOAT, queries, h * n * d, n * d, d, 1);
                graph.matmul(ds, k, dqSum);
                graph.pointwise(Cudnn.POINTWISE_IDENTITY, dqSum, dq);
            } else {
                graph.matmul(ds, k, dq);
            }
        } else {
            long k = graph.tensor(K, keys, shape.k());
            long v = graph.tensor(V, keys, shape.v());
            graph.attention(q, k, v, scale, out, stats);
        }
    }

    private static long transposed(CudnnGraph graph, long id, Strides strides, long[] dims) {
        long[] swapped = {dims[0], dims[1], dims[3], dims[2]};
        return graph.tensor(id, Cudnn.BFLOAT16, swapped, strides.batch(), strides.head(), 1, strides.row());
    }
}
