package tessera.kernels.cuda;

import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.MatmulShape;
import tessera.natives.cuda.Cublas;
import tessera.natives.cuda.CudaException;

/**
 * Batches of equal products on a GPU, by cuBLAS; types and accumulation are those of {@link CudaMatmul}.
 *
 * <p>Results repeat bit for bit: cuBLAS promises that on one GPU with one version where each stream has a workspace of the
 * caller's, which it gets here for every call and always of one size, and where atomics are off, as they are at first. So a
 * graph that records a batch allocates nothing of the library's either.
 *
 * <p>One handle for all threads and streams, which take turns while a product is enqueued; it lives as long as the process.
 * Thread-safe.
 */
final class CudaBatchedProducts {
    /** What NVIDIA recommends for a workspace, by the manual of cublasSetWorkspace. */
    private static final long WORKSPACE_BYTES = 4L << 20;

    private static final long HOPPER_WORKSPACE_BYTES = 32L << 20;
    private static final int HOPPER = 90;

    private final CudaDevice device;
    private long handle;

    CudaBatchedProducts(CudaDevice device) {
        this.device = device;
    }

    /**
     * Enqueues the products on the thread's current stream, or returns false where the library does not support them.
     *
     * @param shape no side of a matrix is 0
     */
    boolean run(MatmulShape shape, Batch batch, Buffer a, Buffer b, Buffer c) {
        int in = CudaProduct.type(a.dtype());
        boolean tf32 = device.tf32() && a.dtype() == DType.F32;
        long workspaceBytes = device.capability() >= HOPPER ? HOPPER_WORKSPACE_BYTES : WORKSPACE_BYTES;
        CudaMemory.Block workspace = device.scratch(workspaceBytes);
        try {
            synchronized (this) {
                // A virtual thread may have changed its carrier while it waited for its turn.
                CudaThread.get().use(device);
                if (handle == 0) {
                    handle = create();
                }
                // The stream comes first: setting it takes the workspace away.
                Cublas.setStream(handle, device.currentStream().handle());
                Cublas.setWorkspace(handle, workspace.address(), workspaceBytes);
                // The library counts columns first, so it is given C^T = B^T A^T.
                Cublas.gemmStridedBatchedEx(
                        handle,
                        shape.transposeB() ? Cublas.OP_T : Cublas.OP_N,
                        shape.transposeA() ? Cublas.OP_T : Cublas.OP_N,
                        shape.n(),
                        shape.m(),
                        shape.k(),
                        Cublas.ONE,
                        b.address(),
                        in,
                        shape.ldb(),
                        batch.strideB(),
                        a.address(),
                        in,
                        shape.lda(),
                        batch.strideA(),
                        Cublas.ZERO,
                        c.address(),
                        CudaProduct.type(c.dtype()),
                        shape.ldc(),
                        batch.strideC(),
                        batch.count(),
                        tf32 ? Cublas.COMPUTE_32F_FAST_TF32 : Cublas.COMPUTE_32F);
            }
            return true;
        } catch (CudaException e) {
            if (CudaProduct.refuses(e)) {
                return false;
            }
            throw e;
        } finally {
            workspace.free();
        }
    }

    private static long create() {
        long made = Cublas.create();
        try {
            // Partial sums of a split product stay f32, whatever the result's type.
            Cublas.setMathMode(made, Cublas.DEFAULT_MATH | Cublas.MATH_DISALLOW_REDUCED_PRECISION_REDUCTION);
            return made;
        } catch (RuntimeException e) {
            Cublas.destroy(made);
            throw e;
        }
    }
}
