package tessera.kernels;

import org.jspecify.annotations.Nullable;

/** Random numbers and masks on a GPU. */
final class CudaRandom {
    private final CudaDevice device;

    CudaRandom(CudaDevice device) {
        this.device = device;
    }

    void randomMask(
            long seed,
            long stream,
            long batch,
            int slots,
            int plane,
            int masked,
            boolean tube,
            Buffer visibleIndices,
            @Nullable Buffer maskedIndices) {
        throw new UnsupportedOperationException("randomMask has no CUDA kernel yet");
    }

    void randomUniform(long seed, long stream, double low, double high, Buffer y) {
        throw new UnsupportedOperationException("randomUniform has no CUDA kernel yet");
    }

    void randomNormal(long seed, long stream, double mean, double std, Buffer y) {
        throw new UnsupportedOperationException("randomNormal has no CUDA kernel yet");
    }

    void dropout(Buffer x, double p, long seed, long stream, Buffer y) {
        throw new UnsupportedOperationException("dropout has no CUDA kernel yet");
    }
}
