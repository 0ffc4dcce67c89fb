package tessera.kernels.cuda;

import java.util.HashMap;
import java.util.Map;
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
}
