package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.function.IntFunction;

/**
 * How the bindings of one library beside the driver call it: a status other than 0 becomes a {@link CudaException}, an object
 * comes back as its handle. Immutable and thread-safe.
 */
final class CudaCalls {
    /** Advice where an earlier kernel may be at fault. */
    static final String CULPRIT = "it may come from an earlier launch: to find the kernel, run again with -D"
            + CudaException.DEBUG_PROPERTY + "=true or under compute-sanitizer";

    /** Advice where only a wrong call can be at fault. */
    static final String FAULT =
            "this is a mistake of Tessera's: report it with the command and what tessera doctor prints";

    private static final int GROUP = 1000;

    private final List<? extends Status> known;
    private final IntFunction<String> name;
    private final IntFunction<String> text;

    /** A status of a library; an enum constant with its C name. */
    interface Status {
        String name();

        int code();

        /** What to do next; may be empty. */
        String advice();

        /** Whether the device's memory ran out. */
        default boolean outOfMemory() {
            return false;
        }
    }

    /** A call that returns a status. */
    interface Call {
        int status() throws Throwable;
    }

    /** A call that writes a new object's handle and returns a status. */
    interface Maker {
        int status(MemorySegment handle) throws Throwable;
    }

    /**
     * The calls of a library.
     *
     * @param known its statuses; an unlisted one is advised like the whole thousand it belongs to, if that is listed
     * @param name the library's name for an unlisted status
     * @param text the library's own words for a status
     */
    CudaCalls(List<? extends Status> known, IntFunction<String> name, IntFunction<String> text) {
        this.known = known;
        this.name = name;
        this.text = text;
    }

    /** Calls, and throws what the status says. */
    void run(String function, Call call) {
        try {
            check(function, call.status());
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    /** Calls, and returns the handle of what was made. */
    long create(String function, Maker maker) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = arena.allocate(JAVA_LONG);
            check(function, maker.status(handle));
            return handle.get(JAVA_LONG, 0);
        } catch (Throwable e) {
            throw CudaLibrary.rethrow(e);
        }
    }

    void check(String function, int status) {
        if (status != 0) {
            throw failure(function, status, text.apply(status));
        }
    }

    /** The exception for a status, with words of the caller's. */
    CudaException failure(String function, int status, String words) {
        Status group = null;
        for (Status candidate : known) {
            if (candidate.code() == status) {
                return CudaException.library(
                        function, status, candidate.name(), words, candidate.advice(), candidate.outOfMemory());
            }
            if (candidate.code() != 0 && candidate.code() == status / GROUP * GROUP) {
                group = candidate;
            }
        }
        String advice = group == null ? "" : group.advice();
        return CudaException.library(function, status, name.apply(status), words, advice, false);
    }
}
