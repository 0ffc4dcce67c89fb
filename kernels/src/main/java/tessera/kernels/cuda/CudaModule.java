package tessera.kernels.cuda;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** Kernels compiled from one source file; loaded when a kernel is first asked for. Thread-safe. */
final class CudaModule {
    private final CudaDevice device;
    private final String name;
    private final Map<String, CudaFunction> functions = new ConcurrentHashMap<>();
    private long handle;

    CudaModule(CudaDevice device, String name) {
        this.device = device;
        this.name = name;
    }

    /** A kernel of this module. */
    CudaFunction function(String kernel) {
        CudaFunction function = functions.get(kernel);
        return function != null ? function : functions.computeIfAbsent(kernel, this::find);
    }

    private synchronized CudaFunction find(String kernel) {
        CudaThread.get().use(device);
        try {
            if (handle == 0) {
                handle = CudaCode.load(device, name);
            }
            return new CudaFunction(device, kernel, CudaDriver.moduleFunction(handle, kernel));
        } catch (CudaException e) {
            throw device.failed(e);
        } catch (NativeLibraryException e) {
            throw CudaDevice.failed(e);
        }
    }
}
