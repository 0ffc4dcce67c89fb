package tessera.distill.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** Where a command computes: the options {@code --device} and {@code --threads}. */
class DeviceOptions {

    @Option(
            names = "--device",
            paramLabel = "auto|cpu|cuda:N",
            description =
                    "Where to compute. pretrain, train and distill share each batch among several GPUs: cuda:0,cuda:1."
                            + " Default: ${DEFAULT-VALUE}")
    private String device = "auto";

    @Option(
            names = "--threads",
            paramLabel = "N",
            description = "Threads of the CPU, 1 or more. Default: one for each processor")
    private @Nullable Integer threads;

    /** Refuses what is unknown or not available, before anything is said or done. */
    void check() {
        device();
        precision();
    }

    /** What to compute in. */
    DType precision() {
        return DType.F32;
    }

    /** Refuses bf16 where the device does not compute in it. */
    final void requireComputes(DType type, String option) {
        if (type == DType.BF16
                && devices().stream()
                        .anyMatch(one -> !one.computes(type) && one.bf16().isEmpty())) {
            throw new IllegalArgumentException(
                    option + " bf16 needs a GPU, or a CPU with AVX512_BF16 or AMX, oneDNN and"
                            + " the Vector API, but the device is a CPU that lacks one of them (see tessera doctor); pass --device"
                            + " cuda:0, or f32");
        }
    }

    /**
     * The device.
     *
     * @throws IllegalArgumentException if it is unknown or not available, or one of several, or no thread count
     */
    final Device device() {
        List<Device> named = devices();
        if (named.size() > 1) {
            throw new IllegalArgumentException(
                    "--device names " + device + " but this command computes on one device; pass one of them");
        }
        return named.getFirst();
    }

    /**
     * The devices that share each batch; mostly one.
     *
     * @throws IllegalArgumentException if one is unknown or not available, or several cannot share batches, or there is no such
     *     thread count
     */
    final List<Device> devices() {
        Integer count = threads;
        if (count != null && count < 1) {
            throw new IllegalArgumentException("--threads is " + count
                    + " but at least one thread must compute; pass 1 or more, or leave it away");
        }
        List<Device> named = UsageErrors.naming(() -> Device.parseAll(device), "--device");
        return count != null && named.getFirst().isHost()
                ? List.of(UsageErrors.naming(() -> Device.cpu(count), "--threads"))
                : named;
    }
}
