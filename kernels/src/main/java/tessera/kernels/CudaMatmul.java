package tessera.kernels;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.PackedWeight;
import tessera.kernels.Kernels.UnaryOp;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Matrix products on a GPU, by cuBLASLt.
 *
 * <p>f32 with f32 accumulation (TF32 only where {@link CudaDevice#allowTf32} asks for it), or bf16 factors with f32
 * accumulation and a bf16 or f32 result; the bias has the result's type. The library counts columns first, so it is given
 * C^T = B^T A^T. Its own GELU is the tanh approximation; ours follows in a kernel of its own.
 *
 * <p>What the library's heuristics choose is kept per shape. Thread-safe.
 */
final class CudaMatmul {
    private static final long WORKSPACE_BYTES = 32L << 20;

    private final CudaDevice device;
    private final Map<CudaProduct.Key, CudaProduct> products = new ConcurrentHashMap<>();
    private long handle;

    CudaMatmul(CudaDevice device) {
        this.device = device;
    }

    void matmul(
            boolean transposeA,
            boolean transposeB,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            Buffer b,
            long ldb,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer c,
            long ldc) {
        check(a, b, bias, c);
        if (m == 0 || n == 0) {
            return;
        }
        if (k == 0) {
            // A product of zeros is the same, and the library takes no empty factors.
            try (Buffer zeros = device.allocate(a.dtype(), Math.max(m, n))) {
                CudaDriver.memsetD8Async(
                        zeros.address(),
                        (byte) 0,
                        zeros.byteSize(),
                        device.currentStream().handle());
                matmul(false, true, m, n, 1, zeros, 1, zeros, 1, bias, activation, accumulate, c, ldc);
            }
            return;
        }
        if (activation == Activation.GELU && ldc != n) {
            try (Buffer rows = device.allocate(c.dtype(), m * n)) {
                long[] shape = {m, n};
                long[] packed = {n, 1};
                long[] spread = {ldc, 1};
                if (accumulate) {
                    device.kernels().copyStrided(c, 0, spread, rows, 0, packed, shape);
                }
                matmul(transposeA, transposeB, m, n, k, a, lda, b, ldb, bias, activation, accumulate, rows, n);
                device.kernels().copyStrided(rows, 0, packed, c, 0, spread, shape);
            }
            return;
        }
        CudaProduct.Key key = new CudaProduct.Key(
                transposeA,
                transposeB,
                m,
                n,
                k,
                lda,
                ldb,
                ldc,
                1,
                0,
                0,
                0,
                a.dtype(),
                c.dtype(),
                bias != null,
                accumulate,
                device.tf32(),
                alignment(a),
                alignment(b),
                alignment(c),
                bias == null ? CudaProduct.LARGEST_ALIGNMENT : alignment(bias));
        run(key, a, b, bias, c);
        if (activation == Activation.GELU) {
            Buffer result = c.slice(0, m * n);
            device.kernels().unary(UnaryOp.GELU, result, result);
        }
    }

    void matmulBatched(
            boolean transposeA,
            boolean transposeB,
            long batch,
            long m,
            long n,
            long k,
            Buffer a,
            long lda,
            long strideA,
            Buffer b,
            long ldb,
            long strideB,
            Buffer c,
            long ldc,
            long strideC) {
        check(a, b, null, c);
        if (batch == 0 || m == 0 || n == 0) {
            return;
        }
        if (k == 0) {
            for (long i = 0; i < batch; i++) {
                Buffer one = c.slice(i * strideC, (m - 1) * ldc + n);
                matmul(transposeA, transposeB, m, n, 0, a, lda, b, ldb, null, Activation.NONE, false, one, ldc);
            }
            return;
        }
        CudaProduct.Key key = new CudaProduct.Key(
                transposeA,
                transposeB,
                m,
                n,
                k,
                lda,
                ldb,
                ldc,
                Math.toIntExact(batch),
                strideA,
                strideB,
                strideC,
                a.dtype(),
                c.dtype(),
                false,
                false,
                device.tf32(),
                Math.min(alignment(a), alignment(strideA * a.dtype().bytes())),
                Math.min(alignment(b), alignment(strideB * b.dtype().bytes())),
                Math.min(alignment(c), alignment(strideC * c.dtype().bytes())),
                CudaProduct.LARGEST_ALIGNMENT);
        run(key, a, b, null, c);
    }

    PackedWeight pack(Buffer weight, long n, long k) {
        Buffer copy = device.allocate(weight.dtype(), n * k);
        weight.slice(0, n * k).copyTo(copy);
        return new Weight(n, k, copy);
    }

    void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            Activation activation,
            boolean accumulate,
            Buffer y) {
        if (!(weight instanceof Weight mine) || mine.copy.device() != device) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed on another device; pack it with the kernels of " + device);
        }
        long n = mine.n;
        long k = mine.k;
        matmul(false, true, m, n, k, x, k, mine.copy, k, bias, activation, accumulate, y, n);
    }

    /** A copy as it is: the library reads every layout at full speed. */
    private record Weight(long n, long k, Buffer copy) implements PackedWeight {
        @Override
        public void close() {
            copy.close();
        }
    }

    private void run(CudaProduct.Key key, Buffer a, Buffer b, @Nullable Buffer bias, Buffer c) {
        CudaThread.get().use(device);
        CudaProduct product = products.get(key);
        try {
            if (product == null) {
                product = products.computeIfAbsent(key, wanted -> new CudaProduct(handle(), wanted, WORKSPACE_BYTES));
            }
            try (Buffer workspace = device.allocate(DType.U8, product.workspaceBytes())) {
                product.run(
                        handle(),
                        a,
                        b,
                        bias,
                        c,
                        workspace,
                        device.currentStream().handle());
            }
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    private synchronized long handle() {
        if (handle == 0) {
            handle = CublasLt.create();
        }
        return handle;
    }

    private static int alignment(Buffer buffer) {
        return alignment(buffer.address());
    }

    private static int alignment(long bytes) {
        return bytes == 0
                ? CudaProduct.LARGEST_ALIGNMENT
                : (int) Math.min(CudaProduct.LARGEST_ALIGNMENT, Long.lowestOneBit(bytes));
    }

    private static void check(Buffer a, Buffer b, @Nullable Buffer bias, Buffer c) {
        boolean single = a.dtype() == DType.F32 && c.dtype() == DType.F32;
        boolean half = a.dtype() == DType.BF16 && (c.dtype() == DType.F32 || c.dtype() == DType.BF16);
        if (!(single || half) || b.dtype() != a.dtype() || bias != null && bias.dtype() != c.dtype()) {
            throw new IllegalArgumentException("matmul: " + a.dtype() + " x " + b.dtype()
                    + (bias == null ? "" : " + " + bias.dtype()) + " -> " + c.dtype()
                    + " is not computed on a GPU; use f32, or bf16 factors with a bias of the result's type");
        }
    }
}
