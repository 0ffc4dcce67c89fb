package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;

/**
 * The kernels of {@code attention_backward.cu}, which compute all gradients of attention together and which devices of compute
 * capability 9.0 have: which one computes a shape, if any, and what it needs. Thread-safe.
 */
final class CudaGradients {
    private static final int CAPABILITY = 90;
    private static final int THREADS = 256;
    private static final int KEYS = 128;
    private static final int QUERIES = 64;
    private static final int ROW_BYTES = 128;
    /** There is a word for the turns of as many queries. */
    private static final int QUERIES_PER_TURN = 8;
    /** For a start at a multiple of 1024, as in wgmma.cuh. */
    private static final int SLACK = 1008;
    /** Half the cache of the device: each half of it keeps what its multiprocessors read. */
    private static final long CACHE_BYTES = 25L << 20;

    private final CudaDevice device;
    private final CudaModule module;
    private @Nullable Map<String, CudaFunction> kernels;

    CudaGradients(CudaDevice device) {
        this.device = device;
        this.module = new CudaModule(device, "attention_backward");
    }

    /**
     * The kernel for a shape of bf16 rows that allow 16-byte accesses, or null.
     *
     * @param biased with a bias or regions; the gradient of a bias is not its work
     */
    @Nullable
    CudaFunction kernel(AttentionShape shape, boolean biased) {
        boolean suits = device.capability() == CAPABILITY
                && shape.queries() > 0
                && shape.batch() * shape.heads() * tiles(shape) <= Integer.MAX_VALUE;
        return suits ? kernels().get((biased ? HopperAttention.BIASED : "") + dims(shape)) : null;
    }

    /** Whether the kernel needs no statistics and turns: one tile of keys and two of queries. */
    static boolean alone(AttentionShape shape) {
        return tiles(shape) <= 1 && shape.queries() <= 2 * QUERIES;
    }

    /** Computes {@link #stats} and clears {@link #turns}. */
    CudaFunction statistics() {
        return module.function("attention_backward_stats_bf16");
    }

    long statisticsBlocks(long rows) {
        return rows / QUERIES;
    }

    private synchronized Map<String, CudaFunction> kernels() {
        if (kernels == null) {
            Map<String, CudaFunction> found = new HashMap<>();
            for (String dims : List.of("32", "48", "64", "80", HopperAttention.BIASED + "32")) {
                String name = "attention_backward_" + dims + "_bf16";
                if (module.has(name)) {
                    found.put(dims, module.function(name));
                }
            }
            kernels = found;
        }
        return kernels;
    }

    /** Tiles of keys of a head. */
    private static long tiles(AttentionShape shape) {
        return Math.ceilDiv(shape.keys(), KEYS);
    }

    /**
     * Heads whose tiles of keys come one after another, so that a head's blocks start apart: as many as have their queries and the sums
     * of dQ in the cache together. Twice as many measured 17 % slower, half as many the same.
     */
    static int headsPerGroup(AttentionShape shape) {
        long bytes = shape.queries() * dims(shape) * (2L * Short.BYTES + Float.BYTES);
        return (int) Math.max(1, Math.min(CACHE_BYTES / Math.max(1, bytes), shape.batch() * shape.heads()));
    }

    private static long dims(AttentionShape shape) {
        return Math.ceilDiv(shape.headDim(), 16) * 16L;
    }

    long blocks(AttentionShape shape) {
        return shape.batch() * shape.heads() * tiles(shape);
    }

    int threads() {
        return THREADS;
    }

    /** As BYTES in attention_backward.cu: K, V, dS; three tiles of Q and dO and their statistics; what all threads know. */
    int sharedBytes(AttentionShape shape) {
        int row = Math.toIntExact(Math.ceilDiv(shape.headDim(), 64)) * ROW_BYTES;
        return 2 * KEYS * row + KEYS * ROW_BYTES + 3 * (2 * QUERIES * row + 2 * QUERIES * Float.BYTES) + 64 + SLACK;
    }

    /** Elements of the statistics of so many queries, padded to whole tiles. */
    long stats(AttentionShape shape, long rows) {
        return alone(shape) ? 1 : 2 * rows;
    }

    /** Elements of the sums of dQ. */
    long sums(AttentionShape shape, long rows) {
        return tiles(shape) > 1 ? rows * dims(shape) : 1;
    }

    /** Words for the turns. */
    long turns(AttentionShape shape, long rows) {
        return alone(shape) ? 1 : 1 + rows / QUERIES_PER_TURN;
    }
}
