package tessera.kernels;

/** The optimiser on a GPU. */
final class CudaOptimiser {
    private final CudaDevice device;

    CudaOptimiser(CudaDevice device) {
        this.device = device;
    }

    void adamW(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            double[] decay,
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step) {
        throw new UnsupportedOperationException("adamW has no CUDA kernel yet");
    }
}
