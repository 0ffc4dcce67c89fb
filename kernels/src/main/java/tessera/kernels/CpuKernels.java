package tessera.kernels;

/** Chooses the kernels of a CPU device. */
final class CpuKernels {
    private CpuKernels() {}

    static Kernels create(Workers workers) {
        return new ScalarKernels(workers);
    }
}
