package tessera.natives.onednn;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.natives.NativeFinding;
import tessera.natives.NativeLibraries;
import tessera.natives.NativeLibraryException;

/**
 * Bindings of the parts of oneDNN 3 that matmul needs, by their C names and in C terms.
 *
 * <p>Objects of the library (engine, stream, descriptors, primitives, memories) are handles of type {@code long}; who
 * creates one destroys it. Every call that can fail throws {@link OneDnnException}. Nothing here may be called unless
 * {@link #finding()} says that the library is usable.
 *
 * <p>The library runs on OpenMP, whose threads spin at the end of every parallel region. Callers that bring their own
 * threads set {@link #setThreads} to one around both the creation and the execution of a primitive.
 */
public final class OneDnn {
    public static final int BF16 = 2;
    public static final int F32 = 3;
    public static final int S32 = 4;
    public static final int S8 = 5;
    public static final int U8 = 6;
    public static final int FORMAT_ANY = 1;
    public static final int GELU_ERF = 0x31;
    public static final int BINARY_ADD = 0x1fff0;
    public static final int ARG_SRC = 1;
    public static final int ARG_DST = 17;
    public static final int ARG_WEIGHTS = 33;
    public static final int ARG_BIAS = 41;
    /** What the first post-operation adds. */
    public static final int ARG_ADDEND = 32768 | 2;

    public static final int ARG_SCRATCHPAD = 80;
    /** Scales of the weights, see {@link #attrScaleColumns}. */
    public static final int ARG_WEIGHTS_SCALES = 4096 | ARG_WEIGHTS;

    public static final int QUERY_WEIGHTS = 131;
    public static final int QUERY_SCRATCHPAD = 136;

    /** Bytes of one {@code dnnl_exec_arg_t}: the argument's number in the first four, the memory's handle in the last eight. */
    public static final long EXEC_ARG_BYTES = 16;

    private static final int CPU = 1;
    private static final int STREAM_IN_ORDER = 1;
    private static final int SCRATCHPAD_USER = 1;
    private static final int QUERY_IMPLEMENTATION = 8;

    /** Mask of the second axis. */
    private static final int COLUMNS = 2;

    private static final String FILE = "libdnnl.so.3";
    private static final List<String> MISSING = new ArrayList<>();
    private static final @Nullable SymbolLookup LIBRARY;
    private static final NativeFinding FINDING;

    static {
        SymbolLookup library = null;
        String detail;
        try {
            Path path = new NativeLibraries()
                    .find("org/bytedeco/dnnl/" + NativeLibraries.platform(), List.of(FILE, "libgomp.so.1"));
            library = open(path);
            detail = path.toString();
        } catch (NativeLibraryException e) {
            detail = String.valueOf(e.getMessage());
        }
        LIBRARY = library;
        FINDING = new NativeFinding("oneDNN", library != null, detail);
    }

