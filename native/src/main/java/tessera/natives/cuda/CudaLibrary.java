package tessera.natives.cuda;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import tessera.natives.NativeFinding;
import tessera.natives.NativeLibraryException;

/**
 * One CUDA library as the search left it: open, or refused with reasons.
 *
 * <p>The bindings take their functions from here. A function that cannot be called, because the library or the symbol is
 * missing, becomes a handle that throws {@link NativeLibraryException} with the reason. Immutable and thread-safe.
 */
public final class CudaLibrary {
    /** Bytes that a text of a library is expected to end within. */
    static final long LONGEST_TEXT = 4096;

    private static final MethodHandle REFUSE;

    static {
        try {
            REFUSE = MethodHandles.lookup()
                    .findConstructor(NativeLibraryException.class, MethodType.methodType(void.class, String.class));
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private static final Map<String, MethodType> SIGNATURES = new ConcurrentHashMap<>();

    private final NativeFinding finding;
    private final List<String> tried;
    private final int major;
    private final @Nullable SymbolLookup lookup;

    CudaLibrary(NativeFinding finding, List<String> tried, int major, @Nullable SymbolLookup lookup) {
        this.finding = finding;
        this.tried = List.copyOf(tried);
        this.major = major;
        this.lookup = lookup;
    }

    /** Whether the library is open, and where it is or why not. */
    public NativeFinding finding() {
        return finding;
    }

    /** Every place looked at before the library was found, with the reason for its refusal, in the order of the search. */
    public List<String> tried() {
        return tried;
    }

    /** The number at the end of the file's name (13 of {@code libcublas.so.13}); 0 where the library is not open. */
    public int major() {
        return major;
    }

    /** Whether the library is open. */
    public boolean usable() {
        return lookup != null;
    }

    /** Whether the library is open and exports a function. */
    boolean has(String function) {
        return lookup != null && lookup.find(function).isPresent();
    }

    /** A function that returns a status. */
    MethodHandle status(String name, MemoryLayout... arguments) {
        return function(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    /** The C functions bound so far and the Java types they are called with, for comparison with the vendor's headers. */
    public static Map<String, MethodType> signatures() {
        return Map.copyOf(SIGNATURES);
    }

    MethodHandle function(String name, FunctionDescriptor descriptor, Linker.Option... options) {
        SIGNATURES.put(name, descriptor.toMethodType());
        if (lookup == null) {
            return refusing(descriptor, finding.toString());
        }
        MemorySegment symbol = lookup.find(name).orElse(null);
        if (symbol == null) {
            return refusing(
                    descriptor,
                    finding.library() + " at " + finding.detail() + " lacks the function " + name
                            + "; it is too old or too new, install the one of CUDA 12 or 13");
        }
        return Linker.nativeLinker().downcallHandle(symbol, descriptor, options);
    }

    private static MethodHandle refusing(FunctionDescriptor descriptor, String reason) {
        MethodType type = descriptor.toMethodType();
        MethodHandle thrower = MethodHandles.foldArguments(
                MethodHandles.throwException(type.returnType(), NativeLibraryException.class),
                MethodHandles.insertArguments(REFUSE, 0, reason));
        return MethodHandles.dropArguments(thrower, 0, type.parameterList());
    }

    /** The text that a library has for a status. */
    static String text(MethodHandle function, int status) {
        try {
            MemorySegment text = (MemorySegment) function.invokeExact(status);
            return text.equals(MemorySegment.NULL)
                    ? ""
                    : text.reinterpret(LONGEST_TEXT).getString(0);
        } catch (Throwable e) {
            throw rethrow(e);
        }
    }

    /** What a binding throws for what an invocation threw; downcalls themselves throw nothing checked. */
    static RuntimeException rethrow(Throwable e) {
        if (e instanceof Error error) {
            throw error;
        }
        if (e instanceof RuntimeException exception) {
            return exception;
        }
        return new IllegalStateException(e);
    }
}
