package tessera.kernels.cuda;

import org.jspecify.annotations.Nullable;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** What one thread has set up for CUDA: its context, its stream and its parameter block. */
final class CudaThread {
    private static final ThreadLocal<CudaThread> CURRENT = ThreadLocal.withInitial(CudaThread::new);

    final CudaLaunch launch = new CudaLaunch(this);
    private final boolean virtual = Thread.currentThread().isVirtual();
    private @Nullable CudaDevice device;
    private @Nullable CudaStream stream;

    static CudaThread get() {
        return CURRENT.get();
    }

    /** Makes the device's context current, if it is not. A virtual thread may have changed its carrier at any time. */
    void use(CudaDevice wanted) {
        if (device != wanted || virtual) {
            makeCurrent(wanted);
        }
    }

    /** Makes the device's context current, whatever was before. */
    void makeCurrent(CudaDevice wanted) {
        device = null;
        try {
            CudaDriver.contextSetCurrent(wanted.context());
        } catch (CudaException e) {
            throw wanted.failed(e);
        }
        device = wanted;
    }

    /** The stream that this thread's work on a device goes to. */
    CudaStream stream(CudaDevice wanted) {
        CudaStream current = stream;
        return current != null && current.device() == wanted ? current : wanted.defaultStream();
    }

    /** Changes the stream and returns the one before. */
    @Nullable
    CudaStream exchangeStream(@Nullable CudaStream next) {
        CudaStream before = stream;
        stream = next;
        return before;
    }
}
