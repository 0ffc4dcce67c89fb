package tessera.kernels;

import java.lang.System.Logger.Level;
import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.ServiceLoader;
import org.jspecify.annotations.Nullable;

/**
 * A place where tensors live and kernels run. Devices are shared, thread-safe and live as long as the process.
 *
 * <p>Work is enqueued on the calling thread's current {@link Stream}. On a CPU it is done when the call returns, so its streams
 * and events are always done. Work that is done many times can be recorded as a {@link Graph} (see {@link #records}).
 *
 * <p>What a device refuses because of the caller is an {@link IllegalArgumentException} or {@link IllegalStateException}; what fails
 * in the device or its driver, running out of its memory included, is a {@link DeviceException}.
 */
public abstract class Device {
    private static final System.Logger LOG = System.getLogger("tessera");

    /** For the devices of a {@link DeviceProvider}. */
    protected Device() {}

    // ------------------------------------------------------------------------------------------------------ finding

    /** The CPU with one worker thread per available processor. */
    public static Device cpu() {
        return provider("cpu").device(0);
    }

    /**
     * A CPU device with its own worker threads.
     *
     * @param threads how many threads a kernel may use, 1 to 1024; results depend on the count but never on timing
     */
    public static Device cpu(int threads) {
        return provider("cpu").withThreads(threads);
    }

    /**
     * A GPU.
     *
     * @param ordinal which of the devices that the driver shows, from 0
     * @throws IllegalArgumentException if it cannot be used, with the reason and what to do
     */
    public static Device cuda(int ordinal) {
        if (ordinal < 0) {
            throw new IllegalArgumentException("device cuda:" + ordinal + " does not exist; count from 0");
        }
        return provider("cuda").device(ordinal);
    }

