package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.PatchGeometry;

/** Losses with their gradients on a GPU. */
final class CudaLosses {
    private final CudaDevice device;

    CudaLosses(CudaDevice device) {
        this.device = device;
    }

    void reconstructionLoss(
            PatchGeometry geometry,
            Buffer video,
            Buffer indices,
            long count,
            double eps,
            boolean normalise,
            Buffer prediction,
            Buffer loss,
            @Nullable Buffer dprediction) {
        throw new UnsupportedOperationException("reconstructionLoss has no CUDA kernel yet");
    }

    void crossEntropy(
            Buffer logits,
            Buffer labels,
            double smoothing,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dlogits) {
        throw new UnsupportedOperationException("crossEntropy has no CUDA kernel yet");
    }

    void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da) {
        throw new UnsupportedOperationException("meanSquaredError has no CUDA kernel yet");
    }

    void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected) {
        throw new UnsupportedOperationException("featureLoss has no CUDA kernel yet");
    }

    void distillationLoss(
            Buffer student,
            Buffer[] teachers,
            Buffer weights,
            boolean perSample,
            @Nullable Buffer labels,
            double temperature,
            double alpha,
            double beta,
            long rows,
            long cols,
            Buffer loss,
            @Nullable Buffer dstudent) {
        throw new UnsupportedOperationException("distillationLoss has no CUDA kernel yet");
    }
}
