package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.List;
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
    /** Queries of a block. */
    private static final int ROWS = 64;

    /** Before the head dim in names of kernels with a bias or regions. */
    static final String BIASED = "biased_";

    private final CudaDevice device;
    private final CudaModule module;
    private @Nullable Map<String, Variant> forward;

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
     */
    record Variant(CudaFunction kernel, int headDim, int keys, int stages) {
        long blocks(long heads, int queries) {
            return heads * Math.ceilDiv(queries, ROWS);
        }

        int threads() {
            return WARPGROUP;
        }

        int sharedBytes() {
            int panels = Math.ceilDiv(headDim, 64);
            return (ROWS + stages * keys) * ROW_BYTES * panels + SLACK;
        }
    }

    /**
     * The kernel for the forward pass of bf16 rows that allow 16-byte accesses, or null.
     *
     * @param biased with a bias or regions, of an even number of keys that lie in pairs
     */
    @Nullable
    Variant forward(AttentionShape shape, boolean biased) {
        if (device.capability() != CAPABILITY) {
            return null;
        }
        return variants().get((biased ? BIASED : "") + Math.ceilDiv(shape.headDim(), 16) * 16);
    }

    private synchronized Map<String, Variant> variants() {
        if (forward == null) {
            Map<String, Variant> found = new HashMap<>();
            for (String name : List.of("32", "48", "64", "80", BIASED + "32")) {
                if (module.has("attention_wgmma_" + name)) {
                    int headDim = Integer.parseInt(name.replace(BIASED, ""));
                    CudaFunction kernel = module.function("attention_wgmma_" + name);
                    found.put(name, new Variant(kernel, headDim, headDim == 80 ? 64 : 112, 3));
                }
            }
            forward = found;
        }
        return forward;
    }
}
