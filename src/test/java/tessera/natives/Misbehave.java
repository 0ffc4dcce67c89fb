package tessera.natives;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import tessera.natives.cuda.CudaDriver;

/** Launches the kernel of {@code misbehave.cu}, which is in the fake CUDA alone. */
public final class Misbehave {
    /** Number of the misdeed that writes behind its memory. */
    private static final int WRITE_BEHIND = 1;

    private Misbehave() {}

    /** Writes behind an allocation. */
    public static void main(String[] args) {
        CudaDriver.init(0);
        CudaDriver.contextSetCurrent(CudaDriver.primaryContextRetain(0));
        launch(CudaDriver.memAlloc(96 * 4), 96, WRITE_BEHIND, 24, 0);
        CudaDriver.contextSynchronize();
    }

    static void launch(long memory, long count, int what, long bytesOfParameters, long stream) {
        byte[] image = "any image will do".getBytes(StandardCharsets.UTF_8);
        long function = CudaDriver.moduleFunction(CudaDriver.moduleLoadData(image), "misbehave");
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
            int status = CudaDriver.launchKernel(function, 1, 1, 1, 96, 1, 1, 0, stream, 0, extra.address());
            if (status != 0) {
                throw CudaDriver.failure("cuLaunchKernel", status);
            }
        }
    }
}
