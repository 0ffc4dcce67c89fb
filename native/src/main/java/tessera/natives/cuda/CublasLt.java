package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * Bindings of the parts of cuBLASLt that matmul needs, in C terms: column-major matrices unless a layout says otherwise,
 * handles and device addresses of type {@code long}, host scalars by address. Data and compute types are those of
 * {@link Cublas}.
 *
 * <p>Every call that can fail throws {@link CudaException}; where {@link CudaLibraries#cublasLt()} is not usable every call
 * throws {@link tessera.natives.NativeLibraryException} with the reason. A handle may be used by several threads; a
 * descriptor may not be changed while another thread uses it.
 */
@CName("cublasLt.h")
public final class CublasLt {
    @CName("CUBLASLT_MATMUL_DESC_TRANSA")
    public static final int DESC_TRANSA = 3;

    @CName("CUBLASLT_MATMUL_DESC_TRANSB")
    public static final int DESC_TRANSB = 4;

    @CName("CUBLASLT_MATMUL_DESC_EPILOGUE")
    public static final int DESC_EPILOGUE = 7;

    @CName("CUBLASLT_MATMUL_DESC_BIAS_POINTER")
    public static final int DESC_BIAS_POINTER = 8;

    @CName("CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE")
    public static final int DESC_BIAS_DATA_TYPE = 26;

    @CName("CUBLASLT_EPILOGUE_DEFAULT")
    public static final int EPILOGUE_DEFAULT = 1;

    @CName("CUBLASLT_EPILOGUE_BIAS")
    public static final int EPILOGUE_BIAS = 4;

    @CName("CUBLASLT_EPILOGUE_GELU")
    public static final int EPILOGUE_GELU = 32;

    @CName("CUBLASLT_EPILOGUE_GELU_AUX")
    public static final int EPILOGUE_GELU_AUX = 160;

    @CName("CUBLASLT_EPILOGUE_DGELU")
    public static final int EPILOGUE_DGELU = 192;

    @CName("CUBLASLT_EPILOGUE_DGELU_BGRAD")
    public static final int EPILOGUE_DGELU_BGRAD = 208;

    @CName("CUBLASLT_EPILOGUE_BGRADB")
    public static final int EPILOGUE_BGRADB = 512;

    @CName("CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES")
    public static final int PREF_MAX_WORKSPACE_BYTES = 1;

    @CName("CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK")
    public static final int PREF_REDUCTION_SCHEME_MASK = 3;

    @CName("CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES")
    public static final int PREF_MIN_ALIGNMENT_A = 5;

    @CName("CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES")
    public static final int PREF_MIN_ALIGNMENT_B = 6;

    @CName("CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES")
    public static final int PREF_MIN_ALIGNMENT_C = 7;

    @CName("CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES")
    public static final int PREF_MIN_ALIGNMENT_D = 8;

    @CName("CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE")
    public static final int REDUCTION_COMPUTE_TYPE = 2;

    /** Bytes of an algorithm, at the start of a result. */
    @CName("sizeof(cublasLtMatmulAlgo_t)")
    public static final int ALGO_BYTES = 64;

    /** Bytes of one result of {@link #heuristics}. */
    @CName("sizeof(cublasLtMatmulHeuristicResult_t)")
    public static final int RESULT_BYTES = 96;

    @CName("offsetof(cublasLtMatmulHeuristicResult_t, algo)")
    private static final int RESULT_ALGO = 0;

    @CName("offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize)")
    private static final int RESULT_WORKSPACE = 64;

    @CName("offsetof(cublasLtMatmulHeuristicResult_t, state)")
    private static final int RESULT_STATE = 72;

    private static final CudaLibrary LIBRARY = CudaLibraries.cublasLt();
    private static final MethodHandle CREATE = LIBRARY.status("cublasLtCreate", ADDRESS);
    private static final MethodHandle GET_VERSION =
            LIBRARY.function("cublasLtGetVersion", FunctionDescriptor.of(JAVA_LONG));
    private static final MethodHandle MATMUL = LIBRARY.status(
            "cublasLtMatmul",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG);
    private static final MethodHandle DESC_CREATE =
            LIBRARY.status("cublasLtMatmulDescCreate", ADDRESS, JAVA_INT, JAVA_INT);
    private static final MethodHandle DESC_DESTROY = LIBRARY.status("cublasLtMatmulDescDestroy", JAVA_LONG);
    private static final MethodHandle DESC_SET =
            LIBRARY.status("cublasLtMatmulDescSetAttribute", JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG);
    private static final MethodHandle LAYOUT_CREATE =
            LIBRARY.status("cublasLtMatrixLayoutCreate", ADDRESS, JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle LAYOUT_DESTROY = LIBRARY.status("cublasLtMatrixLayoutDestroy", JAVA_LONG);
    private static final MethodHandle PREF_CREATE = LIBRARY.status("cublasLtMatmulPreferenceCreate", ADDRESS);
    private static final MethodHandle PREF_DESTROY = LIBRARY.status("cublasLtMatmulPreferenceDestroy", JAVA_LONG);
    private static final MethodHandle PREF_SET =
            LIBRARY.status("cublasLtMatmulPreferenceSetAttribute", JAVA_LONG, JAVA_INT, ADDRESS, JAVA_LONG);
    private static final MethodHandle HEURISTIC = LIBRARY.status(
            "cublasLtMatmulAlgoGetHeuristic",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_INT,
            ADDRESS,
            ADDRESS);
    private static final MethodHandle ALGO_CHECK = LIBRARY.status(
            "cublasLtMatmulAlgoCheck",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            ADDRESS);

    private static final CudaCalls CALLS = Cublas.calls(LIBRARY, "cublasLtGetStatusString");

    /** Eight bytes for an attribute's value, so that a pointer can be set for every product without an allocation. */
    private static final ThreadLocal<MemorySegment> VALUE =
            ThreadLocal.withInitial(() -> Arena.ofAuto().allocate(JAVA_LONG));

    private CublasLt() {}

    /** A handle for the current context. */
    public static long create() {
        return CALLS.create("cublasLtCreate", out -> (int) CREATE.invokeExact(out));
    }

    /** The library's version, for example 130101 for 13.1.1. */
    public static long version() {
        try {
            return (long) GET_VERSION.invokeExact();
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** A description of a product; what is not set has the C default (no transpose, no epilogue). */
    public static long matmulDescCreate(int computeType, int scaleType) {
        return CALLS.create(
                "cublasLtMatmulDescCreate", out -> (int) DESC_CREATE.invokeExact(out, computeType, scaleType));
    }

    public static void matmulDescDestroy(long desc) {
        CALLS.run("cublasLtMatmulDescDestroy", () -> (int) DESC_DESTROY.invokeExact(desc));
    }

    /** Sets an attribute of four bytes, such as {@link #DESC_TRANSA} or {@link #DESC_EPILOGUE}. */
    public static void matmulDescSet(long desc, int attribute, int value) {
        set("cublasLtMatmulDescSetAttribute", DESC_SET, desc, attribute, value);
    }

    /** Sets an attribute of eight bytes, such as {@link #DESC_BIAS_POINTER}. */
    public static void matmulDescSet(long desc, int attribute, long value) {
        set("cublasLtMatmulDescSetAttribute", DESC_SET, desc, attribute, value);
    }

    /** The layout of a matrix with a leading dimension in elements. */
    public static long matrixLayoutCreate(int type, long rows, long columns, long ld) {
        return CALLS.create(
                "cublasLtMatrixLayoutCreate", out -> (int) LAYOUT_CREATE.invokeExact(out, type, rows, columns, ld));
    }

    public static void matrixLayoutDestroy(long layout) {
        CALLS.run("cublasLtMatrixLayoutDestroy", () -> (int) LAYOUT_DESTROY.invokeExact(layout));
    }

    public static long preferenceCreate() {
        return CALLS.create("cublasLtMatmulPreferenceCreate", out -> (int) PREF_CREATE.invokeExact(out));
    }

    public static void preferenceDestroy(long preference) {
        CALLS.run("cublasLtMatmulPreferenceDestroy", () -> (int) PREF_DESTROY.invokeExact(preference));
    }

    /** Sets an attribute of four bytes, such as {@link #PREF_MIN_ALIGNMENT_A}. */
    public static void preferenceSet(long preference, int attribute, int value) {
        set("cublasLtMatmulPreferenceSetAttribute", PREF_SET, preference, attribute, value);
    }

    /** Sets an attribute of eight bytes, such as {@link #PREF_MAX_WORKSPACE_BYTES}. */
    public static void preferenceSet(long preference, int attribute, long value) {
        set("cublasLtMatmulPreferenceSetAttribute", PREF_SET, preference, attribute, value);
    }

    /**
     * Asks for the algorithms that fit a product, best first.
     *
     * @param a layout of a
     * @param b layout of b
     * @param c layout of c
     * @param d layout of d
     * @param results host memory for a whole number of results of {@value #RESULT_BYTES} bytes
     * @return how many were written
     */
    public static int heuristics(
            long handle, long desc, long a, long b, long c, long d, long preference, MemorySegment results) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(JAVA_INT);
            int wanted = Math.toIntExact(results.byteSize() / RESULT_BYTES);
            CALLS.check("cublasLtMatmulAlgoGetHeuristic", (int)
                    HEURISTIC.invokeExact(handle, desc, a, b, c, d, preference, wanted, results, count));
            return count.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * Whether an algorithm that was kept fits a product on this device; only for the version of the library that it came from.
     *
     * @param algorithm host memory that holds it
     * @param result host memory for one result, whose workspace is told where the answer is yes
     */
    public static boolean fits(
            long handle, long desc, long a, long b, long c, long d, MemorySegment algorithm, MemorySegment result) {
        try {
            int status = (int) ALGO_CHECK.invokeExact(handle, desc, a, b, c, d, algorithm.address(), result);
            return status == 0 && works(result, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The algorithm in the n-th result; it lives as long as the results' memory. */
    public static MemorySegment algorithm(MemorySegment results, int n) {
        return results.asSlice((long) n * RESULT_BYTES + RESULT_ALGO, ALGO_BYTES);
    }

    /** Bytes of device memory the n-th result needs. */
    public static long workspaceBytes(MemorySegment results, int n) {
        return results.get(JAVA_LONG, (long) n * RESULT_BYTES + RESULT_WORKSPACE);
    }

    /** Whether the n-th result can be used. */
    public static boolean works(MemorySegment results, int n) {
        return results.get(JAVA_INT, (long) n * RESULT_BYTES + RESULT_STATE) == 0;
    }

    /**
     * {@code d = epilogue(alpha op(a) op(b) + beta c)}.
     *
     * @param alpha address of a host scalar of the description's scale type
     * @param beta address of a host scalar of the description's scale type
     * @param algorithm address of {@value #ALGO_BYTES} bytes, or 0 to let the library choose
     */
    public static void matmul(
            long handle,
            long desc,
            long alpha,
            long a,
            long layoutA,
            long b,
            long layoutB,
            long beta,
            long c,
            long layoutC,
            long d,
            long layoutD,
            long algorithm,
            long workspace,
            long workspaceBytes,
            long stream) {
        CALLS.run("cublasLtMatmul", () -> (int) MATMUL.invokeExact(
                handle,
                desc,
                alpha,
                a,
                layoutA,
                b,
                layoutB,
                beta,
                c,
                layoutC,
                d,
                layoutD,
                algorithm,
                workspace,
                workspaceBytes,
                stream));
    }

    private static void set(String call, MethodHandle handle, long object, int attribute, int value) {
        try {
            MemorySegment memory = VALUE.get();
            memory.set(JAVA_INT, 0, value);
            CALLS.check(call, (int) handle.invokeExact(object, attribute, memory, (long) Integer.BYTES));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    private static void set(String call, MethodHandle handle, long object, int attribute, long value) {
        try {
            MemorySegment memory = VALUE.get();
            memory.set(JAVA_LONG, 0, value);
            CALLS.check(call, (int) handle.invokeExact(object, attribute, memory, (long) Long.BYTES));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }
}
