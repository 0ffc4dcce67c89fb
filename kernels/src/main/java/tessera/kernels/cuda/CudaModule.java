package tessera.kernels.cuda;

import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tessera.kernels.DeviceException;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** Kernels compiled from one source file, loaded when one of them is first launched. Thread-safe. */
final class CudaModule {
    private final CudaDevice device;
    private final String name;
    private final Map<String, CudaFunction> functions = new ConcurrentHashMap<>();
    private long handle;

    CudaModule(CudaDevice device, String name) {
        this.device = device;
        this.name = name;
    }

    CudaDevice device() {
        return device;
    }

    /** A kernel of this module. */
    CudaFunction function(String kernel) {
        CudaFunction function = functions.get(kernel);
        return function != null ? function : functions.computeIfAbsent(kernel, key -> new CudaFunction(this, key));
    }

    /** A kernel of this module that exists for f32 and for bf16 data. */
    CudaVariants variants(String kernel) {
        return new CudaVariants(kernel, function(kernel + "_f32"), function(kernel + "_bf16"));
    }

    /** One such kernel for each operation of a kind, {@code PREFIX_op}. */
    <E extends Enum<E>> Map<E, CudaVariants> variants(String prefix, Class<E> ops) {
        Map<E, CudaVariants> variants = new EnumMap<>(ops);
        for (E op : ops.getEnumConstants()) {
            variants.put(op, variants(prefix + "_" + op.name().toLowerCase(Locale.ROOT)));
        }
        return variants;
    }

    /** Whether the machine code for this device has a kernel; those for Hopper are in no other. */
    boolean has(String kernel) {
        try {
            return find(kernel) != 0;
        } catch (DeviceException e) {
            if (e.getCause() instanceof CudaException failure
                    && failure.codeName().equals("CUDA_ERROR_NOT_FOUND")) {
                return false;
            }
            throw e;
        }
    }

    /** The driver's handle of a kernel. */
    synchronized long find(String kernel) {
        if (handle == 0) {
            handle = device.call(() -> CudaCode.load(device, name).module());
        }
        // Apart from the loading, which reads files: a virtual thread may come back from that on another carrier.
        return device.call(() -> CudaDriver.moduleFunction(handle, kernel));
    }
}
