package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.kernels.CpuDevice;
import tessera.kernels.Device;

/** Where a command computes: the options {@code --device} and {@code --threads}. */
final class ComputeOptions {

    @Option(
            names = "--device",
            paramLabel = "auto|cpu|cuda:N",
            defaultValue = "auto",
            description = "Where to compute. Default: ${DEFAULT-VALUE}")
    private String device = "auto";

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads of the CPU, 1 or more. Default: one for each processor")
    private @Nullable Integer threads;

    /**
     * The device.
     *
     * @throws IllegalArgumentException if it is unknown or not available, or the thread count is below 1
     */
    Device device() {
        Integer count = threads;
        if (count != null && count < 1) {
            throw new IllegalArgumentException("--threads is " + count
                    + " but at least one thread must compute; pass 1 or more, or leave it away");
        }
        Device named = Device.parse(device);
        return count != null && named instanceof CpuDevice ? Device.cpu(count) : named;
    }
}
