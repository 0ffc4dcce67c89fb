package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * Bindings of cuDNN 9's backend, which builds a graph of operations out of descriptors and executes it by a plan, in C
 * terms: handles, descriptors and device addresses of type {@code long}.
 *
 * <p>A descriptor is created, given its attributes, finalised, and from then on only read; who creates one destroys it.
 * Every call that can fail throws {@link CudaException} with the library's own explanation; where
 * {@link CudaLibraries#cudnn()} is not usable every call throws {@link tessera.natives.NativeLibraryException} with the
 * reason. A handle may be used by one thread at a time.
 */
@CName("cudnn.h")
public final class Cudnn {
    @CName("CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR")
    public static final int EXECUTION_PLAN_DESCRIPTOR = 5;

    @CName("CUDNN_BACKEND_ENGINECFG_DESCRIPTOR")
    public static final int ENGINECFG_DESCRIPTOR = 3;

    @CName("CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR")
    public static final int ENGINEHEUR_DESCRIPTOR = 4;

    @CName("CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR")
    public static final int OPERATIONGRAPH_DESCRIPTOR = 15;

    @CName("CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR")
    public static final int VARIANT_PACK_DESCRIPTOR = 16;

    @CName("CUDNN_BACKEND_TENSOR_DESCRIPTOR")
    public static final int TENSOR_DESCRIPTOR = 17;

    @CName("CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR")
    public static final int OPERATION_SDPA_FWD_DESCRIPTOR = 41;

    @CName("CUDNN_BACKEND_POINTWISE_DESCRIPTOR")
    public static final int POINTWISE_DESCRIPTOR = 0;

    @CName("CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR")
    public static final int OPERATION_POINTWISE_DESCRIPTOR = 13;

    @CName("CUDNN_BACKEND_MATMUL_DESCRIPTOR")
    public static final int MATMUL_DESCRIPTOR = 18;

    @CName("CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR")
    public static final int OPERATION_MATMUL_DESCRIPTOR = 19;

    @CName("CUDNN_BACKEND_REDUCTION_DESCRIPTOR")
    public static final int REDUCTION_DESCRIPTOR = 21;

    @CName("CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR")
    public static final int OPERATION_REDUCTION_DESCRIPTOR = 22;

    @CName("CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR")
    public static final int OPERATION_RESHAPE_DESCRIPTOR = 31;

    @CName("CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT")
    public static final int TENSOR_BYTE_ALIGNMENT = 900;

    @CName("CUDNN_ATTR_TENSOR_DATA_TYPE")
    public static final int TENSOR_DATA_TYPE = 901;

    @CName("CUDNN_ATTR_TENSOR_DIMENSIONS")
    public static final int TENSOR_DIMENSIONS = 902;

    @CName("CUDNN_ATTR_TENSOR_STRIDES")
    public static final int TENSOR_STRIDES = 903;

    @CName("CUDNN_ATTR_TENSOR_UNIQUE_ID")
    public static final int TENSOR_UNIQUE_ID = 906;

    @CName("CUDNN_ATTR_TENSOR_IS_VIRTUAL")
    public static final int TENSOR_IS_VIRTUAL = 907;

    @CName("CUDNN_ATTR_TENSOR_IS_BY_VALUE")
    public static final int TENSOR_IS_BY_VALUE = 908;

    @CName("CUDNN_ATTR_OPERATIONGRAPH_HANDLE")
    public static final int OPERATIONGRAPH_HANDLE = 800;

    @CName("CUDNN_ATTR_OPERATIONGRAPH_OPS")
    public static final int OPERATIONGRAPH_OPS = 801;

    @CName("CUDNN_ATTR_ENGINEHEUR_MODE")
    public static final int ENGINEHEUR_MODE = 200;

    @CName("CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH")
    public static final int ENGINEHEUR_OPERATION_GRAPH = 201;

    @CName("CUDNN_ATTR_ENGINEHEUR_RESULTS")
    public static final int ENGINEHEUR_RESULTS = 202;

    @CName("CUDNN_ATTR_EXECUTION_PLAN_HANDLE")
    public static final int EXECUTION_PLAN_HANDLE = 400;

    @CName("CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG")
    public static final int EXECUTION_PLAN_ENGINE_CONFIG = 401;

    @CName("CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE")
    public static final int EXECUTION_PLAN_WORKSPACE_SIZE = 402;

    @CName("CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS")
    public static final int VARIANT_PACK_UNIQUE_IDS = 1000;

    @CName("CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS")
    public static final int VARIANT_PACK_DATA_POINTERS = 1001;

    @CName("CUDNN_ATTR_VARIANT_PACK_WORKSPACE")
    public static final int VARIANT_PACK_WORKSPACE = 1003;

    @CName("CUDNN_ATTR_POINTWISE_MODE")
    public static final int POINTWISE_MODE = 0;

    @CName("CUDNN_ATTR_POINTWISE_MATH_PREC")
    public static final int POINTWISE_MATH_PREC = 1;

    @CName("CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR")
    public static final int OPERATION_POINTWISE_PW_DESCRIPTOR = 750;

    @CName("CUDNN_ATTR_OPERATION_POINTWISE_XDESC")
    public static final int OPERATION_POINTWISE_XDESC = 751;

    @CName("CUDNN_ATTR_OPERATION_POINTWISE_BDESC")
    public static final int OPERATION_POINTWISE_BDESC = 752;

    @CName("CUDNN_ATTR_OPERATION_POINTWISE_YDESC")
    public static final int OPERATION_POINTWISE_YDESC = 753;

    @CName("CUDNN_ATTR_MATMUL_COMP_TYPE")
    public static final int MATMUL_COMP_TYPE = 1500;

    @CName("CUDNN_ATTR_OPERATION_MATMUL_ADESC")
    public static final int OPERATION_MATMUL_ADESC = 1520;

    @CName("CUDNN_ATTR_OPERATION_MATMUL_BDESC")
    public static final int OPERATION_MATMUL_BDESC = 1521;

    @CName("CUDNN_ATTR_OPERATION_MATMUL_CDESC")
    public static final int OPERATION_MATMUL_CDESC = 1522;

    @CName("CUDNN_ATTR_OPERATION_MATMUL_DESC")
    public static final int OPERATION_MATMUL_DESC = 1523;

    @CName("CUDNN_ATTR_REDUCTION_OPERATOR")
    public static final int REDUCTION_OPERATOR = 1600;

    @CName("CUDNN_ATTR_REDUCTION_COMP_TYPE")
    public static final int REDUCTION_COMP_TYPE = 1601;

    @CName("CUDNN_ATTR_OPERATION_REDUCTION_XDESC")
    public static final int OPERATION_REDUCTION_XDESC = 1610;

    @CName("CUDNN_ATTR_OPERATION_REDUCTION_YDESC")
    public static final int OPERATION_REDUCTION_YDESC = 1611;

    @CName("CUDNN_ATTR_OPERATION_REDUCTION_DESC")
    public static final int OPERATION_REDUCTION_DESC = 1612;

    @CName("CUDNN_ATTR_OPERATION_RESHAPE_XDESC")
    public static final int OPERATION_RESHAPE_XDESC = 2200;

    @CName("CUDNN_ATTR_OPERATION_RESHAPE_YDESC")
    public static final int OPERATION_RESHAPE_YDESC = 2201;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC")
    public static final int OPERATION_SDPA_FWD_QDESC = 2800;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC")
    public static final int OPERATION_SDPA_FWD_KDESC = 2801;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC")
    public static final int OPERATION_SDPA_FWD_VDESC = 2802;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC")
    public static final int OPERATION_SDPA_FWD_ODESC = 2803;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_STATSDESC")
    public static final int OPERATION_SDPA_FWD_STATSDESC = 2804;

    @CName("CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC")
    public static final int OPERATION_SDPA_FWD_SCALEDESC = 2805;

    @CName("CUDNN_TYPE_HANDLE")
    public static final int TYPE_HANDLE = 0;

    @CName("CUDNN_TYPE_DATA_TYPE")
    public static final int TYPE_DATA_TYPE = 1;

    @CName("CUDNN_TYPE_BOOLEAN")
    public static final int TYPE_BOOLEAN = 2;

    @CName("CUDNN_TYPE_INT64")
    public static final int TYPE_INT64 = 3;

    @CName("CUDNN_TYPE_VOID_PTR")
    public static final int TYPE_VOID_PTR = 6;

    @CName("CUDNN_TYPE_HEUR_MODE")
    public static final int TYPE_HEUR_MODE = 8;

    @CName("CUDNN_TYPE_BACKEND_DESCRIPTOR")
    public static final int TYPE_BACKEND_DESCRIPTOR = 15;

    @CName("CUDNN_TYPE_POINTWISE_MODE")
    public static final int TYPE_POINTWISE_MODE = 14;

    @CName("CUDNN_TYPE_REDUCTION_OPERATOR_TYPE")
    public static final int TYPE_REDUCTION_OPERATOR = 18;

    @CName("CUDNN_DATA_FLOAT")
    public static final int FLOAT = 0;

    @CName("CUDNN_DATA_HALF")
    public static final int HALF = 2;

    @CName("CUDNN_DATA_BFLOAT16")
    public static final int BFLOAT16 = 9;

    @CName("CUDNN_POINTWISE_MUL")
    public static final int POINTWISE_MUL = 1;

    @CName("CUDNN_POINTWISE_SUB")
    public static final int POINTWISE_SUB = 9;

    @CName("CUDNN_POINTWISE_EXP")
    public static final int POINTWISE_EXP = 13;

    @CName("CUDNN_POINTWISE_IDENTITY")
    public static final int POINTWISE_IDENTITY = 21;

    @CName("CUDNN_REDUCE_TENSOR_ADD")
    public static final int REDUCE_TENSOR_ADD = 0;

    @CName("CUDNN_HEUR_MODE_A")
    public static final int HEUR_MODE_A = 3;

    @CName("CUDNN_HEUR_MODE_FALLBACK")
    public static final int HEUR_MODE_FALLBACK = 2;

    /** Bytes of the longest explanation asked for. */
    private static final int MESSAGE_BYTES = 1024;

    private static final CudaLibrary LIBRARY = CudaLibraries.cudnn();
    private static final MethodHandle CREATE = LIBRARY.status("cudnnCreate", ADDRESS);
    private static final MethodHandle SET_STREAM = LIBRARY.status("cudnnSetStream", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle GET_VERSION =
            LIBRARY.function("cudnnGetVersion", FunctionDescriptor.of(JAVA_LONG));
    private static final MethodHandle GET_ERROR_STRING =
            LIBRARY.function("cudnnGetErrorString", FunctionDescriptor.of(ADDRESS, JAVA_INT));
    private static final MethodHandle GET_LAST_ERROR_STRING =
            LIBRARY.function("cudnnGetLastErrorString", FunctionDescriptor.ofVoid(ADDRESS, JAVA_LONG));
    private static final MethodHandle CREATE_DESCRIPTOR =
            LIBRARY.status("cudnnBackendCreateDescriptor", JAVA_INT, ADDRESS);
    private static final MethodHandle DESTROY_DESCRIPTOR = LIBRARY.status("cudnnBackendDestroyDescriptor", JAVA_LONG);
    private static final MethodHandle FINALIZE = LIBRARY.status("cudnnBackendFinalize", JAVA_LONG);
    private static final MethodHandle SET_ATTRIBUTE =
            LIBRARY.status("cudnnBackendSetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_ATTRIBUTE =
            LIBRARY.status("cudnnBackendGetAttribute", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, ADDRESS, ADDRESS);
    private static final MethodHandle EXECUTE = LIBRARY.status("cudnnBackendExecute", JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final CudaCalls CALLS = new CudaCalls(
            List.of(Status.values()),
            status ->
                    LIBRARY.has("cudnnGetErrorString") ? CudaLibrary.text(GET_ERROR_STRING, status) : "unknown status",
            status -> lastError());

    /** The status codes with advice, by their C names; an unlisted one is advised like the thousand it belongs to. */
    @CName("cudnn.h")
    public enum Status implements CudaCalls.Status {
        CUDNN_STATUS_SUCCESS(0, ""),
        CUDNN_STATUS_NOT_INITIALIZED(1001, "check with nvidia-smi that the device and its driver work"),
        CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH(1002, "install all libraries of cuDNN from one version"),
        CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED(1008, "install all libraries of cuDNN beside libcudnn.so.9"),
        CUDNN_STATUS_BAD_PARAM(2000, CudaCalls.FAULT),
        CUDNN_STATUS_NOT_SUPPORTED(3000, "this shape, type or device is not supported; use the library's own kernels"),
        CUDNN_STATUS_INTERNAL_ERROR(4000, "run again with CUDNN_LOGLEVEL_DBG=2 and CUDNN_LOGDEST_DBG=stderr"),
        CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED(
                4004, "use a smaller batch or close tensors and sessions no longer needed"),
        CUDNN_STATUS_EXECUTION_FAILED(5000, CudaCalls.CULPRIT);

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
            return this == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED;
        }
    }

    private Cudnn() {}

    /** A handle for the current context. */
    public static long create() {
        return CALLS.create("cudnnCreate", out -> (int) CREATE.invokeExact(out));
    }

    public static void setStream(long handle, long stream) {
        CALLS.run("cudnnSetStream", () -> (int) SET_STREAM.invokeExact(handle, stream));
    }

    /** The library's version, for example 92400 for 9.24.0. */
    public static long version() {
        try {
            return (long) GET_VERSION.invokeExact();
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** An empty descriptor of one of the types named {@code _DESCRIPTOR}. */
    public static long createDescriptor(int type) {
        return CALLS.create("cudnnBackendCreateDescriptor", out -> (int) CREATE_DESCRIPTOR.invokeExact(type, out));
    }

    public static void destroyDescriptor(long descriptor) {
        CALLS.run("cudnnBackendDestroyDescriptor", () -> (int) DESTROY_DESCRIPTOR.invokeExact(descriptor));
    }

    /** Checks a descriptor's attributes and makes it usable; for a plan this compiles its kernels. */
    public static void finalizeDescriptor(long descriptor) {
        CALLS.run("cudnnBackendFinalize", () -> (int) FINALIZE.invokeExact(descriptor));
    }

    /**
     * Sets an attribute of eight-byte elements.
     *
     * @param type {@link #TYPE_HANDLE}, {@link #TYPE_INT64}, {@link #TYPE_VOID_PTR} or {@link #TYPE_BACKEND_DESCRIPTOR}
     */
    public static void setLongs(long descriptor, int attribute, int type, long... values) {
        try (Arena arena = Arena.ofConfined()) {
            set(descriptor, attribute, type, values.length, arena.allocateFrom(JAVA_LONG, values));
        }
    }

    /**
     * Sets an attribute that is one enum value.
     *
     * @param type {@link #TYPE_DATA_TYPE}, {@link #TYPE_HEUR_MODE}, {@link #TYPE_POINTWISE_MODE} or {@link
     *     #TYPE_REDUCTION_OPERATOR}
     */
    public static void setEnum(long descriptor, int attribute, int type, int value) {
        try (Arena arena = Arena.ofConfined()) {
            set(descriptor, attribute, type, 1, arena.allocateFrom(JAVA_INT, value));
        }
    }

    public static void setBoolean(long descriptor, int attribute, boolean value) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment memory = arena.allocate(JAVA_BOOLEAN);
            memory.set(JAVA_BOOLEAN, 0, value);
            set(descriptor, attribute, TYPE_BOOLEAN, 1, memory);
        }
    }

    /** One eight-byte number of a finalised descriptor, such as {@link #EXECUTION_PLAN_WORKSPACE_SIZE}. */
    public static long getLong(long descriptor, int attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(JAVA_LONG);
            get(descriptor, attribute, TYPE_INT64, 1, value);
            return value.get(JAVA_LONG, 0);
        }
    }

    /**
     * Fills descriptors with what a finalised one holds, such as {@link #ENGINEHEUR_RESULTS}.
     *
     * @param into empty descriptors of the attribute's type, made by the caller
     * @return how many of them were filled
     */
    public static int getDescriptors(long descriptor, int attribute, long... into) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment values = arena.allocateFrom(JAVA_LONG, into);
            long count = get(descriptor, attribute, TYPE_BACKEND_DESCRIPTOR, into.length, values);
            return Math.toIntExact(Math.min(count, into.length));
        }
    }

    /** Starts a plan on the handle's stream, with the addresses that a variant pack holds. */
    public static void execute(long handle, long plan, long variantPack) {
        CALLS.run("cudnnBackendExecute", () -> (int) EXECUTE.invokeExact(handle, plan, variantPack));
    }

    private static void set(long descriptor, int attribute, int type, long count, MemorySegment values) {
        CALLS.run("cudnnBackendSetAttribute(" + attribute + ")", () ->
                (int) SET_ATTRIBUTE.invokeExact(descriptor, attribute, type, count, values));
    }

    /** Returns how many elements the attribute has, which may be more than were asked for. */
    private static long get(long descriptor, int attribute, int type, long count, MemorySegment values) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment actual = arena.allocate(JAVA_LONG);
            CALLS.check("cudnnBackendGetAttribute(" + attribute + ")", (int)
                    GET_ATTRIBUTE.invokeExact(descriptor, attribute, type, count, actual, values));
            return actual.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The library's explanation of the calling thread's last failure. */
    private static String lastError() {
        if (!LIBRARY.has("cudnnGetLastErrorString")) {
            return "";
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment message = arena.allocate(MESSAGE_BYTES);
            GET_LAST_ERROR_STRING.invokeExact(message, (long) MESSAGE_BYTES);
            return message.getString(0).replace('\n', ' ').strip();
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }
}
