package tessera.kernels;

import org.jspecify.annotations.Nullable;

/** Layer norm and softmax on a GPU. */
final class CudaNorms {
    private final CudaDevice device;

    CudaNorms(CudaDevice device) {
        this.device = device;
    }

    void layerNormBackward(
            Buffer x,
            Buffer gamma,
            Buffer mean,
            Buffer rstd,
            Buffer dy,
            long rows,
            long cols,
            @Nullable Buffer dx,
            @Nullable Buffer dgamma,
            @Nullable Buffer dbeta) {
        throw new UnsupportedOperationException("layerNormBackward has no CUDA kernel yet");
    }

    void softmax(Buffer x, long rows, long cols, boolean log, Buffer y) {
        throw new UnsupportedOperationException("softmax has no CUDA kernel yet");
    }

    void softmaxBackward(Buffer y, Buffer dy, long rows, long cols, boolean log, Buffer dx) {
        throw new UnsupportedOperationException("softmaxBackward has no CUDA kernel yet");
    }

    void layerNorm(
            Buffer x,
            Buffer gamma,
            Buffer beta,
            double eps,
            long rows,
            long cols,
            Buffer y,
            @Nullable Buffer mean,
            @Nullable Buffer rstd) {
        throw new UnsupportedOperationException("layerNorm has no CUDA kernel yet");
    }
}
