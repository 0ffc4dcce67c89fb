package tessera.kernels;

import org.jspecify.annotations.Nullable;

/** The arguments of one launch, written in the order of the kernel's struct, each at its natural alignment. */
final class CudaLaunch {
    CudaLaunch pointer(long value) {
        return this;
    }

    CudaLaunch buffer(@Nullable Buffer value) {
        return pointer(value == null ? 0 : value.address());
    }

    CudaLaunch i64(long value) {
        return this;
    }

    CudaLaunch f64(double value) {
        return this;
    }

    CudaLaunch i32(int value) {
        return this;
    }

    CudaLaunch f32(float value) {
        return this;
    }

    /** Launches on the thread's current stream; a grid of zero blocks is no launch. */
    void launch(long blocks, int threads, int sharedBytes) {
        launch(blocks, 1, 1, threads, sharedBytes);
    }

    void launch(long gridX, long gridY, long gridZ, int threads, int sharedBytes) {
        throw new UnsupportedOperationException("no CUDA driver yet");
    }
}
