package tessera.kernels.cpu.device;

import java.util.Optional;
import jdk.incubator.vector.FloatVector;
import tessera.kernels.Attention;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Elementwise;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul;
import tessera.kernels.cpu.Gemm;
import tessera.kernels.cpu.GemmMatmul;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.VectorApi;
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
import tessera.kernels.cpu.vector.VectorGelu;
import tessera.kernels.cpu.vector.VectorInt8;
import tessera.kernels.cpu.vector.VectorLosses;
import tessera.kernels.cpu.vector.VectorNorms;
import tessera.kernels.cpu.vector.VectorOptimiser;
import tessera.kernels.cpu.vector.VectorPatches;
import tessera.kernels.cpu.vector.VectorTokens;
import tessera.natives.onednn.OneDnn;

/** Chooses the kernels of a CPU device: with the Vector API where it is usable, in plain Java otherwise. */
public final class CpuKernels {
    private CpuKernels() {}

    /** Referred to only where the Vector API is usable. */
    private static final class Width {
        static final int LANES = FloatVector.SPECIES_PREFERRED.length();

        private Width() {}
    }

    /** By what the kernels of this process run, in words. */
    static String path() {
        String products = OneDnn.finding().usable() ? "oneDNN" : "Java";
        return (VectorApi.usable() ? "the Vector API, " + Width.LANES + " f32 at a time" : "plain loops")
                + "; matrix products by " + products;
    }

    /**
     * The fastest kernels there are.
     *
     * @param memory where packed weights and partial sums lie
     */
    public static Kernels create(Workers workers, HostMemory memory) {
        if (VectorApi.usable()) {
            return vector(workers, Gemm.create(workers, memory, VectorGelu.forProducts()), memory);
        }
        Gemm gemm = Gemm.create(workers, memory);
        Elementwise elementwise = new ScalarElementwise(workers);
        return scalar(workers, elementwise, new GemmMatmul(workers, gemm, elementwise));
    }

    /** Layers on bytes, where the host has the Vector API, oneDNN and a processor for it. */
    static Optional<Int8Kernels> int8(Workers workers, HostMemory memory, Attention exact) {
        return VectorApi.usable() ? VectorInt8.create(workers, memory, exact) : Optional.empty();
    }

    /** Layers on bf16, where the host has the Vector API, oneDNN and a processor for it. */
    static Optional<Bf16Kernels> bf16(Workers workers, HostMemory memory) {
        return VectorApi.usable() ? VectorBf16.create(workers, memory) : Optional.empty();
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
