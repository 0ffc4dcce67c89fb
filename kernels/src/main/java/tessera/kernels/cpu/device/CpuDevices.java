package tessera.kernels.cpu.device;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.kernels.DeviceProvider;
import tessera.kernels.cpu.Workers;

/** The processor as a device: one for the whole process, others with threads of their own on request. */
public final class CpuDevices implements DeviceProvider {
    private @Nullable CpuDevice shared;

    /** For {@link java.util.ServiceLoader}. */
    public CpuDevices() {}

    @Override
    public String kind() {
        return "cpu";
    }

    @Override
    public synchronized Device device(int ordinal) {
        CpuDevice device = shared;
        if (device == null) {
            int threads = Integer.getInteger(
                    "tessera.threads", Math.min(Runtime.getRuntime().availableProcessors(), Workers.MOST_THREADS));
            if (threads < 1) {
                throw new IllegalArgumentException("-Dtessera.threads=" + threads
                        + " leaves no thread to compute; pass 1 or more, or leave it away");
            }
            device = CpuDevice.of(threads);
            shared = device;
        }
        return device;
    }

    @Override
    public String machineCode() {
        return CpuKernels.path();
    }

    @Override
    public Device withThreads(int threads) {
        return CpuDevice.of(threads);
    }
}
