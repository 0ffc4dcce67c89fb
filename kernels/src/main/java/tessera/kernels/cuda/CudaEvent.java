package tessera.kernels.cuda;

import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * A mark in a stream's work, to wait for or to measure time between. Thread-safe, except that nobody may use an event while its
 * maker closes it; what is asked of it afterwards is refused.
 */
public final class CudaEvent implements AutoCloseable {
    private final CudaDevice device;
    private final long handle;
    private volatile boolean closed;

    /**
     * An event that nothing has reached yet.
     *
     * @param timing whether {@link #millisecondsTo} is wanted, which makes the event a little dearer
     */
    public CudaEvent(CudaDevice device, boolean timing) {
        this.device = device;
        CudaThread.get().use(device);
        try {
            this.handle = CudaDriver.eventCreate(timing ? 0 : CudaDriver.EVENT_NO_TIMING);
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /**
     * The driver's {@code CUevent}, for other libraries.
     *
     * @throws IllegalStateException if the event is closed
     */
    public long handle() {
        if (closed) {
            throw new IllegalStateException("an event of " + device + " is closed; make another");
        }
        return handle;
    }

    /** Puts the event behind everything enqueued on the stream so far. */
    public void record(CudaStream stream) {
        CudaThread.get().use(device);
        try {
            CudaDriver.eventRecord(handle(), stream.handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Waits for the event, and reports what failed before it. */
    public void synchronize() {
        CudaThread.get().use(device);
        try {
            CudaDriver.eventSynchronize(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Whether the event has been reached. */
    public boolean isDone() {
        CudaThread.get().use(device);
        try {
            return CudaDriver.eventQuery(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** Milliseconds from this event to a later one; both were made with timing and have been reached. */
    public double millisecondsTo(CudaEvent later) {
        CudaThread.get().use(device);
        try {
            return CudaDriver.eventElapsedTime(handle(), later.handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            device.quietly(() -> {
                CudaThread.get().use(device);
                CudaDriver.eventDestroy(handle);
            });
        }
    }
}
