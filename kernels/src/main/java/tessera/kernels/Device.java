package tessera.kernels;

import java.lang.System.Logger.Level;
import org.jspecify.annotations.Nullable;

/**
 * A place where tensors live and kernels run. Devices are shared, thread-safe and live as long as the process.
 */
public abstract sealed class Device permits CpuDevice, CudaDevice {
    private static final System.Logger LOG = System.getLogger("tessera");

    Device() {}

    /** The CPU with one worker thread per available processor. */
    public static CpuDevice cpu() {
        return CpuDevice.shared();
    }

    /**
     * A CPU device with its own worker threads.
     *
     * @param threads how many threads a kernel may use, at least 1; results depend on the count but never on timing
     */
    public static CpuDevice cpu(int threads) {
        return new CpuDevice(threads);
    }

    /**
     * A GPU.
     *
     * @param ordinal which of the devices that the driver shows, from 0
     * @throws IllegalArgumentException if it cannot be used, with the reason and what to do
     */
    public static CudaDevice cuda(int ordinal) {
        if (ordinal < 0) {
            throw new IllegalArgumentException("device cuda:" + ordinal + " does not exist; count from 0");
        }
        return CudaDevice.of(ordinal);
    }

    /** The first GPU, or the CPU where there is none. Falling back is logged once with the reason. */
    public static Device best() {
        CudaDevice gpu = Best.GPU;
        return gpu == null ? cpu() : gpu;
    }

    /**
     * The device a command line names.
     *
     * @param name {@code auto}, {@code cpu} or {@code cuda:N}
     * @throws IllegalArgumentException for an unknown name or a device that is not available, with the reason
     */
    public static Device parse(String name) {
        if (name.equals("auto")) {
            return best();
        }
        if (name.equals("cpu")) {
            return cpu();
        }
        if (name.matches("cuda(:\\d{1,4})?")) {
            return cuda(name.equals("cuda") ? 0 : Integer.parseInt(name.substring("cuda:".length())));
        }
        throw new IllegalArgumentException("unknown device '" + name + "'; pass auto, cpu or cuda:N");
    }

    /** Whether kernels take data of this floating type: f32 everywhere, f64 on a CPU, bf16 on a GPU. */
    public abstract boolean computes(DType dtype);

    /** The numerical primitives on this device's buffers. */
    public abstract Kernels kernels();

    /**
     * Uninitialised memory for {@code length} elements, 64-byte aligned; the caller closes it.
     *
     * @throws OutOfMemoryError with the amounts asked for, live and pooled
     */
    public abstract Buffer allocate(DType dtype, long length);

    /** What the device's pool holds now. */
    public abstract MemoryUse memory();

    /** Gives pooled memory that no buffer uses back to the operating system. */
    public abstract void trim();

    /**
     * Bytes held by a device's pool.
     *
     * @param live bytes in buffers that are not closed
     * @param pooled bytes kept for reuse
     * @param peak highest {@code live} so far
     * @param liveBuffers number of buffers that are not closed
     */
    public record MemoryUse(long live, long pooled, long peak, long liveBuffers) {}

    private static final class Best {
        static final @Nullable CudaDevice GPU = find();

        private static @Nullable CudaDevice find() {
            try {
                return cuda(0);
            } catch (IllegalArgumentException e) {
                LOG.log(Level.INFO, "device auto: using the CPU; " + e.getMessage());
                return null;
            }
        }
    }
}
