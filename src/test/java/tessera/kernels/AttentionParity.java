package tessera.kernels;

import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;

/** Calls of attention: on packed projections where there are as many keys as queries, on separate tensors else. */
abstract class AttentionParity extends Parity {
    protected final void checkAttention(int batch, int heads, int queries, int keys, int dim, int biasBatch) {
        checkAttention(batch, heads, queries, keys, dim, biasBatch, 0);
    }

    /**
     * One call forward and backward.
     *
     * @param biasBatch 0 for no bias
     * @param regionBatch 0 for no regions; of the rows the first has one region, the others three
     */
    protected final void checkAttention(
            int batch, int heads, int queries, int keys, int dim, int biasBatch, int regionBatch) {
        boolean packed = queries == keys;
        long width = (long) heads * dim;
        Strides q =
                packed ? new Strides(3 * width * queries, dim, 3 * width) : new Strides(width * queries, dim, width);
        Strides k = packed ? q : new Strides(width * keys, dim, width);
        Strides out = new Strides(width * queries, dim, width);
        AttentionShape shape = new AttentionShape(
                batch, heads, queries, keys, dim, 1 / Math.sqrt(dim), q, k, k, out, biasBatch, regionBatch, false);
        String what = "attention " + shape;
        check(what, 1e-5, (kernels, memory) -> {
            long rows = (long) batch * queries;
            Buffer qkv = memory.normal(packed ? 3 * width * rows : width * batch * (queries + 2L * keys));
            long kFrom = packed ? Math.min(qkv.length(), width) : width * rows;
            long vFrom = packed ? Math.min(qkv.length(), 2 * width) : kFrom + width * batch * keys;
            Buffer bias = biasBatch == 0 ? null : memory.normal((long) biasBatch * heads * queries * keys);
            Buffer regions = regionBatch == 0 ? null : memory.regions(regionBatch, keys);
            Buffer y = memory.output(width * rows);
            Buffer logSumExp = memory.singleOutput(rows * heads);
            Buffer keyBuffer = qkv.slice(kFrom, qkv.length() - kFrom);
            Buffer valueBuffer = qkv.slice(vFrom, qkv.length() - vFrom);
            AttentionTensors in = new AttentionTensors(qkv, keyBuffer, valueBuffer, bias, regions);
            kernels.attention().attention(shape, in, y, logSumExp);
            Buffer gradient = memory.output(qkv.length());
            kernels.attention()
                    .attentionBackward(
                            shape,
                            in,
                            y,
                            logSumExp,
                            memory.normal(width * rows),
                            new AttentionTensors(
                                    gradient,
                                    gradient.slice(kFrom, qkv.length() - kFrom),
                                    gradient.slice(vFrom, qkv.length() - vFrom),
                                    bias == null || keys == 1 ? null : memory.output(bias.length())));
        });
    }
}
