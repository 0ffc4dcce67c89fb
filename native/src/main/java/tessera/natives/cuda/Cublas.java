package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Bindings of the parts of cuBLAS that batched products need, in C terms: column-major matrices, handles and device
 * addresses of type {@code long}, host scalars by address.
 *
 * <p>Every call that can fail throws {@link CudaException}; where {@link CudaLibraries#cublas()} is not usable every call
 * throws {@link tessera.natives.NativeLibraryException} with the reason. A handle may be used by one thread at a time.
 */
@CName("cublas_v2.h")
public final class Cublas {
    @CName("CUBLAS_OP_N")
    public static final int OP_N = 0;

    @CName("CUBLAS_OP_T")
    public static final int OP_T = 1;

    @CName("CUDA_R_32F")
    public static final int R_32F = 0;

    @CName("CUDA_R_16F")
    public static final int R_16F = 2;

    @CName("CUDA_R_16BF")
    public static final int R_16BF = 14;

    @CName("CUBLAS_COMPUTE_32F")
    public static final int COMPUTE_32F = 68;

    @CName("CUBLAS_COMPUTE_32F_FAST_TF32")
    public static final int COMPUTE_32F_FAST_TF32 = 77;

    @CName("CUBLAS_GEMM_DEFAULT")
    public static final int GEMM_DEFAULT = -1;

    @CName("CUBLAS_POINTER_MODE_HOST")
    public static final int POINTER_MODE_HOST = 0;

    @CName("CUBLAS_POINTER_MODE_DEVICE")
    public static final int POINTER_MODE_DEVICE = 1;

    @CName("CUBLAS_DEFAULT_MATH")
    public static final int DEFAULT_MATH = 0;

    @CName("CUBLAS_PEDANTIC_MATH")
    public static final int PEDANTIC_MATH = 2;

    @CName("CUBLAS_TF32_TENSOR_OP_MATH")
    public static final int TF32_TENSOR_OP_MATH = 3;

    @CName("CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION")
    public static final int MATH_DISALLOW_REDUCED_PRECISION_REDUCTION = 16;

    /** Address of a host float of value 1, for alpha and beta. */
    public static final long ONE = Arena.global().allocateFrom(JAVA_FLOAT, 1f).address();

    /** Address of a host float of value 0, for alpha and beta. */
    public static final long ZERO = Arena.global().allocateFrom(JAVA_FLOAT, 0f).address();

    private static final CudaLibrary LIBRARY = CudaLibraries.cublas();
    private static final MethodHandle CREATE = LIBRARY.status("cublasCreate_v2", ADDRESS);
    private static final MethodHandle DESTROY = LIBRARY.status("cublasDestroy_v2", JAVA_LONG);
    private static final MethodHandle SET_STREAM = LIBRARY.status("cublasSetStream_v2", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle SET_WORKSPACE =
            LIBRARY.status("cublasSetWorkspace_v2", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle SET_MATH_MODE = LIBRARY.status("cublasSetMathMode", JAVA_LONG, JAVA_INT);
    private static final MethodHandle SET_POINTER_MODE = LIBRARY.status("cublasSetPointerMode_v2", JAVA_LONG, JAVA_INT);
    private static final MethodHandle GET_VERSION = LIBRARY.status("cublasGetVersion_v2", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_STATUS_STRING =
            LIBRARY.function("cublasGetStatusString", FunctionDescriptor.of(ADDRESS, JAVA_INT));
    private static final MethodHandle GEMM_EX = LIBRARY.status(
            "cublasGemmEx",
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT);
    private static final MethodHandle GEMM_STRIDED_BATCHED_EX = LIBRARY.status(
            "cublasGemmStridedBatchedEx",
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT);
    private static final MethodHandle GEMM_BATCHED_EX = LIBRARY.status(
            "cublasGemmBatchedEx",
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT,
            JAVA_INT);

    /** The status codes shared by cuBLAS and cuBLASLt, by their C names. */
    @CName("cublas_v2.h")
    public enum Status {
        CUBLAS_STATUS_SUCCESS(0, ""),
        CUBLAS_STATUS_NOT_INITIALIZED(1, "check with nvidia-smi that the device works and is not out of memory"),
        CUBLAS_STATUS_ALLOC_FAILED(3, "use a smaller batch or close tensors and sessions no longer needed"),
        CUBLAS_STATUS_INVALID_VALUE(7, ""),
        CUBLAS_STATUS_ARCH_MISMATCH(8, "this device lacks the type or feature; compute in f32"),
        CUBLAS_STATUS_MAPPING_ERROR(11, ""),
        CUBLAS_STATUS_EXECUTION_FAILED(
                13,
                "it may come from an earlier launch: to find the kernel, run again with -D"
                        + CudaException.DEBUG_PROPERTY + "=true or under compute-sanitizer"),
        CUBLAS_STATUS_INTERNAL_ERROR(14, ""),
        CUBLAS_STATUS_NOT_SUPPORTED(15, "this shape, alignment or type is not supported; compute in f32"),
        CUBLAS_STATUS_LICENSE_ERROR(16, "");

        private final int code;
        private final String advice;

        Status(int code, String advice) {
            this.code = code;
            this.advice = advice;
        }

        /** The number in C. */
        public int code() {
            return code;
        }
    }

    private Cublas() {}

    /** A handle for the current context; it holds device memory until destroyed. */
    public static long create() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("cublasCreate", (int) CREATE.invokeExact(out));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    public static void destroy(long handle) {
        try {
            check("cublasDestroy", (int) DESTROY.invokeExact(handle));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** Sets the stream of later calls; this takes a workspace set before away. */
    public static void setStream(long handle, long stream) {
        try {
            check("cublasSetStream", (int) SET_STREAM.invokeExact(handle, stream));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** Gives device memory of the caller's to later calls, which capture in a graph and equal results need. */
    public static void setWorkspace(long handle, long address, long bytes) {
        try {
            check("cublasSetWorkspace", (int) SET_WORKSPACE.invokeExact(handle, address, bytes));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    public static void setMathMode(long handle, int mode) {
        try {
            check("cublasSetMathMode", (int) SET_MATH_MODE.invokeExact(handle, mode));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    public static void setPointerMode(long handle, int mode) {
        try {
            check("cublasSetPointerMode", (int) SET_POINTER_MODE.invokeExact(handle, mode));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The library's version, for example 130101 for 13.1.1. */
    public static int version(long handle) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_INT);
            check("cublasGetVersion", (int) GET_VERSION.invokeExact(handle, out));
            return out.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * {@code c = alpha op(a) op(b) + beta c}.
     *
     * @param alpha address of a host float
     * @param beta address of a host float
     */
    public static void gemmEx(
            long handle,
            int opA,
            int opB,
            int m,
            int n,
            int k,
            long alpha,
            long a,
            int typeA,
            int lda,
            long b,
            int typeB,
            int ldb,
            long beta,
            long c,
            int typeC,
            int ldc,
            int computeType) {
        try {
            check("cublasGemmEx", (int) GEMM_EX.invokeExact(
                    handle,
                    opA,
                    opB,
                    m,
                    n,
                    k,
                    alpha,
                    a,
                    typeA,
                    lda,
                    b,
                    typeB,
                    ldb,
                    beta,
                    c,
                    typeC,
                    ldc,
                    computeType,
                    GEMM_DEFAULT));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * The product of {@link #gemmEx} for each of {@code batch} triples at equal distances.
     *
     * @param strideA distance of two a in elements; 0 uses one for all
     * @param strideB distance of two b in elements; 0 uses one for all
     * @param strideC distance of two c in elements
     */
    public static void gemmStridedBatchedEx(
            long handle,
            int opA,
            int opB,
            int m,
            int n,
            int k,
            long alpha,
            long a,
            int typeA,
            int lda,
            long strideA,
            long b,
            int typeB,
            int ldb,
            long strideB,
            long beta,
            long c,
            int typeC,
            int ldc,
            long strideC,
            int batch,
            int computeType) {
        try {
            check("cublasGemmStridedBatchedEx", (int) GEMM_STRIDED_BATCHED_EX.invokeExact(
                    handle,
                    opA,
                    opB,
                    m,
                    n,
                    k,
                    alpha,
                    a,
                    typeA,
                    lda,
                    strideA,
                    b,
                    typeB,
                    ldb,
                    strideB,
                    beta,
                    c,
                    typeC,
                    ldc,
                    strideC,
                    batch,
                    computeType,
                    GEMM_DEFAULT));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * The product of {@link #gemmEx} for each of {@code batch} triples.
     *
     * @param as device address of {@code batch} device addresses
     * @param bs device address of {@code batch} device addresses
     * @param cs device address of {@code batch} device addresses
     */
    public static void gemmBatchedEx(
            long handle,
            int opA,
            int opB,
            int m,
            int n,
            int k,
            long alpha,
            long as,
            int typeA,
            int lda,
            long bs,
            int typeB,
            int ldb,
            long beta,
            long cs,
            int typeC,
            int ldc,
            int batch,
            int computeType) {
        try {
            check("cublasGemmBatchedEx", (int) GEMM_BATCHED_EX.invokeExact(
                    handle,
                    opA,
                    opB,
                    m,
                    n,
                    k,
                    alpha,
                    as,
                    typeA,
                    lda,
                    bs,
                    typeB,
                    ldb,
                    beta,
                    cs,
                    typeC,
                    ldc,
                    batch,
                    computeType,
                    GEMM_DEFAULT));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static void check(String call, int status) {
        if (status != 0) {
            String text = LIBRARY.has("cublasGetStatusString") ? CudaLibrary.text(GET_STATUS_STRING, status) : "";
            throw failure(call, status, text);
        }
    }

    /** The exception for a status of cuBLAS or cuBLASLt. */
    static CudaException failure(String call, int status, String text) {
        for (Status known : Status.values()) {
            if (known.code == status) {
                boolean outOfMemory = known == Status.CUBLAS_STATUS_ALLOC_FAILED;
                return CudaException.library(call, status, known.name(), text, known.advice, outOfMemory);
            }
        }
        return CudaException.library(call, status, "unknown status", text, "", false);
    }
}
