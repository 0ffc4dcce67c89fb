package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.AttentionShape;

/** Scaled dot-product attention on a GPU. */
final class CudaAttention {
    private final CudaDevice device;

    CudaAttention(CudaDevice device) {
        this.device = device;
    }

    void attention(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            @Nullable Buffer logSumExp) {
        throw new UnsupportedOperationException("attention has no CUDA kernel yet");
    }

    void attentionBackward(
            AttentionShape shape,
            Buffer q,
            Buffer k,
            Buffer v,
            @Nullable Buffer bias,
            Buffer out,
            Buffer logSumExp,
            Buffer dout,
            Buffer dq,
            Buffer dk,
            Buffer dv,
            @Nullable Buffer dbias) {
        throw new UnsupportedOperationException("attentionBackward has no CUDA kernel yet");
    }
}
