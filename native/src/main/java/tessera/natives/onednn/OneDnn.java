package tessera.natives.onednn;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
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
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
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
    /** Weights of a convolution in blocks of eight outputs of eight inputs each ({@code dnnl_OIhw8i8o}). */
    private static final int FORMAT_OIHW_8I8O = 107;

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

    private static final int FORWARD_INFERENCE = 96;
    private static final int CONVOLUTION_DIRECT = 1;

    /** Mask of the second axis. */
    private static final int COLUMNS = 2;

    /** Mask of the first axis. */
    private static final int OUTPUTS = 1;

    private static final String FILE = "libdnnl.so.3";
    /** Those whose calling conventions the forms of call below were made for. */
    private static final List<String> PLATFORMS = List.of("linux-x86_64", "linux-arm64");

    private static final List<String> MISSING = new ArrayList<>();
    private static final @Nullable SymbolLookup LIBRARY;
    private static final NativeFinding FINDING;

    static {
        SymbolLookup library = null;
        String detail;
        try {
            String platform = NativeLibraries.platform();
            if (!PLATFORMS.contains(platform)) {
                throw new NativeLibraryException(
                        "oneDNN is called on " + String.join(" and ", PLATFORMS) + " only, and this is " + platform);
            }
            Path path = new NativeLibraries().find("org/bytedeco/dnnl/" + platform, List.of(FILE, "libgomp.so.1"));
            library = open(path);
            detail = path.toString();
        } catch (NativeLibraryException e) {
            detail = String.valueOf(e.getMessage());
        }
        LIBRARY = library;
        FINDING = new NativeFinding("oneDNN", library != null, detail);
    }

    // The JVM makes some ten classes for each form of call and links them in milliseconds, which was most of the time
    // that binding took. So there are three forms for all functions, by what the calling conventions of Linux on x86-64
    // and aarch64 allow: whole numbers travel in registers of 64 bits, fractions in others, and arguments beyond those
    // that a function has do no harm. On other processors the library is not opened.

    /** Whole numbers. */
    private static final MethodHandle CALL = form(FunctionDescriptor.of(
            JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG));
    /** The same for functions so short that the thread need not leave Java's state. */
    private static final MethodHandle SHORT_CALL =
            form(FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG), Linker.Option.critical(false));
    /** Whole numbers and fractions, wherever these stand among them. */
    private static final MethodHandle FRACTIONS_CALL =
            form(FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT, JAVA_FLOAT));

    private static final Function ENGINE_CREATE = function("dnnl_engine_create");
    private static final Function STREAM_CREATE = function("dnnl_stream_create");
    private static final Function STREAM_DESTROY = function("dnnl_stream_destroy");
    private static final Function MEMORY_DESC_CREATE_WITH_STRIDES = function("dnnl_memory_desc_create_with_strides");
    private static final Function MEMORY_DESC_CREATE_WITH_TAG = function("dnnl_memory_desc_create_with_tag");
    private static final Function MEMORY_DESC_CLONE = function("dnnl_memory_desc_clone");
    private static final Function MEMORY_DESC_DESTROY = function("dnnl_memory_desc_destroy");
    private static final Function MEMORY_DESC_GET_SIZE = function("dnnl_memory_desc_get_size");
    private static final Function MEMORY_CREATE = function("dnnl_memory_create");
    private static final Function MEMORY_DESTROY = function("dnnl_memory_destroy");
    private static final Function MEMORY_SET_DATA_HANDLE = function("dnnl_memory_set_data_handle");
    private static final Function ATTR_CREATE = function("dnnl_primitive_attr_create");
    private static final Function ATTR_DESTROY = function("dnnl_primitive_attr_destroy");
    private static final Function ATTR_SET_SCRATCHPAD_MODE = function("dnnl_primitive_attr_set_scratchpad_mode");
    private static final Function ATTR_SET_POST_OPS = function("dnnl_primitive_attr_set_post_ops");
    private static final Function POST_OPS_CREATE = function("dnnl_post_ops_create");
    private static final Function POST_OPS_DESTROY = function("dnnl_post_ops_destroy");
    private static final Function POST_OPS_APPEND_ELTWISE = function("dnnl_post_ops_append_eltwise");
    private static final Function POST_OPS_APPEND_BINARY = function("dnnl_post_ops_append_binary");
    private static final Function POST_OPS_APPEND_SUM = function("dnnl_post_ops_append_sum");
    private static final Function ATTR_SET_SCALES_MASK = function("dnnl_primitive_attr_set_scales_mask");
    private static final Function MATMUL_DESC_CREATE = function("dnnl_matmul_primitive_desc_create");
    private static final Function CONVOLUTION_DESC_CREATE = function("dnnl_convolution_forward_primitive_desc_create");
    private static final Function REORDER_DESC_CREATE = function("dnnl_reorder_primitive_desc_create");
    private static final Function PRIMITIVE_DESC_DESTROY = function("dnnl_primitive_desc_destroy");
    private static final Function PRIMITIVE_DESC_QUERY = function("dnnl_primitive_desc_query");
    private static final Function PRIMITIVE_DESC_QUERY_MD = function("dnnl_primitive_desc_query_md");
    private static final Function PRIMITIVE_CREATE = function("dnnl_primitive_create");
    private static final Function PRIMITIVE_DESTROY = function("dnnl_primitive_destroy");
    private static final Function PRIMITIVE_EXECUTE = function("dnnl_primitive_execute");
    private static final Function GET_EFFECTIVE_CPU_ISA = function("dnnl_get_effective_cpu_isa");
    private static final Function OMP_GET_MAX_THREADS = function("omp_get_max_threads");
    private static final Function OMP_SET_NUM_THREADS = function("omp_set_num_threads");

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
        return ENGINE_CREATE.create(CPU, 0L);
    }

    /** An in-order stream; one thread at a time may execute on it. */
    public static long streamCreate(long engine) {
        return STREAM_CREATE.create(engine, STREAM_IN_ORDER);
    }

    public static void streamDestroy(long stream) {
        STREAM_DESTROY.run(stream);
    }

    // ------------------------------------------------------------------------------------------------------ memory

    /**
     * Descriptor of a matrix with strides in elements.
     *
     * @param type {@link #F32} or another type of elements
     */
    public static long matrixDesc(int type, long rows, long columns, long rowStride, long columnStride) {
        return memoryDesc(type, new long[] {rows, columns}, new long[] {rowStride, columnStride});
    }

    /** Descriptor of an f32 vector. */
    public static long vectorDesc(long length) {
        return memoryDesc(F32, new long[] {length}, new long[] {1});
    }

    /** Descriptor of a matrix whose layout the primitive chooses. */
    public static long matrixDescAny(int type, long rows, long columns) {
        return memoryDescAny(type, new long[] {rows, columns});
    }

    /** Descriptor of a matrix without gaps whose rows are the pixels of an image of so many channels. */
    public static long pixelsDesc(int type, long pixels, long channels) {
        return memoryDesc(
                type, new long[] {1, channels, pixels, 1}, new long[] {pixels * channels, 1, channels, channels});
    }

    /** Descriptor of the weight of a convolution of single pixels, whose outputs and inputs are so many elements apart. */
    public static long pixelWeightsDesc(int type, long outputs, long inputs, long outputStride, long inputStride) {
        return memoryDesc(type, new long[] {outputs, inputs, 1, 1}, new long[] {outputStride, inputStride, 1, 1});
    }

    /** The same of a layout that the primitive chooses. */
    public static long pixelWeightsDescAny(int type, long outputs, long inputs) {
        return memoryDescAny(type, new long[] {outputs, inputs, 1, 1});
    }

    /**
     * The same in blocks of eight inputs of eight outputs: an output o of input i lies at
     * {@code ((o / 8) * (inputs / 8) + i / 8) * 64 + i % 8 * 8 + o % 8}. Both numbers are multiples of 8.
     */
    public static long pixelWeightsDescInBlocks(int type, long outputs, long inputs) {
        return memoryDescOf(type, new long[] {outputs, inputs, 1, 1}, FORMAT_OIHW_8I8O);
    }

    private static long memoryDesc(int type, long[] dims, long[] strides) {
        try (Arena arena = Arena.ofConfined()) {
            return MEMORY_DESC_CREATE_WITH_STRIDES.create(
                    dims.length,
                    arena.allocateFrom(JAVA_LONG, dims).address(),
                    type,
                    arena.allocateFrom(JAVA_LONG, strides).address());
        }
    }

    private static long memoryDescAny(int type, long[] dims) {
        return memoryDescOf(type, dims, FORMAT_ANY);
    }

    private static long memoryDescOf(int type, long[] dims, int format) {
        try (Arena arena = Arena.ofConfined()) {
            long numbers = arena.allocateFrom(JAVA_LONG, dims).address();
            return MEMORY_DESC_CREATE_WITH_TAG.create(dims.length, numbers, type, format);
        }
    }

    public static long memoryDescClone(long desc) {
        return MEMORY_DESC_CLONE.create(desc);
    }

    public static void memoryDescDestroy(long desc) {
        MEMORY_DESC_DESTROY.run(desc);
    }

    /** Bytes that data of this layout takes, padding included. */
    public static long memoryDescSize(long desc) {
        return MEMORY_DESC_GET_SIZE.call(desc);
    }

    /** A memory of this layout at an address; the data stay the caller's. */
    public static long memoryCreate(long desc, long engine, long address) {
        return MEMORY_CREATE.create(desc, engine, address);
    }

    public static void memoryDestroy(long memory) {
        MEMORY_DESTROY.run(memory);
    }

    public static void memorySetAddress(long memory, long address) {
        MEMORY_SET_DATA_HANDLE.check(MEMORY_SET_DATA_HANDLE.callShort(memory, address));
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
        long attr = ATTR_CREATE.create();
        try {
            ATTR_SET_SCRATCHPAD_MODE.run(attr, SCRATCHPAD_USER);
            appendPostOps(attr, sum, addend, gelu);
        } catch (OneDnnException e) {
            attrDestroy(attr);
            throw e;
        }
        return attr;
    }

    private static void appendPostOps(long attr, boolean sum, long addend, boolean gelu) {
        long postOps = POST_OPS_CREATE.create();
        try {
            if (sum) {
                POST_OPS_APPEND_SUM.runWithFractions(postOps, 0, 0, 1, 0);
            }
            if (addend != 0) {
                POST_OPS_APPEND_BINARY.run(postOps, BINARY_ADD, addend);
            }
            if (gelu) {
                POST_OPS_APPEND_ELTWISE.runWithFractions(postOps, GELU_ERF, 0, 0, 0);
            }
            ATTR_SET_POST_OPS.run(attr, postOps);
        } finally {
            POST_OPS_DESTROY.run(postOps);
        }
    }

    /** Lets a matmul multiply each column of its integer sums by a scale, f32 {@code [n]}, before the bias is added. */
    public static void attrScaleColumns(long attr) {
        ATTR_SET_SCALES_MASK.run(attr, ARG_WEIGHTS, COLUMNS);
    }

    /** The same of a convolution. */
    public static void attrScaleOutputs(long attr) {
        ATTR_SET_SCALES_MASK.run(attr, ARG_WEIGHTS, OUTPUTS);
    }

    public static void attrDestroy(long attr) {
        ATTR_DESTROY.run(attr);
    }

    // -------------------------------------------------------------------------------------------------- primitives

    /**
     * Descriptor of {@code destination = source x weights + bias}.
     *
     * @param bias descriptor, or 0 for none
     */
    public static long matmulDescCreate(
            long engine, long source, long weights, long bias, long destination, long attr) {
        return MATMUL_DESC_CREATE.create(engine, source, weights, bias, destination, attr);
    }

    /**
     * Descriptor of a convolution whose windows are single pixels: the product of {@link #pixelsDesc} and {@link #pixelWeightsDesc}, plus bias.
     *
     * @param bias descriptor of a vector, or 0 for none
     */
    public static long pixelConvolutionDescCreate(
            long engine, long source, long weights, long bias, long destination, long attr) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment ones = arena.allocateFrom(JAVA_LONG, 1, 1);
            MemorySegment zeros = arena.allocateFrom(JAVA_LONG, 0, 0);
            MemorySegment made = arena.allocate(JAVA_LONG);
            CONVOLUTION_DESC_CREATE.check((long) LongCall.CALL.invokeExact(
                    CONVOLUTION_DESC_CREATE.address,
                    made.address(),
                    engine,
                    (long) FORWARD_INFERENCE,
                    (long) CONVOLUTION_DIRECT,
                    source,
                    weights,
                    bias,
                    destination,
                    ones.address(),
                    zeros.address(),
                    zeros.address(),
                    zeros.address(),
                    attr));
            return made.get(JAVA_LONG, 0);
        } catch (Throwable thrown) {
            throw rethrow(thrown);
        }
    }

    /** Descriptor of a copy from one layout to another. */
    public static long reorderDescCreate(long source, long destination, long engine, long attr) {
        return REORDER_DESC_CREATE.create(source, engine, destination, engine, attr);
    }

    public static void primitiveDescDestroy(long desc) {
        PRIMITIVE_DESC_DESTROY.run(desc);
    }

    /** The layout the primitive wants for an argument; belongs to the primitive's descriptor. */
    public static long primitiveDescMemory(long desc, int query) {
        return PRIMITIVE_DESC_QUERY_MD.call(desc, query, 0);
    }

    /** Name of the implementation that was chosen, for example {@code brg_matmul:avx512_core}. */
    public static String implementation(long desc) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            PRIMITIVE_DESC_QUERY.run(desc, QUERY_IMPLEMENTATION, 0, out.address());
            return MemorySegment.ofAddress(out.get(JAVA_LONG, 0))
                    .reinterpret(256)
                    .getString(0);
        }
    }

    public static long primitiveCreate(long desc) {
        return PRIMITIVE_CREATE.create(desc);
    }

    public static void primitiveDestroy(long primitive) {
        PRIMITIVE_DESTROY.run(primitive);
    }

    /**
     * Runs a primitive to its end.
     *
     * @param args address of {@code count} records of {@value #EXEC_ARG_BYTES} bytes
     */
    public static void primitiveExecute(long primitive, long stream, int count, long args) {
        PRIMITIVE_EXECUTE.run(primitive, stream, count, args);
    }

    // -------------------------------------------------------------------------------------------------- processor

    private static final int ISA_SSE41 = 0x1;
    private static final int ISA_AVX = 0x2;
    private static final int ISA_AVX2 = 0x4;
    private static final int ISA_AVX2_VNNI = 0x8;
    private static final int ISA_AVX512 = 0x20;
    private static final int ISA_AVX512_VNNI = 0x40;
    private static final int ISA_AVX512_BF16 = 0x80;
    private static final int ISA_AMX = 0xe00;

    /** Whether this processor multiplies bytes and adds up in 32 bits in one instruction (VNNI or AMX). */
    public static boolean hasInt8() {
        return (isa() & (ISA_AVX2_VNNI | ISA_AVX512_VNNI)) != 0;
    }

    /** Whether this processor has AVX2, by which bytes are multiplied with sums of pairs in 16 bits, which saturate. */
    public static boolean hasInt8InPairs() {
        return (isa() & ISA_AVX2) != 0;
    }

    /** Whether AVX2 is the widest that the library uses, with or without products of bytes. */
    public static boolean isLimitedToAvx2() {
        return (isa() & (ISA_AVX2 | ISA_AVX512)) == ISA_AVX2;
    }

    /** Whether this processor multiplies bf16 and adds up in f32 in one instruction (AVX512_BF16 or AMX). */
    public static boolean hasBf16() {
        return (isa() & ISA_AVX512_BF16) != 0;
    }

    /**
     * The widest instructions that the library uses: those of the processor, or fewer where the variable {@code ONEDNN_MAX_CPU_ISA} names
     * them; empty where it does not say, as on aarch64.
     */
    public static String instructions() {
        int isa = isa();
        Map<Integer, String> widestFirst = new LinkedHashMap<>();
        widestFirst.put(ISA_AMX, "AMX");
        widestFirst.put(ISA_AVX512_BF16, "AVX512_BF16");
        widestFirst.put(ISA_AVX512_VNNI, "AVX512_VNNI");
        widestFirst.put(ISA_AVX512, "AVX-512");
        widestFirst.put(ISA_AVX2_VNNI, "AVX_VNNI");
        widestFirst.put(ISA_AVX2, "AVX2");
        widestFirst.put(ISA_AVX, "AVX");
        widestFirst.put(ISA_SSE41, "SSE4.1");
        return NativeLibraries.platform().endsWith("x86_64")
                ? widestFirst.entrySet().stream()
                        .filter(entry -> (isa & entry.getKey()) != 0)
                        .map(Map.Entry::getValue)
                        .findFirst()
                        .orElse("")
                : "";
    }

    private static int isa() {
        return (int) GET_EFFECTIVE_CPU_ISA.call(0);
    }

    // -------------------------------------------------------------------------------------------------- OpenMP

    /** How many OpenMP threads a call from this thread may use. */
    public static int threads() {
        return (int) OMP_GET_MAX_THREADS.callShort(0, 0);
    }

    /** Sets how many OpenMP threads later calls from this thread, and only from it, may use. */
    public static void setThreads(int threads) {
        OMP_SET_NUM_THREADS.callShort(threads, 0);
    }

    // -------------------------------------------------------------------------------------------------- plumbing

    /** How functions of these arguments, behind the function's address, are called; without the library never used. */
    private static MethodHandle form(FunctionDescriptor descriptor, Linker.Option... options) {
        return LIBRARY == null
                ? MethodHandles.empty(descriptor.toMethodType().insertParameterTypes(0, MemorySegment.class))
                : Linker.nativeLinker().downcallHandle(descriptor, options);
    }

    /** The form of the one function with more arguments, made where that is called. */
    private static final class LongCall {
        static final MethodHandle CALL = form(FunctionDescriptor.of(
                JAVA_LONG, Collections.nCopies(13, JAVA_LONG).toArray(MemoryLayout[]::new)));

        private LongCall() {}
    }

    /** A missing function is reported by {@link #finding()} and then never called. */
    private static Function function(String name) {
        // A library's lookup also sees what it depends on, so this finds the OpenMP that oneDNN itself uses.
        Optional<MemorySegment> symbol = LIBRARY == null ? Optional.empty() : LIBRARY.find(name);
        if (symbol.isEmpty()) {
            MISSING.add(name);
        }
        return new Function(name, symbol.orElse(MemorySegment.NULL));
    }

    /** A function of the library, which may have fewer arguments than it is called with. */
    private record Function(String name, MemorySegment address) {
        /** Its result; where that has 32 bits, in the lower ones. */
        long call(long a, long b, long c, long d, long e, long f, long g) {
            try {
                return (long) CALL.invokeExact(address, a, b, c, d, e, f, g);
            } catch (Throwable thrown) {
                throw rethrow(thrown);
            }
        }

        long call(long a, long b, long c) {
            return call(a, b, c, 0, 0, 0, 0);
        }

        long call(long a) {
            return call(a, 0, 0);
        }

        long callShort(long a, long b) {
            try {
                return (long) SHORT_CALL.invokeExact(address, a, b);
            } catch (Throwable thrown) {
                throw rethrow(thrown);
            }
        }

        void run(long a, long b, long c, long d) {
            check(call(a, b, c, d, 0, 0, 0));
        }

        void run(long a, long b, long c) {
            run(a, b, c, 0);
        }

        void run(long a, long b) {
            run(a, b, 0);
        }

        void run(long a) {
            run(a, 0);
        }

        void runWithFractions(long a, long b, long c, float x, float y) {
            try {
                check((long) FRACTIONS_CALL.invokeExact(address, a, b, c, x, y));
            } catch (Throwable thrown) {
                throw rethrow(thrown);
            }
        }

        /** What it makes: its first argument says where to write that, the others are these. */
        long create(long b, long c, long d, long e, long f, long g) {
            try (Arena arena = Arena.ofConfined()) {
                MemorySegment made = arena.allocate(JAVA_LONG);
                check(call(made.address(), b, c, d, e, f, g));
                return made.get(JAVA_LONG, 0);
            }
        }

        long create(long b, long c, long d, long e, long f) {
            return create(b, c, d, e, f, 0);
        }

        long create(long b, long c, long d, long e) {
            return create(b, c, d, e, 0);
        }

        long create(long b, long c, long d) {
            return create(b, c, d, 0);
        }

        long create(long b, long c) {
            return create(b, c, 0);
        }

        long create(long b) {
            return create(b, 0);
        }

        long create() {
            return create(0);
        }

        void check(long status) {
            if ((int) status != 0) {
                throw new OneDnnException(name, (int) status);
            }
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
