package tessera;

// example
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import jcuda.Pointer;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.natives.interop.JCudaBridge;

@Tag("cuda")
class JCudaExampleTest {
    @Test
    void computesOnMemoryOfJCudaAndHandsItsOwnBack() {
        assumeTrue(!Device.best().isHost(), "no GPU");
        Device device = Device.cuda(0);
        device.makeCurrent(); // JCuda works in the same context ...
        CUstream stream = JCudaBridge.stream(device.currentStream().handle()); // ... and on the same stream
        JCudaDriver.setExceptionsEnabled(true);
        CUdeviceptr theirs = new CUdeviceptr();
        JCudaDriver.cuMemAlloc(theirs, 4 * Float.BYTES);
        JCudaDriver.cuMemcpyHtoD(theirs, Pointer.to(new float[] {1, 2, 3, 4}), 4 * Float.BYTES);
        float[] result = new float[4];
        try (Buffer ours = device.allocate(DType.F32, 4)) {
            Buffer x = device.wrap(DType.F32, JCudaBridge.address(theirs), 4); // no copy
            device.kernels().elementwise().affine(x, 10, 1, ours); // 10 x + 1
            CUdeviceptr y = JCudaBridge.devicePointer(ours.address()); // no copy
            JCudaDriver.cuMemcpyDtoHAsync(Pointer.to(result), y, 4 * Float.BYTES, stream);
            JCudaDriver.cuStreamSynchronize(stream);
        } finally {
            JCudaDriver.cuMemFree(theirs);
        }
        assertArrayEquals(new float[] {11, 21, 31, 41}, result);
    }
}
// end
