package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import tessera.kernels.cpu.Gemm;

/** The GELU of products, where that of oneDNN is slower than a pass over the result. */
public final class VectorGelu implements Gemm.Gelu {
    private VectorGelu() {}

    /** For {@link Gemm#create} with vectors of 8, where oneDNN's own takes three times as long; null with longer ones, whose GELU is oneDNN's. */
    public static @Nullable VectorGelu forProducts() {
        return VectorMath.LANES > 8 ? null : new VectorGelu();
    }

    @Override
    public void of(MemorySegment y, long start, int n) {
        VectorRuns.gelu(y, start, n);
    }
}
