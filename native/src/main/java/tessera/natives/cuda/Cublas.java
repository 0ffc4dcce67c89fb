package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.invoke.MethodHandle;
import java.util.List;

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

    @CName("CUDA_R_16BF")
    public static final int R_16BF = 14;

    @CName("CUBLAS_COMPUTE_32F")
    public static final int COMPUTE_32F = 68;

    @CName("CUBLAS_COMPUTE_32F_FAST_TF32")
    public static final int COMPUTE_32F_FAST_TF32 = 77;

    @CName("CUBLAS_GEMM_DEFAULT")
    public static final int GEMM_DEFAULT = -1;

    @CName("CUBLAS_DEFAULT_MATH")
    public static final int DEFAULT_MATH = 0;

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
    private static final MethodHandle GEMM_STRIDED_BATCHED_EX = LIBRARY.status(
            "cublasGemmStridedBatchedEx_64",
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            JAVA_INT);
    private static final CudaCalls CALLS = calls(LIBRARY, "cublasGetStatusString");

    /** The status codes shared by cuBLAS and cuBLASLt, by their C names. */
    @CName("cublas_v2.h")
    public enum Status implements CudaCalls.Status {
        CUBLAS_STATUS_SUCCESS(0, ""),
        CUBLAS_STATUS_NOT_INITIALIZED(1, "check with nvidia-smi that the device works and has memory left"),
        CUBLAS_STATUS_ALLOC_FAILED(3, "use a smaller batch or close tensors and sessions no longer needed"),
        CUBLAS_STATUS_INVALID_VALUE(7, CudaCalls.FAULT),
        CUBLAS_STATUS_ARCH_MISMATCH(8, "this device lacks the type or feature; compute in f32"),
        CUBLAS_STATUS_MAPPING_ERROR(11, CudaCalls.CULPRIT),
        CUBLAS_STATUS_EXECUTION_FAILED(13, CudaCalls.CULPRIT),
        CUBLAS_STATUS_INTERNAL_ERROR(14, CudaCalls.CULPRIT),
        CUBLAS_STATUS_NOT_SUPPORTED(15, "this shape, alignment or type is not supported; compute in f32"),
        CUBLAS_STATUS_LICENSE_ERROR(16, "install the cuBLAS of CUDA 12 or 13 anew");

        private final int code;
        private final String advice;

        Status(int code, String advice) {
            this.code = code;
            this.advice = advice;
        }

        /** The number in C. */
        @Override
        public int code() {
            return code;
        }

        @Override
        public String advice() {
            return advice;
        }

        @Override
        public boolean outOfMemory() {
            return this == CUBLAS_STATUS_ALLOC_FAILED;
        }
    }

    private Cublas() {}

    /** A handle for the current context; it holds device memory until destroyed. */
    public static long create() {
        return CALLS.create("cublasCreate", out -> (int) CREATE.invokeExact(out));
    }

    public static void destroy(long handle) {
        CALLS.run("cublasDestroy", () -> (int) DESTROY.invokeExact(handle));
    }

    /** Sets the stream of later calls; this takes a workspace set before away. */
    public static void setStream(long handle, long stream) {
        CALLS.run("cublasSetStream", () -> (int) SET_STREAM.invokeExact(handle, stream));
    }

    /** Gives device memory of the caller's to later calls, which capture in a graph and equal results need. */
    public static void setWorkspace(long handle, long address, long bytes) {
        CALLS.run("cublasSetWorkspace", () -> (int) SET_WORKSPACE.invokeExact(handle, address, bytes));
    }

    public static void setMathMode(long handle, int mode) {
        CALLS.run("cublasSetMathMode", () -> (int) SET_MATH_MODE.invokeExact(handle, mode));
    }

    /**
     * {@code c = alpha op(a) op(b) + beta c} for each of {@code batch} triples at equal distances.
     *
     * @param alpha address of a host float
     * @param strideA distance of two a in elements; 0 uses one for all
     * @param strideB distance of two b in elements; 0 uses one for all
     * @param beta address of a host float
     * @param strideC distance of two c in elements
     */
    public static void gemmStridedBatchedEx(
            long handle,
            int opA,
            int opB,
            long m,
            long n,
            long k,
            long alpha,
            long a,
            int typeA,
            long lda,
            long strideA,
            long b,
            int typeB,
            long ldb,
            long strideB,
            long beta,
            long c,
            int typeC,
            long ldc,
            long strideC,
            long batch,
            int computeType) {
        CALLS.run("cublasGemmStridedBatchedEx", () -> (int) GEMM_STRIDED_BATCHED_EX.invokeExact(
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
    }

    /**
     * The calls of cuBLAS or cuBLASLt, which share their statuses.
     *
     * @param text name of the function that explains one
     */
    static CudaCalls calls(CudaLibrary library, String text) {
        MethodHandle explain = library.function(text, FunctionDescriptor.of(ADDRESS, JAVA_INT));
        return new CudaCalls(
                List.of(Status.values()),
                status -> "unknown status",
                status -> library.has(text) ? CudaLibrary.text(explain, status) : "");
    }
}
