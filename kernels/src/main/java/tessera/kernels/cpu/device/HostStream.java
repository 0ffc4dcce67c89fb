package tessera.kernels.cpu.device;

import tessera.kernels.Buffer;
import tessera.kernels.Device;
import tessera.kernels.Event;
import tessera.kernels.Stream;

/** Work of the CPU, which is done when it is asked for, or noted while the thread records. */
final class HostStream implements Stream {
    private final CpuDevice device;

    HostStream(CpuDevice device) {
        this.device = device;
    }

    @Override
    public Device device() {
        return device;
    }

    @Override
    public long handle() {
        return 0;
    }

    @Override
    public boolean recording() {
        return device.recordsHere();
    }

    @Override
    public void synchronize() {}

    @Override
    public boolean isDone() {
        return true;
    }

    @Override
    public void await(Event event) {
        event.synchronize();
    }

    @Override
    public Event record() {
        HostEvent event = new HostEvent();
        event.record(this);
        return event;
    }

    @Override
    public void copy(Buffer from, Buffer to) {
        from.copyTo(to);
    }

    @Override
    public void close() {}
}
