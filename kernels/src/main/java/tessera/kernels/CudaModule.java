package tessera.kernels;

/** Kernels compiled from one source file. */
final class CudaModule {
    private final CudaDevice device;
    private final String name;

    CudaModule(CudaDevice device, String name) {
        this.device = device;
        this.name = name;
    }

    /** A kernel of this module. */
    CudaFunction function(String kernel) {
        return new CudaFunction(device, name + "/" + kernel);
    }
}