    /** The first GPU, or the CPU where there is none. Falling back is logged once with the reason. */
    public static Device best() {
        Device gpu = Best.GPU;
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

    /**
     * The devices a command line names, one or several that share work.
     *
     * @param names as for {@link #parse}, or several separated by commas, such as {@code cuda:0,cuda:1}
     * @throws IllegalArgumentException as {@link #parse}, and if several cannot share work
     */
    public static List<Device> parseAll(String names) {
        List<Device> devices =
                Arrays.stream(names.split(",", -1)).map(Device::parse).toList();
        if (devices.size() > 1) {
            Communicator.requireAble(devices);
        }
        return devices;
    }

    static DeviceProvider provider(String kind) {
        for (DeviceProvider provider : Providers.ALL) {
            if (provider.kind().equals(kind)) {
                return provider;
            }
        }
        throw new IllegalStateException("the jar of tessera-kernels has lost its list of devices (no '" + kind
                + "' in META-INF/services); keep that folder when jars are merged");
    }

    // --------------------------------------------------------------------------------------------------- properties

    /** Whether this is a CPU: buffers are memory of the host and {@link Buffer#segment} works. */
    public abstract boolean isHost();

    /** The maker's name, for example {@code NVIDIA H200}; of a CPU, its architecture. */
    public abstract String name();

    /** What its machine code is made for: {@code sm_90} of an H200; of a CPU as {@link #name}. */
    public abstract String architecture();

    /** This device with its name and size in words. */
    public abstract String describe();

    /** Threads of the host that a kernel may use; 1 on a GPU, where the caller alone enqueues. */
    public abstract int threads();

    /** Whether kernels take data of this floating type: f32 everywhere, f64 on a CPU, bf16 on a GPU. */
    public abstract boolean computes(DType dtype);

    /**
     * Lets f32 products round their factors to TF32, 10 bits of mantissa, for speed; off at first. Concerns products that are
     * started after the call, of all threads. A CPU has no such type and stays exact.
     */
    public void allowTf32(boolean allowed) {}

    /** The numerical primitives on this device's buffers. */
    public abstract Kernels kernels();

    /**
     * Linear layers on bytes and the attention between them, where the device multiplies them faster than {@link Int8Kernels#data};
     * empty elsewhere. Of GPUs those of compute capability 9.0 have them, where {@code -Dtessera.cuda.int8=own} asks for it, or
     * {@code e4m3} for bytes that are floats.
     */
    public Optional<Int8Kernels> int8() {
        return Optional.empty();
    }

    /** Linear layers on f32 data whose factors are rounded to bf16, where a CPU multiplies bf16 faster; empty on every GPU. */
    public Optional<Bf16Kernels> bf16() {
        return Optional.empty();
    }

    // ------------------------------------------------------------------------------------------------------- memory

    /**
     * Uninitialised memory for {@code length} elements, 64-byte aligned; the caller closes it.
     *
     * @throws DeviceException that is {@link DeviceException#outOfMemory}, with the amounts asked for, live and pooled
     */
    public abstract Buffer allocate(DType dtype, long length);

    /**
     * Memory of the host that this device copies from and to by itself, see {@link Stream#copy}; pinned for a GPU, where it is dear
     * to make, so keep it. The caller closes it, when no copy uses it any more.
     *
     * @throws DeviceException that is {@link DeviceException#outOfMemory} if the system cannot pin so much
     */
    public abstract Buffer allocatePinned(DType dtype, long length);

    /**
     * Wraps memory of the host without a copy. The caller keeps ownership and must keep the segment alive while the buffer is used.
     *
     * @throws IllegalArgumentException if the segment is on the heap, misaligned for the type or no multiple of its size, or this
     *     device is no CPU
     */
    public abstract Buffer wrap(DType dtype, MemorySegment segment);

    /**
     * Wraps memory of this device without a copy. The caller keeps ownership and must keep the memory alive while the buffer is
     * used; the caller's work on it must be ordered before, on this device's streams or by waiting.
     *
     * @param address in this device's memory, on a GPU a {@code CUdeviceptr}
     * @param length number of elements
     * @throws IllegalArgumentException if the address is not aligned for the type
     */
    public abstract Buffer wrap(DType dtype, long address, long length);

    /** What the device's pool holds now. */
    public abstract MemoryUse memory();

    /** Lets {@link MemoryUse#peak} begin anew at what is live now, to measure what some work needs. */
    public abstract void resetPeak();

    /** Gives pooled memory that no buffer uses back to the operating system. */
    public abstract void trim();

    /** Copies between two buffers of one type and length, of which one is this device's; see {@link Buffer#copyTo}. */
    protected abstract void copy(Buffer from, Buffer to);

    /**
     * A buffer of this device.
     *
     * @param segment the memory where it is the host's, else null
     * @param free gives the memory back, null for a buffer that does not own it
     */
    protected final Buffer buffer(
            DType dtype, long length, long address, @Nullable MemorySegment segment, Buffer.@Nullable Memory free) {
        return new Buffer(this, dtype, length, address, segment, free, false);
    }

    /** A buffer of the host's that a GPU reads and writes by itself. */
    protected static Buffer pinnedBuffer(DType dtype, long length, MemorySegment segment, Buffer.Memory free) {
        return new Buffer(cpu(), dtype, length, segment.address(), segment, free, true);
    }

    /** Refuses a negative length. */
    protected static long bytes(DType dtype, long length) {
        if (length < 0) {
            throw new IllegalArgumentException("cannot allocate " + length + " elements");
        }
        return Math.multiplyExact(length, (long) dtype.bytes());
    }

    // --------------------------------------------------------------------------------------------------- work, order

    /** The stream of all threads that name no other. */
    public abstract Stream defaultStream();

    /** The stream that the calling thread's work goes to. */
    public abstract Stream currentStream();

    /** A stream of its own, which the caller closes. */
    public abstract Stream newStream();

    /**
     * Runs with another current stream; orders nothing between it and the stream before, see {@link Stream#await}.
     *
     * @throws IllegalArgumentException if the stream is another device's
     */
    public abstract void on(Stream stream, Runnable body);

    /**
     * Waits until everything enqueued on this device is done, and reports what failed.
     *
     * @throws IllegalStateException while any thread records a graph on this device, which would be broken off
     */
    public abstract void synchronize();

    /** Whether work can be recorded by {@link #record}. */
    public abstract boolean records();

    /**
     * Records what a body enqueues on its current stream, which is one of its own; nothing runs yet. On a CPU what this thread's body
     * asks of kernels is recorded, by one thread at a time. The body may not wait
     * for the device, read results, or copy from host memory that is not pinned. Kernels and products that it uses should have
     * run once before, so that nothing is left to be loaded. The caller closes the graph.
     *
     * @throws DeviceException if something in the body cannot be recorded
     * @throws UnsupportedOperationException if this device does not record
     */
    public abstract Graph record(Runnable body);

    /** An event that nothing has reached yet and that tells time, see {@link Event#millisecondsTo}; the caller closes it. */
    public abstract Event newTimer();

    /**
     * Loads the machine code of all kernels now, and compiles and keeps what has to be compiled, which otherwise happens when a
     * kernel is first used; on a CPU nothing. Thread-safe.
     *
     * @param patience after which nothing more is begun to compile; one source takes up to half a minute
     * @return where the machine code came from and what is left, in words
     * @throws DeviceException if there is machine code that can neither be loaded nor compiled
     */
    public String prepare(Duration patience) {
        return "in Java";
    }

    /**
     * Measures which of a library's algorithms computes each matrix product fastest that this process has computed so far, those of
     * the most arithmetic first. What is found holds at once, except in graphs recorded before, and is kept for later processes;
     * nothing else should use the device meanwhile. On a CPU nothing.
     *
     * @param patience after which no further product is measured
     * @return a line for each product, in words
     */
    public List<String> tune(Duration patience) {
        return List.of();
    }

    /** See {@link Communicator#of}; the devices have passed {@link #requireJoins}. */
    protected List<Communicator> join(List<Device> devices) {
        throw new UnsupportedOperationException(this + " joins no group");
    }

    /** See {@link Communicator#requireAble}; of the devices this is the first. */
    protected void requireJoins(List<Device> devices) {
        throw new IllegalArgumentException("devices " + Communicator.names(devices)
                + " cannot share work; pass GPUs such as cuda:0,cuda:1, or one device");
    }

    /** Makes this device's driver context current for the calling thread, for other libraries; on a CPU nothing. */
    public void makeCurrent() {}

    /**
     * Bytes held by a device's pool.
     *
     * @param live bytes in buffers that are not closed
     * @param pooled bytes kept for reuse
     * @param peak highest {@code live} so far, or since {@link #resetPeak}
     * @param liveBuffers number of buffers that are not closed
     */
    public record MemoryUse(long live, long pooled, long peak, long liveBuffers) {}

    private static final class Providers {
        static final List<DeviceProvider> ALL =
                ServiceLoader.load(DeviceProvider.class, Device.class.getClassLoader()).stream()
                        .map(ServiceLoader.Provider::get)
                        .toList();
    }

    private static final class Best {
        static final @Nullable Device GPU = find();

        private static @Nullable Device find() {
            try {
                return cuda(0);
            } catch (IllegalArgumentException e) {
                LOG.log(Level.INFO, "device auto: using the CPU; " + e.getMessage());
                return null;
            }
        }
    }
}
