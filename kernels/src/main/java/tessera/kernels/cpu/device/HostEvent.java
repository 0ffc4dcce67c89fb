package tessera.kernels.cpu.device;

import tessera.kernels.Event;
import tessera.kernels.Stream;

/** A mark in the CPU's work: the time when it was made there. */
final class HostEvent implements Event {
    private volatile long nanos;

    @Override
    public long handle() {
        return 0;
    }

    @Override
    public void record(Stream stream) {
        nanos = System.nanoTime();
    }

    @Override
    public void synchronize() {}

    @Override
    public boolean isDone() {
        return true;
    }

    @Override
    public double millisecondsTo(Event later) {
        return (((HostEvent) later).nanos - nanos) / 1e6;
    }

    @Override
    public void close() {}
}
