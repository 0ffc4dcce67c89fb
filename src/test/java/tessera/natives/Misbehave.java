package tessera.natives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import tessera.FakeCuda;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/** Launches the kernels of {@code misbehave.cu}, which are in the fake CUDA alone. */
public final class Misbehave {
    /** Number of the misdeed that writes behind its memory. */
    public static final int WRITE_BEHIND = 1;

    private Misbehave() {}

    /** Does the misdeeds whose numbers are given, each in two blocks, and prints what the fake says. */
    public static void main(String[] args) {
        CudaDriver.init(0);
        CudaDriver.contextSetCurrent(CudaDriver.primaryContextRetain(0));
        for (String what : args) {
            String said = "nothing";
            try {
                launch(CudaDriver.memAlloc(192 * 4), 192, Integer.parseInt(what), 2, 24, 0);
                CudaDriver.contextSynchronize();
            } catch (CudaException e) {
                said = FakeCuda.lastError();
            }
            System.out.println("misdeed " + what + ": " + said);
        }
    }

    static void launch(long memory, long count, int what, long bytesOfParameters, long stream) {
        launch(memory, count, what, 1, bytesOfParameters, stream);
    }

    /** The kernel that multiplies; its misdeeds have numbers of their own. */
    static void launchProducts(long memory, long count, int what, long stream) {
        int shared = 64 * 128 + 1008;
        launch("misbehave_products", 128, shared, memory, count, what, 1, 24, stream);
    }

    private static void launch(long memory, long count, int what, int blocks, long bytesOfParameters, long stream) {
        launch("misbehave", 96, 0, memory, count, what, blocks, bytesOfParameters, stream);
    }

    private static void launch(
            String kernel,
            int threads,
            int shared,
            long memory,
            long count,
            int what,
            int blocks,
            long bytesOfParameters,
            long stream) {
        byte[] image = "any image will do".getBytes(StandardCharsets.UTF_8);
        long function = CudaDriver.moduleFunction(CudaDriver.moduleLoadData(image), kernel);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment block = arena.allocate(24, 8);
            block.set(ValueLayout.JAVA_LONG, 0, memory);
            block.set(ValueLayout.JAVA_LONG, 8, count);
            block.set(ValueLayout.JAVA_INT, 16, what);
            MemorySegment size = arena.allocateFrom(ValueLayout.JAVA_LONG, bytesOfParameters);
            MemorySegment extra = arena.allocateFrom(
                    ValueLayout.JAVA_LONG,
                    CudaDriver.LAUNCH_PARAM_BUFFER,
                    block.address(),
                    CudaDriver.LAUNCH_PARAM_BUFFER_SIZE,
                    size.address(),
                    CudaDriver.LAUNCH_PARAM_END);
            int status =
                    CudaDriver.launchKernel(function, blocks, 1, 1, threads, 1, 1, shared, stream, 0, extra.address());
            if (status != 0) {
                throw CudaDriver.failure("cuLaunchKernel", status);
            }
        }
    }
}
