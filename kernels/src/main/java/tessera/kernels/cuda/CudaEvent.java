package tessera.kernels.cuda;

import tessera.kernels.Event;
import tessera.kernels.Stream;
import tessera.natives.cuda.CudaDriver;

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
        this.handle = device.call(() -> CudaDriver.eventCreate(timing ? 0 : CudaDriver.EVENT_NO_TIMING));
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
        device.run(() -> CudaDriver.eventRecord(handle(), mine.handle()));
    }

    @Override
    public void synchronize() {
        device.run(() -> CudaDriver.eventSynchronize(handle()));
    }

    @Override
    public boolean isDone() {
        return device.call(() -> CudaDriver.eventQuery(handle()));
    }

    @Override
    public double millisecondsTo(Event later) {
        CudaEvent end = of(later);
        return device.call(() -> (double) CudaDriver.eventElapsedTime(handle(), end.handle()));
    }

    @Override
    public synchronized void close() {
        if (!closed) {
            closed = true;
            device.quietly(() -> device.run(() -> CudaDriver.eventDestroy(handle)));
        }
    }
}
