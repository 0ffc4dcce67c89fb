package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;

/**
 * Bindings of the parts of NCCL that sums over the devices of one process need, in C terms: communicators, streams and device
 * addresses of type {@code long}.
 *
 * <p>Every call that can fail throws {@link CudaException}; where {@link CudaLibraries#nccl()} is not usable every call throws
 * {@link tessera.natives.NativeLibraryException} with the reason. A communicator may be used by one thread at a time, except
 * that another may {@link #commAbort abort} it.
 */
@CName("nccl.h")
public final class Nccl {
    @CName("ncclFloat32")
    public static final int FLOAT32 = 7;

    @CName("ncclSum")
    public static final int SUM = 0;

    private static final CudaLibrary LIBRARY = CudaLibraries.nccl();
    private static final MethodHandle GET_VERSION = LIBRARY.status("ncclGetVersion", ADDRESS);
    private static final MethodHandle COMM_INIT_ALL = LIBRARY.status("ncclCommInitAll", ADDRESS, JAVA_INT, ADDRESS);
    private static final MethodHandle COMM_DESTROY = LIBRARY.status("ncclCommDestroy", JAVA_LONG);
    private static final MethodHandle COMM_ABORT = LIBRARY.status("ncclCommAbort", JAVA_LONG);
    private static final MethodHandle ALL_REDUCE =
            LIBRARY.status("ncclAllReduce", JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle GET_ERROR_STRING =
            LIBRARY.function("ncclGetErrorString", FunctionDescriptor.of(ADDRESS, JAVA_INT));
    private static final CudaCalls CALLS = new CudaCalls(
            List.of(Status.values()),
            status -> "unknown status",
            status -> LIBRARY.has("ncclGetErrorString") ? CudaLibrary.text(GET_ERROR_STRING, status) : "");

    /** The status codes by their C names. */
    @CName("nccl.h")
    @SuppressWarnings("MemberName") // the names of C, which are what a search finds
    public enum Status implements CudaCalls.Status {
        ncclSuccess(0, ""),
        ncclUnhandledCudaError(1, CudaCalls.CULPRIT),
        ncclSystemError(2, "check that /dev/shm has room left, then run again with NCCL_DEBUG=INFO in the environment"),
        ncclInternalError(3, "run again with NCCL_DEBUG=INFO in the environment"),
        ncclInvalidArgument(4, CudaCalls.FAULT),
        ncclInvalidUsage(5, "name each device once; where that is so, " + CudaCalls.FAULT),
        ncclRemoteError(6, "another device failed; see the first error");

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

    private Nccl() {}

    /** The version: 10000 times the major, 100 times the minor and once the patch number. */
    public static int version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(JAVA_INT);
            CALLS.run("ncclGetVersion", () -> (int) GET_VERSION.invokeExact(version));
            return version.get(JAVA_INT, 0);
        }
    }

    /**
     * Makes a clique of communicators, one for each device, in their order.
     *
     * @param devices numbers as the driver counts devices, each once
     */
    public static long[] commInitAll(int... devices) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment made = arena.allocate(JAVA_LONG, devices.length);
            MemorySegment list = arena.allocateFrom(JAVA_INT, devices);
            CALLS.run("ncclCommInitAll", () -> (int) COMM_INIT_ALL.invokeExact(made, devices.length, list));
            return made.toArray(JAVA_LONG);
        }
    }

    /** Frees a communicator whose work is done. */
    public static void commDestroy(long communicator) {
        CALLS.run("ncclCommDestroy", () -> (int) COMM_DESTROY.invokeExact(communicator));
    }

    /** Ends what still waits for other devices, without a result, and frees the communicator. */
    public static void commAbort(long communicator) {
        CALLS.run("ncclCommAbort", () -> (int) COMM_ABORT.invokeExact(communicator));
    }

    /**
     * Enqueues a reduction over all devices, each of which gets the result.
     *
     * @param send address of the values
     * @param receive address of the result, which may be that of the values
     * @param count of values
     */
    public static void allReduce(
            long send, long receive, long count, int type, int operation, long communicator, long stream) {
        CALLS.run("ncclAllReduce", () ->
                (int) ALL_REDUCE.invokeExact(send, receive, count, type, operation, communicator, stream));
    }
}
