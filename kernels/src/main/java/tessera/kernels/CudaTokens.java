package tessera.kernels;

import org.jspecify.annotations.Nullable;

/** Rows gathered, scattered and assembled on a GPU. */
final class CudaTokens {
    private final CudaDevice device;

    CudaTokens(CudaDevice device) {
        this.device = device;
    }

    void gatherRows(Buffer x, Buffer indices, long batch, long n, long m, long d, Buffer y) {
        throw new UnsupportedOperationException("gatherRows has no CUDA kernel yet");
    }

    void scatterRows(Buffer dy, Buffer indices, long batch, long n, long m, long d, Buffer dx) {
        throw new UnsupportedOperationException("scatterRows has no CUDA kernel yet");
    }

    void addRows(Buffer x, Buffer table, @Nullable Buffer indices, long batch, long m, long d, Buffer y) {
        throw new UnsupportedOperationException("addRows has no CUDA kernel yet");
    }

    void assembleDecoder(
            Buffer visible,
            Buffer visibleIndices,
            Buffer maskedIndices,
            Buffer maskToken,
            Buffer table,
            long batch,
            long visibleCount,
            long maskedCount,
            long d,
            Buffer y) {
        throw new UnsupportedOperationException("assembleDecoder has no CUDA kernel yet");
    }

    void assembleDecoderBackward(
            Buffer dy, long batch, long visibleCount, long maskedCount, long d, Buffer dvisible, Buffer dmaskToken) {
        throw new UnsupportedOperationException("assembleDecoderBackward has no CUDA kernel yet");
    }
}
