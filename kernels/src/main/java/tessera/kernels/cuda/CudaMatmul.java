package tessera.kernels.cuda;

import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.MatmulShape;
import tessera.kernels.Kernels.PackedWeight;
import tessera.kernels.Kernels.UnaryOp;
import tessera.natives.cuda.Cublas;
import tessera.natives.cuda.CublasLt;
import tessera.natives.cuda.CudaDriver;
import tessera.natives.cuda.CudaException;

/**
 * Matrix products on a GPU, by cuBLASLt, and batches of them by cuBLAS.
 *
 * <p>f32 with f32 accumulation (TF32 only where {@link CudaDevice#allowTf32} asks for it), or bf16 factors with f32
 * accumulation and a bf16 or f32 result; the bias has the result's type. The library counts columns first, so it is given
 * C^T = B^T A^T. Its own GELU is the tanh approximation; ours follows in a kernel of its own.
 *
 * <p>What the library's heuristics choose is kept per shape. Thread-safe.
 */
final class CudaMatmul {
    private static final long WORKSPACE_BYTES = 32L << 20;

    /** The calls by which the library tells whether it supports a product. */
    private static final Set<String> ANSWERS = Set.of("cublasLtMatmulAlgoGetHeuristic", "cublasLtMatmul");

    private final CudaDevice device;
    private final Map<CudaProduct.Key, CudaProduct> products = new ConcurrentHashMap<>();
    /** Products that the library cannot do with the sums of columns. */
    private final Set<CudaProduct.Key> unsupported = ConcurrentHashMap.newKeySet();

    private final CudaBatchedProducts batches;
    private long handle;

    CudaMatmul(CudaDevice device) {
        this.device = device;
        this.batches = new CudaBatchedProducts(device);
    }

    void matmul(
            MatmulShape shape,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer c) {
        check(a, b, c, bias, addend);
        long m = shape.m();
        long n = shape.n();
        if (m == 0 || n == 0) {
            return;
        }
        if (shape.k() == 0) {
            // A product of zeros is the same, and the library takes no empty factors.
            try (Buffer zeros = device.allocate(a.dtype(), Math.max(m, n))) {
                CudaDriver.memsetD8Async(
                        zeros.address(),
                        (byte) 0,
                        zeros.byteSize(),
                        device.currentStream().handle());
                MatmulShape one = new MatmulShape(false, true, m, n, 1, 1, 1, shape.ldc());
                matmul(one, zeros, zeros, bias, addend, activation, c);
            }
            return;
        }
        if (activation == Activation.GELU && shape.ldc() != n) {
            MatmulShape packed = new MatmulShape(
                    shape.transposeA(), shape.transposeB(), m, n, shape.k(), shape.lda(), shape.ldb(), n);
            try (Buffer rows = device.allocate(c.dtype(), m * n)) {
                if (addend != null) {
                    copyRows(addend, shape.ldc(), rows, n, shape);
                }
                matmul(packed, a, b, bias, addend == null ? null : rows, activation, rows);
                copyRows(rows, n, c, shape.ldc(), shape);
            }
            return;
        }
        int epilogue = bias == null ? CublasLt.EPILOGUE_DEFAULT : CublasLt.EPILOGUE_BIAS;
        run(key(shape, epilogue, a, b, bias, addend, c), a, b, bias, addend, c);
        if (activation == Activation.GELU) {
            Buffer result = c.slice(0, m * n);
            device.kernels().unary(UnaryOp.GELU, result, result);
        }
    }

    private CudaProduct.Key key(
            MatmulShape shape,
            int epilogue,
            Buffer a,
            Buffer b,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Buffer c) {
        return new CudaProduct.Key(
                shape,
                a.dtype(),
                c.dtype(),
                epilogue,
                addend != null,
                device.tf32(),
                alignment(a),
                alignment(b),
                alignment(addend == null ? c : addend),
                alignment(c),
                bias == null ? CudaProduct.LARGEST_ALIGNMENT : alignment(bias));
    }

    private void copyRows(Buffer x, long ldx, Buffer y, long ldy, MatmulShape shape) {
        device.kernels()
                .copyStrided(x, 0, new long[] {ldx, 1}, y, 0, new long[] {ldy, 1}, new long[] {shape.m(), shape.n()});
    }

