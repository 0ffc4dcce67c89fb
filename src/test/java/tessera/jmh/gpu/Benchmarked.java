package tessera.jmh.gpu;

import java.util.List;
import java.util.function.Consumer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;

/**
 * A case of the kernel benchmark, in small.
 *
 * @param primitive that it says it measures
 * @param run calls it once on buffers of the CPU
 */
public record Benchmarked(String primitive, Consumer<Kernels> run) {
    /** All cases. */
    public static List<Benchmarked> all() {
        return KernelCases.of(Sizes.tiny()).stream()
                .map(kernelCase -> new Benchmarked(kernelCase.primitive(), kernels -> call(kernelCase, kernels)))
                .toList();
    }

    private static void call(KernelCase kernelCase, Kernels kernels) {
        try (Inputs in = Inputs.of(Device.cpu(), DType.F32)) {
            kernelCase.setup().prepare(kernels, in, kernelCase.checkBatch()).run();
        }
    }
}
