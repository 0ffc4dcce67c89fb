package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.Event;
import tessera.kernels.Stream;
import tessera.natives.cuda.CudaDriver;

/** A stream of the driver's, with the pool that its buffers come from. */
final class CudaStream implements Stream {
    private final CudaDevice device;
    private final long handle;
    private final CudaMemory.Pool pool;
    private volatile CudaMemory.Pool allocating;
    private volatile long variables;
    private volatile boolean readsVariables;
    private volatile boolean programmatic;
    private volatile CudaOptimiser.@Nullable Betas recordedBetas;
    private volatile @Nullable CudaStream outer;
    private volatile boolean closed;

    CudaStream(CudaDevice device, CudaMemory memory) {
        this.device = device;
        this.handle = CudaDriver.streamCreate(CudaDriver.STREAM_NON_BLOCKING, 0);
        this.pool = memory.newPool(this, false);
        this.allocating = pool;
    }

    @Override
    public CudaDevice device() {
        return device;
    }

    @Override
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

    /**
     * Where a kernel of the graph that is being captured finds what differs between launches, and notes that one does; 0 outside
     * a capture.
     */
    long variables() {
        long address = variables;
        if (address != 0) {
            readsVariables = true;
        }
        return address;
    }

    /** Whether a kernel of the graph that was captured last asked for its {@link #variables}. */
    boolean readsVariables() {
        return readsVariables;
    }

    /**
     * Whether the kernel that is about to be launched may be brought to the device while the kernel before it still runs: in
     * graphs that are recorded so, directly behind a kernel, one of ours or of a library's. The driver is asked what comes
     * before, as libraries may fill or copy memory between their kernels.
     */
    boolean launchesProgrammatically() {
        return programmatic && CudaDriver.capturesBehindKernel(handle());
    }

    /** Notes what the graph's optimiser step computes its corrections from. */
    void recordBetas(CudaOptimiser.Betas betas) {
        CudaOptimiser.Betas before = recordedBetas;
        if (before != null && !before.equals(betas)) {
            throw new IllegalArgumentException("adamw: one graph cannot hold steps with " + before + " and with "
                    + betas + "; record a graph for each");
        }
        recordedBetas = betas;
    }

    CudaOptimiser.Betas recordedBetas() {
        CudaOptimiser.Betas betas = recordedBetas;
        return betas == null ? CudaOptimiser.Betas.NONE : betas;
    }

    @Override
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

    void beginRecording(CudaMemory.Pool graphPool, long graphVariables, boolean graphProgrammatic, CudaStream before) {
        outer = before;
        programmatic = graphProgrammatic;
        variables = graphVariables;
        allocating = graphPool;
    }

    void endRecording() {
        allocating = pool;
        variables = 0;
        programmatic = false;
        outer = null;
    }

    @Override
    public void synchronize() {
        device.run(() -> CudaDriver.streamSynchronize(handle()));
    }

    @Override
    public boolean isDone() {
        return device.call(() -> CudaDriver.streamQuery(handle()));
    }

    @Override
    public void await(Event event) {
        CudaEvent mark = CudaEvent.of(event);
        device.run(() -> CudaDriver.streamWaitEvent(handle(), mark.handle(), 0));
    }

    @Override
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

    @Override
    public void copy(Buffer from, Buffer to) {
        if (from.dtype() != to.dtype() || from.length() != to.length()) {
            throw new IllegalArgumentException("copy: " + from + " does not fit " + to
                    + "; pass buffers of the same type and length, or convert with Elementwise.cast");
        }
        boolean up = from.device().isHost();
        boolean down = to.device().isHost();
        if ((up && (down || !from.pinned())) || (down && !to.pinned())) {
            throw new IllegalArgumentException("copy: " + from + " to " + to
                    + " cannot run by itself; use memory of allocatePinned on the host's side, or Buffer.copyTo");
        }
        if ((!up && from.device() != device) || (!down && to.device() != device)) {
            throw new IllegalArgumentException(
                    "copy: " + from + " to " + to + " on a stream of " + device + "; use a stream of their device");
        }
        if (from.byteSize() == 0) { // which no node of a graph may have
            return;
        }
        device.run(() -> {
            if (up) {
                CudaDriver.memcpyHtoDAsync(to.address(), from.address(), from.byteSize(), handle());
            } else if (down) {
                CudaDriver.memcpyDtoHAsync(to.address(), from.address(), from.byteSize(), handle());
            } else {
                CudaDriver.memcpyDtoDAsync(to.address(), from.address(), from.byteSize(), handle());
            }
        });
    }

    /** Whether it is closed, and then all its work done. */
    boolean closed() {
        return closed;
    }

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
        device.quietly(() -> device.run(() -> CudaDriver.streamDestroy(handle)));
    }

    @Override
    public String toString() {
        return "stream " + Long.toHexString(handle) + " of " + device;
    }
}
