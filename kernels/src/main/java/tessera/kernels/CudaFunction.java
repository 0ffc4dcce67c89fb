package tessera.kernels;

/** A kernel, ready to launch. */
final class CudaFunction {
    private final CudaDevice device;
    private final String name;

    CudaFunction(CudaDevice device, String name) {
        this.device = device;
        this.name = name;
    }

    /** Begins a launch with the thread's parameter block; see {@link CudaLaunch}. */
    CudaLaunch begin() {
        throw new UnsupportedOperationException(name + " cannot be launched on " + device + " yet");
    }
}
