package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import tessera.kernels.Device;
import tessera.kernels.DeviceProvider;

/** The GPUs that the driver shows, each opened once, when it is first asked for. */
public final class CudaDevices implements DeviceProvider {
    private final Map<Integer, Device> devices = new HashMap<>();

    /** For {@link java.util.ServiceLoader}. */
    public CudaDevices() {}

    @Override
    public String kind() {
        return "cuda";
    }

    @Override
    public synchronized Device device(int ordinal) {
        return devices.computeIfAbsent(ordinal, CudaDevice::open);
    }

    @Override
    public String machineCode() {
        List<Integer> capabilities = CudaCode.packaged();
        return capabilities.isEmpty()
                ? "not in the jar; NVRTC compiles the packaged sources when a GPU is first used"
                : "in the jar, for compute capability "
                        + capabilities.stream()
                                .map(capability -> capability / 10 + "." + capability % 10)
                                .collect(Collectors.joining(", "));
    }
}
