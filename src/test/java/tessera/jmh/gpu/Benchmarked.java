package tessera.jmh.gpu;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;

/** What the kernel benchmark calls. */
public final class Benchmarked {
    private Benchmarked() {}

    /** Runs the call of every case once, in small, on buffers of the CPU. */
    public static void run(Kernels kernels) {
        for (KernelCase kernelCase : KernelCases.of(Sizes.tiny())) {
            try (Inputs in = Inputs.of(Device.cpu(), DType.F32)) {
                kernelCase.setup().prepare(kernels, in, kernelCase.checkBatch()).run();
            }
        }
    }
}
