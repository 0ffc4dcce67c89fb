package tessera.kernels.cuda;

import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import tessera.natives.NativeLibraryException;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.CudaLibraries;
import tessera.natives.cuda.CudaLibrary;

/**
 * An NVIDIA GPU, through its primary context, which other CUDA libraries of the process share.
 *
 * <p>Kernels, copies and allocations are enqueued on the calling thread's current stream and return at once; reading a result
 * back waits for it. The current stream is the device's default stream, shared by all threads, except inside {@link #on}. The
 * context is made current for a thread when the thread first uses the device: a thread that makes another context current
 * calls {@link #makeCurrent} before it comes back.
 *
 * <p>Thread-safe, and never closed: a device lives as long as the process. What it hands out (streams, events, graphs, buffers)
 * belongs to the caller, who closes each once nobody uses it any more; from any thread, and a second time without effect.
 */
public final class CudaDevice extends Device {
    /** Whether every launch is waited for, so that a failing kernel is named. */
    static final boolean DEBUG = Boolean.getBoolean(CudaException.DEBUG_PROPERTY);

    private static final int OLDEST_DRIVER = 12000;
    private static final int OLDEST_CAPABILITY = 80;
    private static final Map<Integer, CudaDevice> DEVICES = new HashMap<>();

    private final int ordinal;
    private final long context;
    private final String name;
    private final long totalMemory;
    private final int multiprocessors;
    private final int capability;
    private final int sharedBytesPerBlock;
    private final CudaMemory memory;
    private final CudaStream defaultStream;
    private final CudaTransfers transfers = new CudaTransfers(this);
    private final Map<String, CudaModule> modules = new ConcurrentHashMap<>();
    private final Kernels kernels = new CudaKernels(this);
    private final AtomicInteger recordings = new AtomicInteger();
    private volatile boolean tf32;
    private volatile @Nullable CudaException lost;

