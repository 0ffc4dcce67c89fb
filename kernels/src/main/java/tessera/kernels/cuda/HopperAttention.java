package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention.AttentionShape;

/**
 * The kernels of {@code attention_wgmma.cu}, which devices of compute capability 9.0 have: which one computes a shape, if any.
 * Thread-safe.
 */
final class HopperAttention {
    private static final int CAPABILITY = 90;
    private static final int WARPGROUP = 128;
    private static final int ROW_BYTES = 128;
    /** For a start at a multiple of 1024, as in wgmma.cuh. */
    private static final int SLACK = 1008;
    /** Queries of a warpgroup. */
    private static final int ROWS = 64;

    private final CudaDevice device;
    private final CudaModule module;
    private @Nullable Map<Integer, Variant> forward;

    HopperAttention(CudaDevice device) {
        this.device = device;
        this.module = new CudaModule(device, "attention_wgmma");
    }

    /**
     * A kernel and its template's parameters.
     *
     * @param headDim that it computes with
     * @param keys per tile
     * @param stages tiles of keys or values in shared memory
     * @param groups warpgroups per block, each with its own queries
     */
    record Variant(CudaFunction kernel, int headDim, int keys, int stages, int groups) {
        /** Queries per block. */
        private int queries() {
            return groups * ROWS;
        }

        /** Blocks for so many heads of so many queries, as the kernel divides them. */
        long blocks(long heads, int queries) {
            return heads * Math.ceilDiv(queries, queries());
        }

        int threads() {
            return groups * WARPGROUP;
        }

        int sharedBytes() {
            int panels = Math.ceilDiv(headDim, 64);
            return (queries() + stages * keys) * ROW_BYTES * panels + SLACK;
        }
    }

    /** The kernel for the forward pass without a bias and regions of bf16 rows that allow 16-byte accesses, or null. */
    @Nullable
    Variant forward(AttentionShape shape) {
        if (device.capability() != CAPABILITY || shape.headDim() <= 16) {
            return null;
        }
        return variants().get(Math.ceilDiv(shape.headDim(), 16) * 16);
    }

    private synchronized Map<Integer, Variant> variants() {
        if (forward == null) {
            Map<Integer, Variant> found = new HashMap<>();
            for (int headDim : new int[] {32, 48, 64, 80}) {
                String name = "attention_wgmma_" + headDim;
                if (module.has(name)) {
                    found.put(headDim, new Variant(module.function(name), headDim, headDim == 80 ? 64 : 112, 3, 1));
                }
            }
            forward = found;
        }
        return forward;
    }
}
