package tessera;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Controls of the fake CUDA, which a process sees that is started with {@code -Dtessera.cuda.dir} naming its folder: failures
 * on request, counts, settings. {@code src/test/cuda/fake_cuda.h} says what each does.
 */
@SuppressWarnings("restricted") // calling native code is what this class is for
public final class FakeCuda {
    /** The tag of tests that run where the fake CUDA is seen. */
    public static final String TAG = "cuda";

    /** The tag, beside the other, of tests of single kernels, which run with checked memory. */
    public static final String EXACT = "exact";

    /** Statuses of the driver that tests ask for. */
    public static final int OUT_OF_MEMORY = 2;

    public static final int NO_DEVICE = 100;
    public static final int ILLEGAL_ADDRESS = 700;
    public static final int LAUNCH_FAILED = 719;
    public static final int UNKNOWN = 999;

    private static final int MANY = 1 << 20;
    private static final long LONGEST_TEXT = 1 << 20;
    private static final String FOLDER = "tessera.cuda.dir";

    private FakeCuda() {}

    /** Whether this process sees the fake. */
    public static boolean present() {
        return absence().isEmpty();
    }

    /** The folder of the fake cuDNN that belongs to a folder of the fake CUDA. */
    public static Path cudnn(Path folder) {
        return folder.resolveSibling(folder.getFileName() + "-cudnn");
    }

    /** Why this process does not see the fake; empty where it does. */
    public static String absence() {
        String folder = folder();
        if (folder.isEmpty()) {
            return "this process is started without -D" + FOLDER;
        }
        try {
            Path reason = Path.of(folder, FakeCudaBuilder.REASON);
            if (Files.exists(reason)) {
                return Files.readString(reason);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return Files.exists(driver()) && Library.LOOKUP.find("fakeFail").isPresent()
                ? ""
                : driver() + " is not the fake";
    }

    /** Lets the nth call (1 is the next, 0 all) of a function return a status instead of doing its work. */
    public static void fail(String function, int nth, int status) {
        try (Arena arena = Arena.ofConfined()) {
            MethodHandle handle = Library.call(FunctionDescriptor.ofVoid(ADDRESS, JAVA_INT, JAVA_INT), "fakeFail");
            handle.invokeExact(arena.allocateFrom(function), nth, status);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /**
     * Lets the nth call (1 is the next) of any function fail that does more than end something, by a status after which its
     * library works on; or an earlier one where the calls go another way than after the {@code failAny} before.
     */
    public static void failAny(int nth) {
        try {
            Library.call(FunctionDescriptor.ofVoid(JAVA_INT), "fakeFailAny").invokeExact(nth);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /**
     * The functions called since {@link #failAny}, separated by spaces, the last of which failed; {@code unreached} before them
     * if none did. Ends the counting.
     */
    public static String trace() {
        return text("fakeTrace");
    }

    /** The functions that a body calls, in order and separated by spaces; after a {@link #reset}. */
    public static String callsOf(Runnable body) {
        reset();
        failAny(MANY);
        body.run();
        return trace().replaceFirst("unreached ?", "");
    }

    /** How often a function has been called, or a kernel launched, since the last reset. */
    public static long calls(String function) {
        return number("fakeCalls", function);
    }

    /** Bytes of device memory that are not freed. */
    public static long liveBytes() {
        return number("fakeLiveBytes");
    }

    /** Pinned blocks, streams, events, pools, modules, graphs, and handles of the libraries, that are not destroyed. */
    public static long liveHandles() {
        return number("fakeLiveHandles");
    }

    /** Changes a setting until the next reset. */
    public static void set(String name, long value) {
        try (Arena arena = Arena.ofConfined()) {
            MethodHandle handle = Library.call(FunctionDescriptor.ofVoid(ADDRESS, JAVA_LONG), "fakeSet");
            handle.invokeExact(arena.allocateFrom(name), value);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** Forgets failures, counts, errors and changed settings. */
    public static void reset() {
        try {
            Library.call(FunctionDescriptor.ofVoid(), "fakeReset").invokeExact();
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    /** What went wrong last on the fake device. */
    public static String lastError() {
        return text("fakeLastError");
    }

    /** All kernels, a line for each: its name, the file of its source, the name of its parameters' struct and the struct's bytes. */
    public static String kernels() {
        return text("fakeKernels");
    }

    private static String text(String function) {
        try {
            MethodHandle handle = Library.call(FunctionDescriptor.of(ADDRESS), function);
            MemorySegment text = (MemorySegment) handle.invokeExact();
            return text.reinterpret(LONGEST_TEXT).getString(0);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static Path driver() {
        return Path.of(folder(), "libcuda.so.1");
    }

    /** The first folder that the property names. */
    private static String folder() {
        return System.getProperty(FOLDER, "").split(File.pathSeparator, 2)[0];
    }

    private static long number(String function, String... argument) {
        try (Arena arena = Arena.ofConfined()) {
            if (argument.length == 0) {
                return (long)
                        Library.call(FunctionDescriptor.of(JAVA_LONG), function).invokeExact();
            }
            MethodHandle handle = Library.call(FunctionDescriptor.of(JAVA_LONG, ADDRESS), function);
            return (long) handle.invokeExact(arena.allocateFrom(argument[0]));
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static final class Library {
        static final SymbolLookup LOOKUP = SymbolLookup.libraryLookup(driver(), Arena.global());

        static MethodHandle call(FunctionDescriptor descriptor, String name) {
            return Linker.nativeLinker().downcallHandle(LOOKUP.findOrThrow(name), descriptor);
        }
    }
}
