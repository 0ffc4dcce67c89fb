package tessera.kernels;

/** An NVIDIA GPU. */
public final class CudaDevice extends Device {
    private final int ordinal;

    CudaDevice(int ordinal) {
        this.ordinal = ordinal;
    }

    /** The module compiled from {@code name.cu}, loaded on first use. */
    CudaModule module(String name) {
        return new CudaModule(this, name);
    }

    /** Streaming multiprocessors. */
    int multiprocessors() {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }

    /** Compute capability as major * 10 + minor. */
    int capability() {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }

    @Override
    public Kernels kernels() {
        return new CudaKernels(this);
    }

    @Override
    public Buffer allocate(DType dtype, long length) {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }

    @Override
    public MemoryUse memory() {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }

    @Override
    public void trim() {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }

    @Override
    public String toString() {
        return "cuda:" + ordinal;
    }
}
