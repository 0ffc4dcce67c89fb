package tessera.kernels.cuda;

import tessera.kernels.DeviceException;
import tessera.natives.cuda.CudaDriver;

/** A kernel, which its module looks up when it is first launched; thread-safe. */
final class CudaFunction {
    /** Static shared memory of a kernel that uses dynamic shared memory too is less than this. */
    private static final int STATIC_SHARED_BYTES = 1024;

    /** Dynamic shared memory that every kernel may use without asking: 48 KiB less what is static. */
    private static final int SHARED_BYTES = 48 * 1024 - STATIC_SHARED_BYTES;

    private final CudaModule module;
    private final CudaDevice device;
    private final String name;
    private volatile int parameterBytes = CudaDriver.UNKNOWN_BYTES;
    private volatile long handle;
    private volatile int sharedBytes = SHARED_BYTES;

    CudaFunction(CudaModule module, String name) {
        this.module = module;
        this.device = module.device();
        this.name = name;
    }

    CudaDevice device() {
        return device;
    }

    /** The driver's handle, once {@link #begin} has found it. */
    long handle() {
        return handle;
    }

    /** Begins a launch with the thread's parameter block; see {@link CudaLaunch}. */
    CudaLaunch begin() {
        if (handle == 0) {
            find();
        }
        return CudaThread.get().launch.begin(this);
    }

    private void find() {
        long found = module.find(name);
        parameterBytes = device.call(() -> CudaDriver.functionParameterBytes(found));
        handle = found;
    }

    /**
     * Compares what was written for a launch with the size of the kernel's struct, where the driver tells it.
     *
     * @throws DeviceException if they differ: the driver would read beyond what was written, or not all of it
     */
    void requireParameters(int written) {
        int wanted = parameterBytes;
        if (written != wanted && wanted != CudaDriver.UNKNOWN_BYTES) {
            throw new DeviceException(
                    DeviceException.Reason.FAILED,
                    "the parameters of " + name + " take " + wanted + " bytes in its machine code, but " + written
                            + " were written: the struct in the .cu file and its writer in Java differ; build Tessera anew,"
                            + " and report it if that does not help",
                    null);
        }
    }

    /** Raises the limit of dynamic shared memory, once for each larger amount. */
    void allowShared(int bytes) {
        if (bytes > sharedBytes) {
            raiseShared(bytes);
        }
    }

    private synchronized void raiseShared(int bytes) {
        int most = device.sharedBytesPerBlock() - STATIC_SHARED_BYTES;
        if (bytes > most) {
            throw new IllegalArgumentException(name + " needs " + bytes + " bytes of shared memory per block but "
                    + device.describe() + " has " + most + "; use a smaller size");
        }
        if (bytes > sharedBytes) {
            device.run(
                    () -> CudaDriver.functionSetAttribute(handle, CudaDriver.FUNCTION_MAX_DYNAMIC_SHARED_BYTES, bytes));
            sharedBytes = bytes;
        }
    }

    @Override
    public String toString() {
        return name;
    }
}
