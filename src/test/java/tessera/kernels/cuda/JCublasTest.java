package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.abort;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Random;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUstream;
import jcuda.driver.JCudaDriver;
import jcuda.jcublas.JCublas2;
import jcuda.jcublas.cublasHandle;
import jcuda.jcublas.cublasOperation;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.cpu.Elements;
import tessera.natives.interop.JCudaBridge;

/** The bridge to JCuda, handle by handle, and JCublas as a second opinion on a matrix product. */
@Tag(FakeCuda.TAG)
class JCublasTest {
    private CudaDevice device;

    @BeforeEach
    void needsDevice() {
        try {
            device = (CudaDevice) Device.cuda(0);
        } catch (IllegalArgumentException e) {
            abort(requireNonNull(e.getMessage()));
        }
        device.makeCurrent();
        JCudaDriver.setExceptionsEnabled(true);
    }

    @Test
    void handlesAreTheSameOnBothSides() {
        CUcontext current = new CUcontext();
        JCudaDriver.cuCtxGetCurrent(current);
        assertEquals(device.context(), JCudaBridge.handle(current));
        assertEquals(current, JCudaBridge.context(device.context()));

        CUstream theirs = new CUstream();
        JCudaDriver.cuStreamCreate(theirs, 1);
        assertEquals(theirs, JCudaBridge.stream(JCudaBridge.handle(theirs)));
        assertEquals(
                JCudaBridge.handle(theirs), JCudaBridge.handle(JCudaBridge.runtimeStream(JCudaBridge.handle(theirs))));
        JCudaDriver.cuStreamDestroy(theirs);

        CUdeviceptr memory = new CUdeviceptr();
        JCudaDriver.cuMemAlloc(memory, 64);
        long address = JCudaBridge.address(memory);
        assertEquals(address + 16, JCudaBridge.address(memory.withByteOffset(16)));
        assertEquals(address, JCudaBridge.address(JCudaBridge.pointer(address)));
        assertEquals(address, JCudaBridge.address(JCudaBridge.devicePointer(address)));
        JCudaDriver.cuMemFree(JCudaBridge.devicePointer(address));
        assertThrows(IllegalArgumentException.class, () -> JCudaBridge.address(new Pointer()));
    }

    @Test
    void jcublasGetsTheSameProduct() {
        assumeFalse(FakeCuda.present(), "JCublas needs a real cuBLAS of CUDA 12");
        cublasHandle handle = new cublasHandle();
        try {
            JCublas2.setExceptionsEnabled(true);
            JCublas2.cublasCreate(handle);
        } catch (UnsatisfiedLinkError e) {
            abort("JCublas does not load, it needs libcublas.so.12: " + e.getMessage());
        }
        int m = 33;
        int n = 17;
        int k = 65;
        Random random = new Random(5);
        double[] values = random.doubles(m * k + k * n, -1, 1).toArray();
        try (Buffer host = Device.cpu().allocate(DType.F32, values.length);
                Buffer in = device.allocate(DType.F32, values.length);
                Buffer ours = device.allocate(DType.F32, (long) m * n);
                Buffer theirs = device.allocate(DType.F32, (long) m * n);
                Buffer expected = Device.cpu().allocate(DType.F32, (long) m * n);
                Buffer actual = Device.cpu().allocate(DType.F32, (long) m * n)) {
            Elements.store(values, 0, values.length, host, 0);
            host.copyTo(in);
            Buffer a = in.slice(0, (long) m * k);
            Buffer b = in.slice((long) m * k, (long) k * n);
            MatmulShape shape = MatmulShape.of(false, false, m, n, k);
            device.kernels().matmul().matmul(shape, a, b, Epilogue.NONE, ours);
            // A row-major product is the column-major one of the factors exchanged.
            JCublas2.cublasSetStream(
                    handle, JCudaBridge.runtimeStream(device.currentStream().handle()));
            JCublas2.cublasSgemm(
                    handle,
                    cublasOperation.CUBLAS_OP_N,
                    cublasOperation.CUBLAS_OP_N,
                    n,
                    m,
                    k,
                    Pointer.to(new float[] {1}),
                    JCudaBridge.pointer(b.address()),
                    n,
                    JCudaBridge.pointer(a.address()),
                    k,
                    Pointer.to(new float[] {0}),
                    JCudaBridge.pointer(theirs.address()),
                    n);
            theirs.copyTo(expected);
            ours.copyTo(actual);
            double[] want = new double[m * n];
            double[] got = new double[m * n];
            Elements.load(expected, 0, m * n, want, 0);
            Elements.load(actual, 0, m * n, got, 0);
            Close.relative(got, want, 1e-5, "product of two libraries");
        }
        JCublas2.cublasDestroy(handle);
    }
}
