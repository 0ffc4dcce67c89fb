package tessera.kernels.cpu.device;

import java.util.Optional;
import tessera.kernels.Attention;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Elementwise;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.GemmMatmul;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarAttention;
import tessera.kernels.cpu.scalar.ScalarElementwise;
import tessera.kernels.cpu.scalar.ScalarLosses;
import tessera.kernels.cpu.scalar.ScalarNorms;
import tessera.kernels.cpu.scalar.ScalarOptimiser;
import tessera.kernels.cpu.scalar.ScalarPatches;
import tessera.kernels.cpu.scalar.ScalarRandom;
import tessera.kernels.cpu.scalar.ScalarTokens;
import tessera.kernels.cpu.vector.VectorAttention;
import tessera.kernels.cpu.vector.VectorBf16;
import tessera.kernels.cpu.vector.VectorElementwise;
import tessera.kernels.cpu.vector.VectorInt8;
import tessera.kernels.cpu.vector.VectorLosses;
import tessera.kernels.cpu.vector.VectorNorms;
import tessera.kernels.cpu.vector.VectorOptimiser;
import tessera.kernels.cpu.vector.VectorPatches;
import tessera.kernels.cpu.vector.VectorTokens;

/** Chooses the kernels of a CPU device: with the Vector API where the host has made it readable, in plain Java otherwise. */
public final class CpuKernels {
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

    /**
     * The fastest kernels there are.
     *
     * @param memory where packed weights and partial sums lie
     */
    public static Kernels create(Workers workers, HostMemory memory) {
        Gemm gemm = Gemm.create(workers, memory);
        if (Vectors.READABLE) {
            return vector(workers, gemm, memory);
        }
        Elementwise elementwise = new ScalarElementwise(workers);
        return scalar(workers, elementwise, new GemmMatmul(workers, gemm, elementwise));
    }

    /** Layers on bytes, where the host has the Vector API, oneDNN and a processor for it. */
    static Optional<Int8Kernels> int8(Workers workers, HostMemory memory, Attention exact) {
        return Vectors.READABLE ? VectorInt8.create(workers, memory, exact) : Optional.empty();
    }

    /** Layers on bf16, where the host has the Vector API, oneDNN and a processor for it. */
    static Optional<Bf16Kernels> bf16(Workers workers, HostMemory memory) {
        return Vectors.READABLE ? VectorBf16.create(workers, memory) : Optional.empty();
    }

    /** In plain Java, with these products. */
    public static Kernels scalar(Workers workers, Elementwise elementwise, Matmul matmul) {
        return new Kernels(
                elementwise,
                matmul,
                new ScalarNorms(workers),
                new ScalarAttention(workers),
                new ScalarPatches(workers),
                new ScalarTokens(workers),
                new ScalarRandom(workers),
                new ScalarLosses(workers),
                new ScalarOptimiser(workers));
    }

    private static Kernels vector(Workers workers, Gemm gemm, HostMemory memory) {
        Elementwise elementwise = new VectorElementwise(workers);
        return new Kernels(
                elementwise,
                new GemmMatmul(workers, gemm, elementwise),
                new VectorNorms(workers),
                new VectorAttention(workers, gemm, memory),
                new VectorPatches(workers),
                new VectorTokens(workers),
                new ScalarRandom(workers),
                new VectorLosses(workers),
                new VectorOptimiser(workers, elementwise));
    }
}
