package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;
import java.util.Map;

/**
 * Bindings of NVRTC, the compiler for kernels' sources at run time. It needs no device.
 *
 * <p>Every call that can fail throws {@link CudaException}; where {@link CudaLibraries#nvrtc()} is not usable every call
 * throws {@link tessera.natives.NativeLibraryException} with the reason. Thread-safe; a program belongs to one thread.
 */
@CName("nvrtc.h")
public final class Nvrtc {
    private static final CudaLibrary LIBRARY = CudaLibraries.nvrtc();
    private static final MethodHandle VERSION = LIBRARY.status("nvrtcVersion", ADDRESS, ADDRESS);
    private static final MethodHandle CREATE_PROGRAM =
            LIBRARY.status("nvrtcCreateProgram", ADDRESS, ADDRESS, ADDRESS, JAVA_INT, ADDRESS, ADDRESS);
    private static final MethodHandle DESTROY_PROGRAM = LIBRARY.status("nvrtcDestroyProgram", ADDRESS);
    private static final MethodHandle COMPILE_PROGRAM =
            LIBRARY.status("nvrtcCompileProgram", JAVA_LONG, JAVA_INT, ADDRESS);
    private static final MethodHandle GET_CUBIN_SIZE = LIBRARY.status("nvrtcGetCUBINSize", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_CUBIN = LIBRARY.status("nvrtcGetCUBIN", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_PTX_SIZE = LIBRARY.status("nvrtcGetPTXSize", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_PTX = LIBRARY.status("nvrtcGetPTX", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_LOG_SIZE = LIBRARY.status("nvrtcGetProgramLogSize", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_LOG = LIBRARY.status("nvrtcGetProgramLog", JAVA_LONG, ADDRESS);
    private static final MethodHandle GET_NUM_ARCHS = LIBRARY.status("nvrtcGetNumSupportedArchs", ADDRESS);
    private static final MethodHandle GET_ARCHS = LIBRARY.status("nvrtcGetSupportedArchs", ADDRESS);
    private static final MethodHandle GET_ERROR_STRING =
            LIBRARY.function("nvrtcGetErrorString", FunctionDescriptor.of(ADDRESS, JAVA_INT));
    private static final CudaCalls CALLS = new CudaCalls(
            List.of(Status.values()),
            status ->
                    LIBRARY.has("nvrtcGetErrorString") ? CudaLibrary.text(GET_ERROR_STRING, status) : "unknown status",
            status -> "");

    /** The status codes, by their C names. */
    @CName("nvrtc.h")
    public enum Status implements CudaCalls.Status {
        NVRTC_SUCCESS(0, ""),
        NVRTC_ERROR_OUT_OF_MEMORY(1, "the host's memory ran out: end other programs"),
        NVRTC_ERROR_PROGRAM_CREATION_FAILURE(2, CudaCalls.FAULT),
        NVRTC_ERROR_INVALID_INPUT(3, CudaCalls.FAULT),
        NVRTC_ERROR_INVALID_PROGRAM(4, CudaCalls.FAULT),
        NVRTC_ERROR_INVALID_OPTION(5, "this NVRTC may be too old for the device; install a newer CUDA"),
        NVRTC_ERROR_COMPILATION(6, "this NVRTC may be too old for the sources; install a newer CUDA 12 or 13"),
        NVRTC_ERROR_BUILTIN_OPERATION_FAILURE(
                7, "libnvrtc-builtins of the same version must lie beside libnvrtc; install CUDA's NVRTC as a whole"),
        NVRTC_ERROR_INTERNAL_ERROR(11, "install CUDA's NVRTC anew, or another version of it");

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
    }

    private Nvrtc() {}

    /** The version as 1000 times the major and 10 times the minor number, as the driver counts. */
    public static int version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment major = arena.allocate(JAVA_INT);
            MemorySegment minor = arena.allocate(JAVA_INT);
            CALLS.check("nvrtcVersion", (int) VERSION.invokeExact(major, minor));
            return 1000 * major.get(JAVA_INT, 0) + 10 * minor.get(JAVA_INT, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The compute capabilities it can compile for, for example 80 and 90, ascending. */
    public static int[] supportedArchitectures() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(JAVA_INT);
            CALLS.check("nvrtcGetNumSupportedArchs", (int) GET_NUM_ARCHS.invokeExact(count));
            MemorySegment archs = arena.allocate(JAVA_INT, count.get(JAVA_INT, 0));
            CALLS.check("nvrtcGetSupportedArchs", (int) GET_ARCHS.invokeExact(archs));
            return archs.toArray(JAVA_INT);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * A program of one source and the headers it includes.
     *
     * @param name the source's name in messages, for example {@code norms.cu}
     * @param headers from the name in the include directive to the text
     */
    public static long createProgram(String source, String name, Map<String, String> headers) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment out = arena.allocate(JAVA_LONG);
            List<String> names = List.copyOf(headers.keySet());
            MemorySegment texts = strings(
                    arena, names.stream().map(headers::get).map(String::valueOf).toList());
            CALLS.check("nvrtcCreateProgram", (int) CREATE_PROGRAM.invokeExact(
                    out,
                    arena.allocateFrom(source),
                    arena.allocateFrom(name),
                    names.size(),
                    texts,
                    strings(arena, names)));
            return out.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    public static void destroyProgram(long program) {
        try (Arena arena = Arena.ofConfined()) {
            CALLS.check(
                    "nvrtcDestroyProgram", (int) DESTROY_PROGRAM.invokeExact(arena.allocateFrom(JAVA_LONG, program)));
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /**
     * Compiles a program.
     *
     * @param options for example {@code --gpu-architecture=sm_90a}
     * @throws CudaException if the source has an error; the message has the first line about one, {@link #log} all
     */
    public static void compileProgram(long program, List<String> options) {
        try (Arena arena = Arena.ofConfined()) {
            int status = (int) COMPILE_PROGRAM.invokeExact(program, options.size(), strings(arena, options));
            if (status != 0) {
                throw CALLS.failure("nvrtcCompileProgram", status, firstError(log(program)));
            }
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** The machine code of a program compiled for an architecture {@code sm_}. */
    public static byte[] cubin(long program) {
        return bytes("nvrtcGetCUBIN", GET_CUBIN_SIZE, GET_CUBIN, program);
    }

    /** The PTX text of a compiled program, with its closing zero. */
    public static byte[] ptx(long program) {
        return bytes("nvrtcGetPTX", GET_PTX_SIZE, GET_PTX, program);
    }

    /** What the compiler said, also after a failure; may be empty. */
    public static String log(long program) {
        byte[] log = bytes("nvrtcGetProgramLog", GET_LOG_SIZE, GET_LOG, program);
        return log.length == 0 ? "" : MemorySegment.ofArray(log).getString(0);
    }

    private static String firstError(String log) {
        return log.lines()
                .filter(line -> line.contains("error"))
                .findFirst()
                .orElse(log.lines().findFirst().orElse(""))
                .strip();
    }

    /** An array of C strings; the null pointer for none. */
    private static MemorySegment strings(Arena arena, List<String> texts) {
        if (texts.isEmpty()) {
            return MemorySegment.NULL;
        }
        MemorySegment array = arena.allocate(ADDRESS, texts.size());
        for (int i = 0; i < texts.size(); i++) {
            array.setAtIndex(ADDRESS, i, arena.allocateFrom(texts.get(i)));
        }
        return array;
    }

    private static byte[] bytes(String call, MethodHandle size, MethodHandle get, long program) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(JAVA_LONG);
            CALLS.check(call + "Size", (int) size.invokeExact(program, count));
            MemorySegment out = arena.allocate(count.get(JAVA_LONG, 0));
            CALLS.check(call, (int) get.invokeExact(program, out));
            return out.toArray(JAVA_BYTE);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }
}
