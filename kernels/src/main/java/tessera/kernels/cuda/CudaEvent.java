package tessera.kernels.cuda;

import tessera.kernels.Event;
import tessera.kernels.Stream;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** An event of the driver's. */
final class CudaEvent implements Event {
    private final CudaDevice device;
    private final long handle;
    private volatile boolean closed;

    /**
     * An event that nothing has reached yet.
     *
     * @param timing whether {@link #millisecondsTo} is wanted, which makes the event a little dearer
     */
    CudaEvent(CudaDevice device, boolean timing) {
        this.device = device;
        CudaThread.get().use(device);
        try {
            this.handle = CudaDriver.eventCreate(timing ? 0 : CudaDriver.EVENT_NO_TIMING);
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** An event of a GPU's. */
    static CudaEvent of(Event event) {
        if (event instanceof CudaEvent mine) {
            return mine;
        }
        throw new IllegalArgumentException(
                "an event of another kind of device was given to a GPU; make one with record() of a GPU's stream");
    }

    @Override
    public long handle() {
        if (closed) {
            throw new IllegalStateException("an event of " + device + " is closed; make another");
        }
        return handle;
    }

    @Override
    public void record(Stream stream) {
        if (!(stream instanceof CudaStream mine)) {
            throw new IllegalArgumentException(
                    stream + " is no stream of a GPU; record this event on one of " + device);
        }
        CudaThread.get().use(device);
        try {
            CudaDriver.eventRecord(handle(), mine.handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    @Override
    public void synchronize() {
        CudaThread.get().use(device);
        try {
            CudaDriver.eventSynchronize(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    @Override
    public boolean isDone() {
        CudaThread.get().use(device);
        try {
            return CudaDriver.eventQuery(handle());
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    @Override
    public double millisecondsTo(Event later) {
        CudaEvent end = of(later);
        CudaThread.get().use(device);
        try {
            return CudaDriver.eventElapsedTime(handle(), end.handle());
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
