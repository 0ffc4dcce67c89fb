package tessera.kernels.cuda;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import tessera.kernels.Buffer;
import tessera.kernels.Communicator;
import tessera.kernels.DType;
import tessera.kernels.Stream;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.Nccl;

/** A communicator of NCCL's. */
final class CudaCommunicator implements Communicator {
    /** How long a call of NCCL is waited for before it is taken to wait itself for a device that does not come. */
    private static final long PATIENCE_SECONDS = 5;

    private final CudaDevice device;
    private final int rank;
    private final long handle;
    private final List<CudaCommunicator> group;
    /** Held in calls of NCCL, so that the handle is not freed in one. */
    private final ReentrantLock calling = new ReentrantLock();

    private volatile State state = State.OPEN;

    private enum State {
        OPEN,
        BROKEN_OFF,
        CLOSED
    }

    private CudaCommunicator(CudaDevice device, int rank, long handle, List<CudaCommunicator> group) {
        this.device = device;
        this.rank = rank;
        this.handle = handle;
        this.group = group;
    }

    static List<Communicator> join(List<CudaDevice> devices) {
        int[] ordinals = devices.stream().mapToInt(CudaDevice::ordinal).toArray();
        CudaDevice first = devices.getFirst();
        long[] handles = first.call(() -> Nccl.commInitAll(ordinals));
        // The library left another device's context current.
        first.makeCurrent();
        List<CudaCommunicator> group = new ArrayList<>();
        for (int rank = 0; rank < handles.length; rank++) {
            group.add(new CudaCommunicator(devices.get(rank), rank, handles[rank], group));
        }
        return List.copyOf(group);
    }

    @Override
    public int rank() {
        return rank;
    }

    @Override
    public int size() {
        return group.size();
    }

    @Override
    public void sum(Buffer values, Stream stream) {
        if (values.dtype() != DType.F32 || values.device() != device || stream.device() != device) {
            throw new IllegalArgumentException(
                    "sum: " + values + " on " + stream + "; pass f32 and a stream of " + device);
        }
        if (values.length() == 0) {
            return;
        }
        calling.lock();
        try {
            if (state != State.OPEN) {
                throw new IllegalStateException(
                        state == State.CLOSED
                                ? "a communicator of " + device + " is closed; make another"
                                : device
                                        + " no longer adds up with others, because another device failed; see its error");
            }
            device.run(() -> Nccl.allReduce(
                    values.address(),
                    values.address(),
                    values.length(),
                    Nccl.FLOAT32,
                    Nccl.SUM,
                    handle,
                    stream.handle()));
        } finally {
            calling.unlock();
        }
    }

    @Override
    public void abort() {
        group.forEach(CudaCommunicator::breakOff);
    }

    private void breakOff() {
        boolean idle = false;
        try {
            // A call may itself wait for a device that does not come: then to free the communicator under it is what
            // ends it.
            idle = calling.tryLock(PATIENCE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        try {
            end(State.BROKEN_OFF);
        } finally {
            if (idle) {
                calling.unlock();
            }
        }
    }

    private void end(State next) {
        synchronized (this) {
            if (state != State.OPEN) {
                return;
            }
            state = next;
        }
        // The library may leave another context current than this thread's device's.
        CudaThread.get().use(device);
        try {
            if (next == State.CLOSED) {
                Nccl.commDestroy(handle);
            } else {
                Nccl.commAbort(handle);
            }
        } catch (CudaException e) {
            device.failed(e);
        } finally {
            device.makeCurrent();
        }
    }

    @Override
    public void close() {
        calling.lock();
        try {
            end(State.CLOSED);
        } finally {
            calling.unlock();
        }
    }

    @Override
    public String toString() {
        return device + ", " + rank + " of " + group.size();
    }
}
