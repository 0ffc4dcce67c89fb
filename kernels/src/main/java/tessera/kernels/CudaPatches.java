package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.PatchGeometry;

/** Patches cut from videos on a GPU. */
final class CudaPatches {
    private final CudaDevice device;

    CudaPatches(CudaDevice device) {
        this.device = device;
    }

    void gatherPatches(PatchGeometry geometry, Buffer video, @Nullable Buffer indices, long count, Buffer out) {
        throw new UnsupportedOperationException("gatherPatches has no CUDA kernel yet");
    }

    void scatterPatches(PatchGeometry geometry, Buffer dout, @Nullable Buffer indices, long count, Buffer dvideo) {
        throw new UnsupportedOperationException("scatterPatches has no CUDA kernel yet");
    }

    void reconstructionTarget(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer target) {
        throw new UnsupportedOperationException("reconstructionTarget has no CUDA kernel yet");
    }
}
