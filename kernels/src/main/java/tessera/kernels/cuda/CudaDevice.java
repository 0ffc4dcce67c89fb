package tessera.kernels.cuda;

import java.lang.foreign.MemorySegment;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Communicator;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Kernels;
import tessera.kernels.Stream;
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
 * calls {@link #makeCurrent} before it comes back. What the driver or a library of CUDA says has failed leaves this package as a
 * {@link DeviceException}, see {@link #failed}.
 *
 * <p>Thread-safe, and never closed: a device lives as long as the process. What it hands out (streams, events, graphs, buffers)
 * belongs to the caller, who closes each once nobody uses it any more; from any thread, and a second time without effect.
 */
public final class CudaDevice extends Device {
    /** Whether every launch is waited for, so that a failing kernel is named. */
    static final boolean DEBUG = Boolean.getBoolean(CudaException.DEBUG_PROPERTY);

    private static final int OLDEST_DRIVER = 12000;
    private static final int OLDEST_CAPABILITY = 80;

    private final int ordinal;
    private final long context;
    private final String name;
    private final String card;
    private final long totalMemory;
    private final int multiprocessors;
    private final int capability;
    private final int sharedBytesPerBlock;
    private final CudaMemory memory;
    private final CudaStream defaultStream;
    private final CudaTransfers transfers = new CudaTransfers(this);
    private final Kernels kernels = kernels(this);
    private final CudaInt8 bytes = new CudaInt8(CudaInt8.Format.INT8, this, kernels);
    private final CudaInt8 floats8 = new CudaInt8(CudaInt8.Format.E4M3, this, kernels);
    private final CudaFunction writeVariables = new CudaModule(this, "graph").function("write_variables");
    private final AtomicInteger recordings = new AtomicInteger();
    private volatile boolean tf32;
    private volatile @Nullable CudaException lost;

    private CudaDevice(int ordinal, int handle) {
        this.ordinal = ordinal;
        this.name = CudaDriver.deviceName(handle);
        this.card = name.strip().replaceAll("\\s+", "_");
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

    private static Kernels kernels(CudaDevice device) {
        CudaElementwise elementwise = new CudaElementwise(device);
        CudaNorms norms = new CudaNorms(device);
        CudaTokens tokens = new CudaTokens(device, elementwise);
        CudaLosses losses = new CudaLosses(device);
        return new Kernels(
                elementwise,
                new CudaMatmul(device, elementwise, norms),
                norms,
                new CudaAttention(device),
                new CudaPatches(device, tokens, losses),
                tokens,
                new CudaRandom(device),
                losses,
                new CudaOptimiser(device));
    }

    /**
     * Opens the device of a number.
     *
     * @throws IllegalArgumentException if it cannot be used, with the reason and what to do
     */
    static CudaDevice open(int ordinal) {
        try {
            CudaLibrary driver = CudaLibraries.driver();
            if (!driver.usable()) {
                throw unavailable(ordinal, driver.finding().detail());
            }
            int version = CudaDriver.driverVersion();
            if (version < OLDEST_DRIVER) {
                throw unavailable(
                        ordinal,
                        "the driver knows CUDA " + release(version) + " but " + release(OLDEST_DRIVER)
                                + " is needed; update the NVIDIA driver to 525 or newer");
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
                                        + "; pass a smaller number or check CUDA_VISIBLE_DEVICES");
            }
            int handle = CudaDriver.device(ordinal);
            int capability = capability(handle);
            if (capability < OLDEST_CAPABILITY) {
                throw unavailable(
                        ordinal,
                        CudaDriver.deviceName(handle) + " has compute capability " + capability / 10 + "."
                                + capability % 10 + " but 8.0 (Ampere) or newer is needed; use another device");
            }
            for (CudaLibrary products : List.of(CudaLibraries.cublasLt(), CudaLibraries.cublas())) {
                if (!products.usable()) {
                    throw unavailable(ordinal, products.finding().toString());
                }
            }
            return new CudaDevice(ordinal, handle);
        } catch (CudaException | NativeLibraryException | DeviceException e) {
            IllegalArgumentException refusal = unavailable(ordinal, String.valueOf(e.getMessage()));
            refusal.initCause(e);
            throw refusal;
        }
    }

    /** What the makers call a version of CUDA that its libraries give as a number. */
    static String release(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    private static IllegalArgumentException unavailable(int ordinal, String reason) {
        return new IllegalArgumentException("device cuda:" + ordinal + " is not available: " + reason);
    }

    // -------------------------------------------------------------------------------------------------- properties

    /** The driver's number of the device. */
    int ordinal() {
        return ordinal;
    }

    @Override
    public boolean isHost() {
        return false;
    }

    @Override
    public String name() {
        return name;
    }

    /** The name as one word, by which tables of what was measured know a card. */
    String card() {
        return card;
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

    @Override
    public String architecture() {
        return "sm_" + capability;
    }

    @Override
    public String describe() {
        return this + " (" + name + ", compute capability " + capability / 10 + "." + capability % 10 + ", "
                + (totalMemory >> 20) + " MiB)";
    }

    @Override
    public int threads() {
        return 1;
    }

    /** The driver's {@code CUcontext}, for other libraries; it lives as long as the process. */
    public long context() {
        return context;
    }

    // ----------------------------------------------------------------------------------------------------- streams

    @Override
    public void makeCurrent() {
        CudaThread.get().makeCurrent(this);
    }

    @Override
    public CudaStream defaultStream() {
        return defaultStream;
    }

    @Override
    public CudaStream newStream() {
        return call(() -> new CudaStream(this, memory));
    }

    @Override
    public CudaStream currentStream() {
        return CudaThread.get().stream(this);
    }

    @Override
    public void on(Stream stream, Runnable body) {
        CudaThread thread = CudaThread.get();
        CudaStream before = thread.exchangeStream(own(stream));
        try {
            body.run();
        } finally {
            thread.exchangeStream(before);
        }
    }

    /** A stream of this device's. */
    private CudaStream own(Stream stream) {
        if (stream instanceof CudaStream mine && mine.device() == this) {
            return mine;
        }
        throw new IllegalArgumentException(
                stream + " is no stream of " + this + "; make one with newStream() of this device");
    }

    @Override
    public void synchronize() {
        synchronized (recordings) {
            if (recordings.get() > 0) {
                throw new IllegalStateException(
                        this + " cannot be waited for while a graph is recorded on it; wait for a"
                                + " stream or an event, or until the graph is recorded");
            }
            run(CudaDriver::contextSynchronize);
        }
    }

    @Override
    public boolean records() {
        return true;
    }

    @Override
    public CudaGraph record(Runnable body) {
        return CudaGraph.record(this, body);
    }

    @Override
    protected List<Communicator> join(List<Device> devices) {
        return CudaCommunicator.join(
                devices.stream().map(CudaDevice.class::cast).toList());
    }

    @Override
    protected void requireJoins(List<Device> devices) {
        if (!devices.stream().allMatch(CudaDevice.class::isInstance)) {
            super.requireJoins(devices);
        }
        CudaLibrary nccl = CudaLibraries.nccl();
        if (!nccl.usable()) {
            throw new IllegalArgumentException("devices " + Communicator.names(devices)
                    + " cannot share work: NCCL is not used: " + nccl.finding().detail() + "; or pass one device");
        }
    }

    @Override
    public CudaEvent newTimer() {
        return new CudaEvent(this, true);
    }

    /** The kernel that writes what differs between launches of a graph. */
    CudaFunction writeVariables() {
        return writeVariables;
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
        CudaMemory.Block block = scratch(bytes(dtype, length));
        return buffer(dtype, length, block.address(), null, block);
    }

    @Override
    public Buffer allocatePinned(DType dtype, long length) {
        long bytes = bytes(dtype, length);
        CudaThread.get().use(this);
        try {
            MemorySegment segment = CudaDriver.memHostAlloc(Math.max(bytes, 1), 0);
            Buffer.Memory owned = () -> quietly(() -> run(() -> CudaDriver.memFreeHost(segment.address())));
            return pinnedBuffer(dtype, length, segment.asSlice(0, bytes), owned);
        } catch (CudaException e) {
            if (!e.outOfMemory()) {
                throw failed(e);
            }
            throw new DeviceException(
                    DeviceException.Reason.OUT_OF_MEMORY,
                    this + ": cannot pin " + bytes
                            + " bytes of host memory; pin less, or raise the limit that ulimit -l shows",
                    e);
        }
    }

    @Override
    public Buffer wrap(DType dtype, MemorySegment segment) {
        throw new IllegalArgumentException(
                this + " does not compute in memory of the host (" + segment.byteSize() + " bytes of " + dtype
                        + "); wrap it on Device.cpu() and copy it, or pass the address of memory of " + this);
    }

    @Override
    public Buffer wrap(DType dtype, long address, long length) {
        if (address % dtype.bytes() != 0 || length < 0 || (address == 0 && length > 0)) {
            throw new IllegalArgumentException(
                    length + " elements at address " + Long.toHexString(address) + " are no aligned array of " + dtype);
        }
        return buffer(dtype, length, address, null, null);
    }

    @Override
    public MemoryUse memory() {
        return memory.use();
    }

    @Override
    public void resetPeak() {
        memory.resetPeak();
    }

    @Override
    public void trim() {
        memory.trim();
    }

    /** Memory for work on the current stream that is enqueued before it is freed; a buffer without a new object. */
    CudaMemory.Block scratch(long bytes) {
        return currentStream().pool().allocate(bytes);
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

    /** Sets every byte to 0, in the order of the current stream. */
    void clear(Buffer buffer) {
        if (buffer.byteSize() == 0) { // which no node of a graph may have
            return;
        }
        CudaStream stream = currentStream();
        run(() -> CudaDriver.memsetD8Async(buffer.address(), (byte) 0, buffer.byteSize(), stream.handle()));
    }

    @Override
    protected void copy(Buffer from, Buffer to) {
        transfers.copy(from, to);
    }

    CudaMemory pool() {
        return memory;
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

    @Override
    public Optional<Int8Kernels> int8() {
        return bytes.available() ? Optional.of(bytes) : floats8.available() ? Optional.of(floats8) : Optional.empty();
    }

    @Override
    public String prepare(Duration patience) {
        return CudaCode.prepare(this, patience);
    }

    @Override
    public List<String> tune(Duration patience) {
        return CudaTuning.products(this, patience);
    }

    @Override
    public void allowTf32(boolean allowed) {
        tf32 = allowed;
    }

    boolean tf32() {
        return tf32;
    }

    // ---------------------------------------------------------------------------------------------------- failures

    /** Runs calls of the driver or of another library of CUDA in this device's context; their failures are {@link #failed}. */
    <T extends @Nullable Object> T call(Supplier<T> calls) {
        CudaThread.get().use(this);
        try {
            return calls.get();
        } catch (CudaException | NativeLibraryException e) {
            throw failed(e);
        }
    }

    /** The same for calls that give nothing back. */
    void run(Runnable calls) {
        CudaThread.get().use(this);
        try {
            calls.run();
        } catch (CudaException | NativeLibraryException e) {
            throw failed(e);
        }
    }

    /**
     * What callers get to see of a failure of the driver or a library, or of the lack of one; remembers a failure after which
     * the device cannot be used any more.
     */
    DeviceException failed(RuntimeException e) {
        DeviceException.Reason reason = DeviceException.Reason.FAILED;
        if (e instanceof CudaException failure && failure.deviceLost()) {
            reason = DeviceException.Reason.DEVICE_LOST;
            lost = lost == null ? failure : lost;
        } else if (e instanceof CudaException failure && failure.outOfMemory()) {
            reason = DeviceException.Reason.OUT_OF_MEMORY;
        }
        return new DeviceException(reason, String.valueOf(e.getMessage()), e);
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
            DeviceException failure =
                    failed(CudaDriver.failure(this + ", lost in " + first.call() + ",", first.code()));
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
        } catch (DeviceException alreadyNoted) {
            return;
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
