package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * A queue of work on a GPU. Work of one stream runs in the order it was enqueued; different streams run side by side unless
 * {@link #await} orders them.
 *
 * <p>A thread's kernels and allocations go to its current stream: the device's default stream, or the one that {@link
 * CudaDevice#on} names. A buffer used on several streams must be closed where its last use is ordered before. A buffer made on
 * a stream may outlive it.
 *
 * <p>Thread-safe, except that nobody may use a stream while it is closed. {@link #close()} waits for the work and then frees the
 * stream; what is asked of it afterwards is refused.
 */
public final class CudaStream implements AutoCloseable {
    private final CudaDevice device;
    private final long handle;
    private final CudaMemory.Pool pool;
    private volatile CudaMemory.Pool allocating;
    private volatile long variables;
    private volatile CudaOptimiser.Betas recordedBetas = CudaOptimiser.Betas.NONE;
    private volatile @Nullable CudaStream outer;
    private volatile boolean closed;

    CudaStream(CudaDevice device, CudaMemory memory) {
        this.device = device;
        this.handle = CudaDriver.streamCreate(CudaDriver.STREAM_NON_BLOCKING, 0);
        this.pool = memory.newPool(this);
        this.allocating = pool;
    }

    public CudaDevice device() {
        return device;
    }

    /**
     * The driver's {@code CUstream}, for other libraries.
     *
     * @throws IllegalStateException if the stream is closed
     */
    public long handle() {
        if (closed) {
            throw new IllegalStateException(this + " is closed; make another with newStream()");
        }
        return handle;
    }

    /** Where buffers of this stream come from: its own pool, or a graph's while the stream is captured. */
    CudaMemory.Pool pool() {
        return allocating;
    }

    /** Where the kernels of the graph that is being captured find what differs between launches; 0 outside a capture. */
    long variables() {
        return variables;
    }

    /** Notes what the graph's optimiser step computes its corrections from. */
    void recordBetas(CudaOptimiser.Betas betas) {
        if (recordedBetas != CudaOptimiser.Betas.NONE && !recordedBetas.equals(betas)) {
            throw new IllegalArgumentException("adamw: one graph cannot hold steps with " + recordedBetas + " and with "
                    + betas + "; record a graph for each");
        }
        recordedBetas = betas;
    }

    CudaOptimiser.Betas recordedBetas() {
        return recordedBetas;
    }

    /** Whether a graph is being recorded: work enqueued here does not run now. */
    public boolean recording() {
        return allocating != pool;
    }

    /**
     * A stream whose next work comes behind all that this one has enqueued to run: itself; while it is being recorded the one
     * before it; once it is closed, and all done, any.
     */
    CudaStream running() {
        CudaStream before = outer;
        return closed ? device.defaultStream() : before == null ? this : before.running();
    }

    void beginRecording(CudaMemory.Pool graphPool, long graphVariables, CudaStream before) {
        outer = before;
        variables = graphVariables;
        allocating = graphPool;
    }

    void endRecording() {
        allocating = pool;
        variables = 0;
        outer = null;
    }

    /** Waits until everything enqueued so far is done, and reports what failed. */
    public void synchronize() {
        CudaThread.get().use(device);
        try {
            CudaDriver.streamSynchronize(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Whether everything enqueued so far is done. */
    public boolean isDone() {
        CudaThread.get().use(device);
        try {
            return CudaDriver.streamQuery(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Work enqueued from now on waits for the event. */
    public void await(CudaEvent event) {
        CudaThread.get().use(device);
        try {
            CudaDriver.streamWaitEvent(handle(), event.handle(), 0);
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** An event behind everything enqueued so far, without timing; the caller closes it. */
    public CudaEvent record() {
        CudaEvent event = new CudaEvent(device, false);
        try {
            event.record(this);
            return event;
        } catch (RuntimeException e) {
            event.close();
            throw e;
        }
    }

    /**
     * Enqueues a copy and returns at once. Neither buffer may be changed or closed, nor host memory read, before the
     * stream got there.
     *
     * @param from in this device's memory or pinned on the host, see {@link CudaDevice#allocatePinned}
     * @param to as {@code from}; of the same type and length
     * @throws IllegalArgumentException if types, lengths or places do not fit
     */
    public void copy(Buffer from, Buffer to) {
        CudaTransfers.check(from, to);
        boolean up = from.device() instanceof CpuDevice;
        boolean down = to.device() instanceof CpuDevice;
        if (up && !from.pinned() || down && !to.pinned() || up && down) {
            throw new IllegalArgumentException("copy: " + from + " to " + to
                    + " cannot run by itself; use memory of allocatePinned on the host's side, or Buffer.copyTo");
        }
        if (!up && from.device() != device || !down && to.device() != device) {
            throw new IllegalArgumentException(
                    "copy: " + from + " to " + to + " on a stream of " + device + "; use a stream of their device");
        }
        CudaThread.get().use(device);
        try {
            if (up) {
                CudaDriver.memcpyHtoDAsync(to.address(), from.address(), from.byteSize(), handle());
            } else if (down) {
                CudaDriver.memcpyDtoHAsync(to.address(), from.address(), from.byteSize(), handle());
            } else {
                CudaDriver.memcpyDtoDAsync(to.address(), from.address(), from.byteSize(), handle());
            }
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /**
     * Waits for the work and frees the stream; a second call does nothing.
     *
     * @throws IllegalStateException for the default stream and for one that is being recorded
     */
    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        if (this == device.defaultStream()) {
            throw new IllegalStateException("the default stream of " + device + " lives as long as the process");
        }
        if (recording()) {
            throw new IllegalStateException(this + " belongs to the graph that is being recorded, which closes it");
        }
        pool.close();
        closed = true;
        device.quietly(() -> {
            CudaThread.get().use(device);
            CudaDriver.streamDestroy(handle);
        });
    }

    @Override
    public String toString() {
        return "stream " + Long.toHexString(handle) + " of " + device;
    }
}
