package tessera.kernels.cpu.device;

/** Chooses the kernels of a CPU device: with the Vector API where the host has made it readable, in plain Java otherwise. */
final class CpuKernels {
    private static final String VECTOR_MODULE = "jdk.incubator.vector";

    private CpuKernels() {}

    /** Looks at the module graph alone: no class that refers to the Vector API is loaded before it is known to be there. */
    private static final class Vectors {
        static final boolean READABLE = ModuleLayer.boot()
                .findModule(VECTOR_MODULE)
                .filter(CpuKernels.class.getModule()::canRead)
                .isPresent();

        static {
            if (!READABLE) {
                System.getLogger("tessera.kernels")
                        .log(
                                System.Logger.Level.WARNING,
                                "CPU kernels run without the Vector API and several times slower; start java with"
                                        + " --add-modules {0}",
                                VECTOR_MODULE);
            }
        }

        private Vectors() {}
    }

    static Kernels create(Workers workers, HostMemory memory) {
        return Vectors.READABLE ? new VectorKernels(workers, memory) : new GemmKernels(workers, memory);
    }
}
