package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.PackedWeight;

/** Matrix products on a GPU. */
final class CudaMatmul {
    private final CudaDevice device;

    CudaMatmul(CudaDevice device) {
        this.device = device;
    }

    void matmul(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            Buffer b,
            long ldb,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer c,
            long ldc) {
        throw new UnsupportedOperationException("matmul has no CUDA kernel yet");
    }

    void matmulBatched(
            boolean transposeA,
            boolean transposeB,
            long batch,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            long strideA,
            Buffer b,
            long ldb,
            long strideB,
            Buffer c,
            long ldc,
            long strideC) {
        throw new UnsupportedOperationException("matmulBatched has no CUDA kernel yet");
    }

    PackedWeight pack(Buffer weight, long n, long k) {
        throw new UnsupportedOperationException("pack has no CUDA kernel yet");
    }

    void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer y) {
        throw new UnsupportedOperationException("linear has no CUDA kernel yet");
    }
}