    private static final MethodHandle ENGINE_CREATE = status("dnnl_engine_create", JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle STREAM_CREATE = status("dnnl_stream_create", JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle STREAM_DESTROY = status("dnnl_stream_destroy", JAVA_LONG);
    private static final MethodHandle MEMORY_DESC_CREATE_WITH_STRIDES =
            status("dnnl_memory_desc_create_with_strides", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle MEMORY_DESC_CREATE_WITH_TAG =
            status("dnnl_memory_desc_create_with_tag", JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle MEMORY_DESC_CLONE = status("dnnl_memory_desc_clone", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle MEMORY_DESC_DESTROY = status("dnnl_memory_desc_destroy", JAVA_LONG);
    private static final MethodHandle MEMORY_DESC_GET_SIZE =
            function("dnnl_memory_desc_get_size", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG));
    private static final MethodHandle MEMORY_CREATE =
            status("dnnl_memory_create", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle MEMORY_DESTROY = status("dnnl_memory_destroy", JAVA_LONG);
    private static final MethodHandle MEMORY_SET_DATA_HANDLE = function(
            "dnnl_memory_set_data_handle",
            FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG),
            Linker.Option.critical(false));
    private static final MethodHandle ATTR_CREATE = status("dnnl_primitive_attr_create", JAVA_LONG);
    private static final MethodHandle ATTR_DESTROY = status("dnnl_primitive_attr_destroy", JAVA_LONG);
    private static final MethodHandle ATTR_SET_SCRATCHPAD_MODE =
            status("dnnl_primitive_attr_set_scratchpad_mode", JAVA_LONG, JAVA_INT);
    private static final MethodHandle ATTR_SET_POST_OPS =
            status("dnnl_primitive_attr_set_post_ops", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle POST_OPS_CREATE = status("dnnl_post_ops_create", JAVA_LONG);
    private static final MethodHandle POST_OPS_DESTROY = status("dnnl_post_ops_destroy", JAVA_LONG);
    private static final MethodHandle POST_OPS_APPEND_ELTWISE =
            status("dnnl_post_ops_append_eltwise", JAVA_LONG, JAVA_INT, JAVA_FLOAT, JAVA_FLOAT);
    private static final MethodHandle POST_OPS_APPEND_BINARY =
            status("dnnl_post_ops_append_binary", JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle POST_OPS_APPEND_SUM =
            status("dnnl_post_ops_append_sum", JAVA_LONG, JAVA_FLOAT, JAVA_INT, JAVA_INT);
    private static final MethodHandle ATTR_SET_SCALES_MASK =
            status("dnnl_primitive_attr_set_scales_mask", JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle MATMUL_DESC_CREATE = status(
            "dnnl_matmul_primitive_desc_create",
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG,
            JAVA_LONG);
    private static final MethodHandle REORDER_DESC_CREATE = status(
            "dnnl_reorder_primitive_desc_create", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle PRIMITIVE_DESC_DESTROY = status("dnnl_primitive_desc_destroy", JAVA_LONG);
    private static final MethodHandle PRIMITIVE_DESC_QUERY =
            status("dnnl_primitive_desc_query", JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG);
    private static final MethodHandle PRIMITIVE_DESC_QUERY_MD =
            function("dnnl_primitive_desc_query_md", FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT));
    private static final MethodHandle PRIMITIVE_CREATE = status("dnnl_primitive_create", JAVA_LONG, JAVA_LONG);
    private static final MethodHandle PRIMITIVE_DESTROY = status("dnnl_primitive_destroy", JAVA_LONG);
    private static final MethodHandle PRIMITIVE_EXECUTE =
            status("dnnl_primitive_execute", JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_LONG);
    private static final MethodHandle GET_EFFECTIVE_CPU_ISA =
            function("dnnl_get_effective_cpu_isa", FunctionDescriptor.of(JAVA_INT));
    private static final MethodHandle OMP_GET_MAX_THREADS =
            function("omp_get_max_threads", FunctionDescriptor.of(JAVA_INT), Linker.Option.critical(false));
    private static final MethodHandle OMP_SET_NUM_THREADS =
            function("omp_set_num_threads", FunctionDescriptor.ofVoid(JAVA_INT), Linker.Option.critical(false));

    private OneDnn() {}

    /** Whether the library can be called in this process, and where it is or why not. */
    public static NativeFinding finding() {
        return MISSING.isEmpty() || !FINDING.usable()
                ? FINDING
                : new NativeFinding(
                        FINDING.library(), false, FINDING.detail() + " lacks " + String.join(", ", MISSING));
    }

    private static SymbolLookup open(Path path) {
        try {
            return SymbolLookup.libraryLookup(path, Arena.global());
        } catch (IllegalArgumentException e) {
            throw new NativeLibraryException(
                    "the system cannot open " + path + " (" + e.getMessage()
                            + "); check that its folder allows execution and that libgomp.so.1 is beside it, or set"
                            + " XDG_CACHE_HOME to another folder",
                    e);
        } catch (IllegalCallerException e) {
            throw new NativeLibraryException(
                    "native access is not enabled; start Java with --enable-native-access=tessera.natives"
                            + " (ALL-UNNAMED on the class path)",
                    e);
        }
    }

    // ------------------------------------------------------------------------------------------- engine and stream

    /** The CPU engine; one is enough for a process. */
    public static long engineCreate() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_engine_create", (int) ENGINE_CREATE.invokeExact(out.address(), CPU, 0L));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** An in-order stream; one thread at a time may execute on it. */
    public static long streamCreate(long engine) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_stream_create", (int) STREAM_CREATE.invokeExact(out.address(), engine, STREAM_IN_ORDER));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void streamDestroy(long stream) {
        destroy("dnnl_stream_destroy", STREAM_DESTROY, stream);
    }

    // ------------------------------------------------------------------------------------------------------ memory

    /**
     * Descriptor of a matrix with strides in elements.
     *
     * @param type {@link #F32} or another type of elements
     */
    public static long matrixDesc(int type, long rows, long columns, long rowStride, long columnStride) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            MemorySegment dims = arena.allocateFrom(JAVA_LONG, rows, columns);
            MemorySegment strides = arena.allocateFrom(JAVA_LONG, rowStride, columnStride);
            check("dnnl_memory_desc_create_with_strides", (int) MEMORY_DESC_CREATE_WITH_STRIDES.invokeExact(
                    out.address(), 2, dims.address(), type, strides.address()));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Descriptor of an f32 vector. */
    public static long vectorDesc(long length) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            MemorySegment dims = arena.allocateFrom(JAVA_LONG, length);
            MemorySegment strides = arena.allocateFrom(JAVA_LONG, 1);
            check("dnnl_memory_desc_create_with_strides", (int) MEMORY_DESC_CREATE_WITH_STRIDES.invokeExact(
                    out.address(), 1, dims.address(), F32, strides.address()));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Descriptor of a matrix whose layout the primitive chooses. */
    public static long matrixDescAny(int type, long rows, long columns) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            MemorySegment dims = arena.allocateFrom(JAVA_LONG, rows, columns);
            check("dnnl_memory_desc_create_with_tag", (int)
                    MEMORY_DESC_CREATE_WITH_TAG.invokeExact(out.address(), 2, dims.address(), type, FORMAT_ANY));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static long memoryDescClone(long desc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_memory_desc_clone", (int) MEMORY_DESC_CLONE.invokeExact(out.address(), desc));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void memoryDescDestroy(long desc) {
        destroy("dnnl_memory_desc_destroy", MEMORY_DESC_DESTROY, desc);
    }

    /** Bytes that data of this layout takes, padding included. */
    public static long memoryDescSize(long desc) {
        try {
            return (long) MEMORY_DESC_GET_SIZE.invokeExact(desc);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** A memory of this layout at an address; the data stay the caller's. */
    public static long memoryCreate(long desc, long engine, long address) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_memory_create", (int) MEMORY_CREATE.invokeExact(out.address(), desc, engine, address));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void memoryDestroy(long memory) {
        destroy("dnnl_memory_destroy", MEMORY_DESTROY, memory);
    }

    public static void memorySetAddress(long memory, long address) {
        try {
            check("dnnl_memory_set_data_handle", (int) MEMORY_SET_DATA_HANDLE.invokeExact(memory, address));
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    // -------------------------------------------------------------------------------------------------- attributes

    /**
     * Attributes with the scratchpad brought by the caller and up to two post-operations, in this order.
     *
     * @param sum add to what the destination holds
     * @param addend descriptor of a matrix to add, {@link #ARG_ADDEND}, instead; or 0
     * @param gelu apply the exact GELU
     */
    public static long attrCreate(boolean sum, long addend, boolean gelu) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_primitive_attr_create", (int) ATTR_CREATE.invokeExact(out.address()));
            long attr = out.get(JAVA_LONG, 0);
            check("dnnl_primitive_attr_set_scratchpad_mode", (int)
                    ATTR_SET_SCRATCHPAD_MODE.invokeExact(attr, SCRATCHPAD_USER));
            check("dnnl_post_ops_create", (int) POST_OPS_CREATE.invokeExact(out.address()));
            long postOps = out.get(JAVA_LONG, 0);
            if (sum) {
                check("dnnl_post_ops_append_sum", (int) POST_OPS_APPEND_SUM.invokeExact(postOps, 1f, 0, 0));
            }
            if (addend != 0) {
                check("dnnl_post_ops_append_binary", (int)
                        POST_OPS_APPEND_BINARY.invokeExact(postOps, BINARY_ADD, addend));
            }
            if (gelu) {
                check("dnnl_post_ops_append_eltwise", (int)
                        POST_OPS_APPEND_ELTWISE.invokeExact(postOps, GELU_ERF, 0f, 0f));
            }
            check("dnnl_primitive_attr_set_post_ops", (int) ATTR_SET_POST_OPS.invokeExact(attr, postOps));
            destroy("dnnl_post_ops_destroy", POST_OPS_DESTROY, postOps);
            return attr;
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Lets a matmul multiply each column of its integer sums by a scale, f32 {@code [n]}, before the bias is added. */
    public static void attrScaleColumns(long attr) {
        try {
            check("dnnl_primitive_attr_set_scales_mask", (int)
                    ATTR_SET_SCALES_MASK.invokeExact(attr, ARG_WEIGHTS, COLUMNS));
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void attrDestroy(long attr) {
        destroy("dnnl_primitive_attr_destroy", ATTR_DESTROY, attr);
    }

    // -------------------------------------------------------------------------------------------------- primitives

    /**
     * Descriptor of {@code destination = source x weights + bias}.
     *
     * @param bias descriptor, or 0 for none
     */
    public static long matmulDescCreate(
            long engine, long source, long weights, long bias, long destination, long attr) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_matmul_primitive_desc_create", (int)
                    MATMUL_DESC_CREATE.invokeExact(out.address(), engine, source, weights, bias, destination, attr));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Descriptor of a copy from one layout to another. */
    public static long reorderDescCreate(long source, long destination, long engine, long attr) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_reorder_primitive_desc_create", (int)
                    REORDER_DESC_CREATE.invokeExact(out.address(), source, engine, destination, engine, attr));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void primitiveDescDestroy(long desc) {
        destroy("dnnl_primitive_desc_destroy", PRIMITIVE_DESC_DESTROY, desc);
    }

    /** The layout the primitive wants for an argument; belongs to the primitive's descriptor. */
    public static long primitiveDescMemory(long desc, int query) {
        try {
            return (long) PRIMITIVE_DESC_QUERY_MD.invokeExact(desc, query, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Name of the implementation that was chosen, for example {@code brg_matmul:avx512_core}. */
    public static String implementation(long desc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_primitive_desc_query", (int)
                    PRIMITIVE_DESC_QUERY.invokeExact(desc, QUERY_IMPLEMENTATION, 0, out.address()));
            return MemorySegment.ofAddress(out.get(JAVA_LONG, 0))
                    .reinterpret(256)
                    .getString(0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static long primitiveCreate(long desc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            check("dnnl_primitive_create", (int) PRIMITIVE_CREATE.invokeExact(out.address(), desc));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    public static void primitiveDestroy(long primitive) {
        destroy("dnnl_primitive_destroy", PRIMITIVE_DESTROY, primitive);
    }

    /**
     * Runs a primitive to its end.
     *
     * @param args address of {@code count} records of {@value #EXEC_ARG_BYTES} bytes
     */
    public static void primitiveExecute(long primitive, long stream, int count, long args) {
        try {
            check("dnnl_primitive_execute", (int) PRIMITIVE_EXECUTE.invokeExact(primitive, stream, count, args));
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    // -------------------------------------------------------------------------------------------------- processor

    private static final int ISA_AVX2_VNNI = 0x8;
    private static final int ISA_AVX512_VNNI = 0x40;
    private static final int ISA_AVX512_BF16 = 0x80;

    /** Whether this processor multiplies bytes and adds up in 32 bits in one instruction (VNNI or AMX). */
    public static boolean hasInt8() {
        return (isa() & (ISA_AVX2_VNNI | ISA_AVX512_VNNI)) != 0;
    }

    /** Whether this processor multiplies bf16 and adds up in f32 in one instruction (AVX512_BF16 or AMX). */
    public static boolean hasBf16() {
        return (isa() & ISA_AVX512_BF16) != 0;
    }

    private static int isa() {
        try {
            return (int) GET_EFFECTIVE_CPU_ISA.invokeExact();
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    // -------------------------------------------------------------------------------------------------- OpenMP

    /** How many OpenMP threads a call from this thread may use. */
    public static int threads() {
        try {
            return (int) OMP_GET_MAX_THREADS.invokeExact();
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** Sets how many OpenMP threads later calls from this thread, and only from it, may use. */
    public static void setThreads(int threads) {
        try {
            OMP_SET_NUM_THREADS.invokeExact(threads);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    // -------------------------------------------------------------------------------------------------- plumbing

    private static MethodHandle status(String name, MemoryLayout... arguments) {
        return function(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** A missing function is reported by {@link #finding()}; its handle is then never called. */
    private static MethodHandle function(String name, FunctionDescriptor descriptor, Linker.Option... options) {
        // A library's lookup also sees what it depends on, so this finds the OpenMP that oneDNN itself uses.
        Optional<MemorySegment> symbol = LIBRARY == null ? Optional.empty() : LIBRARY.find(name);
        if (symbol.isEmpty()) {
            MISSING.add(name);
            return MethodHandles.empty(descriptor.toMethodType());
        }
        return Linker.nativeLinker().downcallHandle(symbol.get(), descriptor, options);
    }

    private static void destroy(String call, MethodHandle handle, long object) {
        try {
            check(call, (int) handle.invokeExact(object));
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    private static void check(String call, int status) {
        if (status != 0) {
            throw new OneDnnException(call, status);
        }
    }

    private static RuntimeException rethrow(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        if (e instanceof RuntimeException exception) {
            return exception;
        }
        return new IllegalStateException(e);
    }
}