    private CudaDevice(int ordinal, int handle) {
        this.ordinal = ordinal;
        this.name = CudaDriver.deviceName(handle);
        this.totalMemory = CudaDriver.deviceTotalMemory(handle);
        this.multiprocessors = CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_MULTIPROCESSORS, handle);
        this.capability = capability(handle);
        this.sharedBytesPerBlock = CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_MAX_SHARED_BYTES_OPT_IN, handle);
        this.context = CudaDriver.primaryContextRetain(handle);
        CudaMemory made = null;
        try {
            CudaThread.get().makeCurrent(this);
            made = new CudaMemory(this, handle);
            this.memory = made;
            this.defaultStream = new CudaStream(this, memory);
        } catch (RuntimeException e) {
            if (made != null) {
                made.destroy();
            }
            quietly(() -> CudaDriver.primaryContextRelease(handle));
            throw e;
        }
    }

    private static int capability(int handle) {
        return 10 * CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_CAPABILITY_MAJOR, handle)
                + CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_CAPABILITY_MINOR, handle);
    }

    /**
     * The device of a number.
     *
     * @throws IllegalArgumentException if it cannot be used, with the reason and what to do
     */
    static CudaDevice of(int ordinal) {
        synchronized (DEVICES) {
            CudaDevice device = DEVICES.get(ordinal);
            if (device == null) {
                device = open(ordinal);
                DEVICES.put(ordinal, device);
            }
            return device;
        }
    }

    private static CudaDevice open(int ordinal) {
        try {
            CudaLibrary driver = CudaLibraries.driver();
            if (!driver.usable()) {
                throw unavailable(ordinal, driver.finding().detail(), null);
            }
            int version = CudaDriver.driverVersion();
            if (version < OLDEST_DRIVER) {
                throw unavailable(
                        ordinal,
                        "the driver knows CUDA " + release(version) + " but " + release(OLDEST_DRIVER)
                                + " is needed; update the NVIDIA driver to 525 or newer",
                        null);
            }
            CudaDriver.init(0);
            int count = CudaDriver.deviceCount();
            if (ordinal >= count) {
                throw unavailable(
                        ordinal,
                        count == 0
                                ? "the driver sees no device; check nvidia-smi and CUDA_VISIBLE_DEVICES"
                                : "the driver sees " + count + " device" + (count == 1 ? "" : "s")
                                        + ", the last of which is cuda:" + (count - 1)
                                        + "; pass a smaller number or check CUDA_VISIBLE_DEVICES",
                        null);
            }
            int handle = CudaDriver.device(ordinal);
            int capability = capability(handle);
            if (capability < OLDEST_CAPABILITY) {
                throw unavailable(
                        ordinal,
                        CudaDriver.deviceName(handle) + " has compute capability " + capability / 10 + "."
                                + capability % 10 + " but 8.0 (Ampere) or newer is needed; use another device",
                        null);
            }
            if (CudaDriver.deviceAttribute(CudaDriver.ATTRIBUTE_MEMORY_POOLS, handle) == 0) {
                throw unavailable(
                        ordinal,
                        CudaDriver.deviceName(handle) + " has no memory pools here, as some virtual GPUs; use a whole"
                                + " device",
                        null);
            }
            for (CudaLibrary products : List.of(CudaLibraries.cublasLt(), CudaLibraries.cublas())) {
                if (!products.usable()) {
                    throw unavailable(ordinal, products.finding().toString(), null);
                }
            }
            return new CudaDevice(ordinal, handle);
        } catch (CudaException | NativeLibraryException e) {
            throw unavailable(ordinal, String.valueOf(e.getMessage()), e);
        }
    }

    private static String release(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    private static IllegalArgumentException unavailable(int ordinal, String reason, @Nullable Throwable cause) {
        return new IllegalArgumentException("device cuda:" + ordinal + " is not available: " + reason, cause);
    }

    // -------------------------------------------------------------------------------------------------- properties

    /** Which of the devices that the driver shows, from 0. */
    public int ordinal() {
        return ordinal;
    }

    /** The maker's name, for example {@code NVIDIA H200}. */
    public String name() {
        return name;
    }

    /** Bytes of device memory, used or not. */
    public long totalMemory() {
        return totalMemory;
    }

    /** Streaming multiprocessors. */
    public int multiprocessors() {
        return multiprocessors;
    }

    /** Compute capability as major * 10 + minor. */
    public int capability() {
        return capability;
    }

    /** The most shared memory that one block may have. */
    int sharedBytesPerBlock() {
        return sharedBytesPerBlock;
    }

    /** Name, architecture and size in words. */
    public String describe() {
        return this + " (" + name + ", compute capability " + capability / 10 + "." + capability % 10 + ", "
                + (totalMemory >> 20) + " MiB)";
    }

    /** The driver's {@code CUcontext}, for other libraries; it lives as long as the process. */
    public long context() {
        return context;
    }

    // ----------------------------------------------------------------------------------------------------- streams

    /** Makes this device's context current for the calling thread. */
    public void makeCurrent() {
        CudaThread.get().makeCurrent(this);
    }

    /** The stream of all threads that name no other. */
    public CudaStream defaultStream() {
        return defaultStream;
    }

    /** A stream of its own, which the caller closes. */
    public CudaStream newStream() {
        CudaThread.get().use(this);
        try {
            return new CudaStream(this, memory);
        } catch (CudaException e) {
            throw failed(e);
        }
    }

    /** The stream that the calling thread's work goes to. */
    public CudaStream currentStream() {
        return CudaThread.currentStream(this);
    }

    /** Runs with another current stream; orders nothing between it and the stream before, see {@link CudaStream#await}. */
    public void on(CudaStream stream, Runnable body) {
        if (stream.device() != this) {
            throw new IllegalArgumentException(stream + " is no stream of " + this + "; make one with newStream()");
        }
        CudaThread thread = CudaThread.get();
        CudaStream before = thread.exchangeStream(stream);
        try {
            body.run();
        } finally {
            thread.exchangeStream(before);
        }
    }

    /**
     * Waits until everything enqueued on this device is done, and reports what failed.
     *
     * @throws IllegalStateException while any thread records a graph on this device, which the driver would break off
     */
    public void synchronize() {
        CudaThread.get().use(this);
        synchronized (recordings) {
            if (recordings.get() > 0) {
                throw new IllegalStateException(
                        this + " cannot be waited for while a graph is recorded on it; wait for a"
                                + " stream or an event, or until the graph is recorded");
            }
            try {
                CudaDriver.contextSynchronize();
            } catch (CudaException e) {
                throw failed(e);
            }
        }
    }

    /** Counts a recording that begins, or with -1 ends; none begins while somebody waits for the device. */
    void recording(int more) {
        synchronized (recordings) {
            recordings.addAndGet(more);
        }
    }

    // ------------------------------------------------------------------------------------------------------ memory

    @Override
    public Buffer allocate(DType dtype, long length) {
        if (length < 0) {
            throw new IllegalArgumentException("cannot allocate " + length + " elements");
        }
        long bytes = Math.multiplyExact(length, (long) dtype.bytes());
        return Buffer.owned(this, dtype, length, memory.allocate(currentStream(), bytes));
    }

    /**
     * Pinned host memory: a buffer of the CPU that this device copies from and to by itself, see {@link CudaStream#copy}. It is
     * dear to make, so keep it. The caller closes it, when no copy uses it any more.
     *
     * @throws OutOfMemoryError if the system cannot pin so much
     */
    public Buffer allocatePinned(DType dtype, long length) {
        if (length < 0) {
            throw new IllegalArgumentException("cannot allocate " + length + " elements");
        }
        long bytes = Math.multiplyExact(length, (long) dtype.bytes());
        CudaThread.get().use(this);
        try {
            MemorySegment segment = CudaDriver.memHostAlloc(Math.max(bytes, 1), 0);
            return Buffer.pinned(dtype, length, segment.asSlice(0, bytes), () -> {
                CudaThread.get().use(this);
                quietly(() -> CudaDriver.memFreeHost(segment.address()));
            });
        } catch (CudaException e) {
            if (!e.outOfMemory()) {
                throw failed(e);
            }
            OutOfMemoryError error = new OutOfMemoryError(this + ": cannot pin " + bytes
                    + " bytes of host memory; pin less, or raise the limit that ulimit -l shows");
            error.initCause(e);
            throw error;
        }
    }

    /**
     * Wraps memory of the caller without a copy. The caller keeps ownership and must keep the memory alive while the buffer
     * is used; the caller's work on it must be ordered before, on this device's streams or by waiting.
     *
     * @param address a {@code CUdeviceptr} of this device
     * @param length number of elements
     * @throws IllegalArgumentException if the address is not aligned for the type
     */
    public Buffer wrap(DType dtype, long address, long length) {
        if (address % dtype.bytes() != 0 || length < 0 || address == 0 && length > 0) {
            throw new IllegalArgumentException(
                    length + " elements at address " + Long.toHexString(address) + " are no aligned array of " + dtype);
        }
        return Buffer.wrapped(this, dtype, address, length);
    }

    @Override
    public MemoryUse memory() {
        return memory.use();
    }

    @Override
    public void trim() {
        memory.trim();
    }

    /** Memory for work on the current stream that is enqueued before it is freed; a buffer without a new object. */
    CudaMemory.Block scratch(long bytes) {
        return memory.allocate(currentStream(), bytes);
    }

    /** A new buffer that a body has enqueued the filling of; freed where the body fails. */
    Buffer filled(DType dtype, long length, Consumer<Buffer> body) {
        Buffer buffer = allocate(dtype, length);
        try {
            body.accept(buffer);
            return buffer;
        } catch (RuntimeException | Error e) {
            buffer.close();
            throw e;
        }
    }

    CudaMemory pool() {
        return memory;
    }

    CudaTransfers transfers() {
        return transfers;
    }

    // ----------------------------------------------------------------------------------------------------- kernels

    @Override
    public boolean computes(DType dtype) {
        return dtype == DType.F32 || dtype == DType.BF16;
    }

    @Override
    public Kernels kernels() {
        return kernels;
    }

    /** The module compiled from {@code name.cu}, loaded on first use. */
    CudaModule module(String name) {
        CudaModule module = modules.get(name);
        return module != null ? module : modules.computeIfAbsent(name, key -> new CudaModule(this, key));
    }

    /**
     * Lets f32 products round their factors to TF32, 10 bits of mantissa, for speed; off at first. Concerns products that are
     * started after the call, of all threads.
     */
    public void allowTf32(boolean allowed) {
        tf32 = allowed;
    }

    boolean tf32() {
        return tf32;
    }

    // ---------------------------------------------------------------------------------------------------- failures

    /** Remembers a failure after which the device cannot be used any more; returns it to be thrown. */
    CudaException failed(CudaException e) {
        if (e.deviceLost() && lost == null) {
            lost = e;
        }
        return e;
    }

    /** Refuses further work on a device that was lost, naming the first failure; the driver has the last word on it. */
    void requireAlive() {
        CudaException first = lost;
        if (first == null) {
            return;
        }
        CudaThread.get().use(this);
        try {
            CudaDriver.streamQuery(defaultStream.handle());
            lost = null;
        } catch (CudaException e) {
            CudaException failure = CudaDriver.failure(this + ", lost in " + first.call() + ",", first.code());
            failure.addSuppressed(e);
            throw failure;
        }
    }

    /** Does what frees something: on a lost device there is nothing left to free, and no other failure may hide the first. */
    void quietly(Runnable free) {
        try {
            free.run();
        } catch (CudaException e) {
            failed(e);
        }
    }

    /** Waits for a launch, to name the kernel that failed. */
    void checkLaunch(CudaFunction kernel, CudaStream stream) {
        if (stream.recording()) {
            return;
        }
        try {
            CudaDriver.streamSynchronize(stream.handle());
        } catch (CudaException e) {
            throw failed(CudaException.driver(kernel + " on " + this, e.code(), e.codeName(), e.text()));
        }
    }

    @Override
    public String toString() {
        return "cuda:" + ordinal;
    }
}
