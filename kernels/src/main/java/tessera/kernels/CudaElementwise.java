package tessera.kernels;

import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.UnaryOp;

/** Element-wise functions, conversions, strided copies and sums on a GPU. */
final class CudaElementwise {
    private final CudaDevice device;

    CudaElementwise(CudaDevice device) {
        this.device = device;
    }

    void fill(Buffer y, double value) {
        throw new UnsupportedOperationException("fill has no CUDA kernel yet");
    }

    void cast(Buffer x, Buffer y) {
        throw new UnsupportedOperationException("cast has no CUDA kernel yet");
    }

    void copyStrided(Buffer x, long xOffset, long[] xStrides, Buffer y, long yOffset, long[] yStrides, long[] shape) {
        throw new UnsupportedOperationException("copyStrided has no CUDA kernel yet");
    }

    void unary(UnaryOp op, Buffer x, Buffer y) {
        throw new UnsupportedOperationException("unary has no CUDA kernel yet");
    }

    void unaryBackward(UnaryOp op, Buffer x, Buffer dy, Buffer dx) {
        throw new UnsupportedOperationException("unaryBackward has no CUDA kernel yet");
    }

    void binary(BinaryOp op, Buffer a, long[] aStrides, Buffer b, long[] bStrides, Buffer y, long[] shape) {
        throw new UnsupportedOperationException("binary has no CUDA kernel yet");
    }

    void affine(Buffer x, double alpha, double beta, Buffer y) {
        throw new UnsupportedOperationException("affine has no CUDA kernel yet");
    }

    void axpy(double alpha, Buffer x, Buffer y) {
        throw new UnsupportedOperationException("axpy has no CUDA kernel yet");
    }

    void scaleBy(Buffer x, Buffer scale, Buffer y) {
        throw new UnsupportedOperationException("scaleBy has no CUDA kernel yet");
    }

    void sum(Buffer x, long outer, long reduced, long inner, double scale, Buffer y) {
        throw new UnsupportedOperationException("sum has no CUDA kernel yet");
    }
}