    void matmulBatched(
            MatmulShape shape, long batch, Buffer a, long strideA, Buffer b, long strideB, Buffer c, long strideC) {
        check(a, b, c, null, null);
        if (batch == 0 || shape.m() == 0 || shape.n() == 0) {
            return;
        }
        if (shape.k() == 0) {
            for (long i = 0; i < batch; i++) {
                Buffer one = c.slice(i * strideC, (shape.m() - 1) * shape.ldc() + shape.n());
                matmul(shape, a, b, null, null, Activation.NONE, one);
            }
            return;
        }
        CudaThread.get().use(device);
        try {
            batches.run(shape, batch, a, strideA, b, strideB, c, strideC);
        } catch (CudaException e) {
            throw device.failed(e);
        }
    }

    /** The sums of dY's columns come from the product's epilogue where the library knows how, else from a kernel of ours. */
    void linearBackward(long m, long n, long k, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        check(dy, x, dw, db, null);
        MatmulShape shape = MatmulShape.of(true, false, n, k, m);
        if (m == 0 || n == 0 || k == 0 || !withColumnSums(shape, dy, x, dw, db)) {
            matmul(shape, dy, x, null, null, Activation.NONE, dw);
            device.kernels().sum(dy, 1, m, n, 1, db);
        }
    }

    private boolean withColumnSums(MatmulShape shape, Buffer dy, Buffer x, Buffer dw, Buffer db) {
        // In the library's transposed view dY is B, and the sums lie where a bias would.
        CudaProduct.Key key = key(shape, CublasLt.EPILOGUE_BGRADB, dy, x, db, null, dw);
        if (unsupported.contains(key)) {
            return false;
        }
        try {
            run(key, dy, x, db, null, dw);
            return true;
        } catch (CudaProduct.Unsupported e) {
            unsupported.add(key);
        } catch (CudaException e) {
            if (!e.codeName().equals(Cublas.Status.CUBLAS_STATUS_NOT_SUPPORTED.name()) || !ANSWERS.contains(e.call())) {
                throw e;
            }
            unsupported.add(key);
        }
        return false;
    }

    PackedWeight pack(Buffer weight, long n, long k) {
        Buffer part = weight.slice(0, n * k);
        return new Weight(n, k, device.filled(weight.dtype(), n * k, part::copyTo));
    }

    void linear(
            long m,
            Buffer x,
            PackedWeight weight,
            @Nullable Buffer bias,
            @Nullable Buffer addend,
            Activation activation,
            Buffer y) {
        if (!(weight instanceof Weight mine) || mine.copy.device() != device) {
            throw new IllegalArgumentException(
                    "linear: the weight was packed on another device; pack it with the kernels of " + device);
        }
        matmul(MatmulShape.of(false, true, m, mine.n, mine.k), x, mine.copy, bias, addend, activation, y);
    }

    /** A copy as it is: the library reads every layout at full speed. */
    private record Weight(long n, long k, Buffer copy) implements PackedWeight {
        @Override
        public void close() {
            copy.close();
        }
    }

    private void run(
            CudaProduct.Key key, Buffer a, Buffer b, @Nullable Buffer bias, @Nullable Buffer addend, Buffer c) {
        CudaThread.get().use(device);
        CudaProduct product = products.get(key);
        try {
            if (product == null) {
                product = products.computeIfAbsent(key, wanted -> new CudaProduct(handle(), wanted, WORKSPACE_BYTES));
            }
            CudaMemory.Block workspace = device.scratch(product.workspaceBytes());
            try {
                product.run(
                        handle(),
                        a,
                        b,
                        bias,
                        addend,
                        c,
                        workspace.address(),
                        device.currentStream().handle());
            } finally {
                workspace.free();
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

    private static void check(Buffer a, Buffer b, Buffer c, @Nullable Buffer bias, @Nullable Buffer addend) {
        boolean single = a.dtype() == DType.F32 && c.dtype() == DType.F32;
        boolean half = a.dtype() == DType.BF16 && (c.dtype() == DType.F32 || c.dtype() == DType.BF16);
        if (!(single || half) || b.dtype() != a.dtype() || differs(bias, c) || differs(addend, c)) {
            throw new IllegalArgumentException("matmul: " + a.dtype() + " x " + b.dtype()
                    + (bias == null ? "" : " + " + bias.dtype()) + (addend == null ? "" : " + " + addend.dtype())
                    + " -> " + c.dtype()
                    + " is not computed on a GPU; use f32, or bf16 factors, and add what has the result's type");
        }
    }

    private static boolean differs(@Nullable Buffer added, Buffer c) {
        return added != null && added.dtype() != c.dtype();
    }
}
