package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Attention;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Reflected;
import tessera.kernels.cpu.Workers;

/**
 * Kernels of which each call is made three times with other contents of its buffers: the first call is {@linkplain Workers#noted noted},
 * and its loops, run again where they are all that it did, have to give the bits that calls give.
 */
final class Replayed {
    private final Set<String> made = new TreeSet<>();
    private final Set<String> repeated = new TreeSet<>();

    /** The calls made, {@code Family.method}. */
    Set<String> made() {
        return made;
    }

    /** Those of them whose loops were run again at least once. */
    Set<String> repeated() {
        return repeated;
    }

    /** All families of some kernels. */
    Kernels all(Kernels kernels) {
        RecordComponent[] families = Kernels.class.getRecordComponents();
        Class<?>[] types = new Class<?>[families.length];
        Object[] watched = new Object[families.length];
        try {
            for (int i = 0; i < families.length; i++) {
                types[i] = families[i].getType();
                watched[i] = watch(types[i], families[i].getAccessor().invoke(kernels));
            }
            return Kernels.class.getConstructor(types).newInstance(watched);
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("the kernels cannot be watched", e);
        }
    }

    /** One family of kernels. */
    <T> T of(Class<T> family, T kernels) {
        return family.cast(watch(family, kernels));
    }

    private Object watch(Class<?> family, Object kernels) {
        return Proxy.newProxyInstance(family.getClassLoader(), new Class<?>[] {family}, (proxy, method, arguments) -> {
            if (method.getReturnType() != void.class) {
                Object answer = Reflected.call(kernels, method, arguments);
                return answer instanceof Attention attention ? of(Attention.class, attention) : answer;
            }
            check(family.getSimpleName() + "." + method.getName(), kernels, method, arguments);
            return null;
        });
    }

    private void check(String name, Object kernels, Method method, Object[] arguments) {
        Set<Buffer> found = Collections.newSetFromMap(new IdentityHashMap<>());
        for (Object argument : arguments) {
            collect(argument, found);
        }
        List<Buffer> buffers = List.copyOf(found);
        List<byte[]> given = contents(buffers);
        made.add(name);
        buffers.forEach(Replayed::change);
        Runnable loops = Workers.noted(() -> Reflected.call(kernels, method, arguments));
        restore(buffers, given);
        if (loops != null) {
            repeated.add(name);
            compare(name, buffers, loops, () -> Reflected.call(kernels, method, arguments));
            restore(buffers, given);
            buffers.forEach(Replayed::change);
            buffers.forEach(Replayed::change);
            compare(name + " once more", buffers, loops, () -> Reflected.call(kernels, method, arguments));
            restore(buffers, given);
        }
        Reflected.call(kernels, method, arguments);
    }

    /** From the contents as they are, two ways lead to the same. */
    private static void compare(String what, List<Buffer> buffers, Runnable loops, Runnable call) {
        List<byte[]> before = contents(buffers);
        loops.run();
        List<byte[]> actual = contents(buffers);
        restore(buffers, before);
        call.run();
        for (int i = 0; i < buffers.size(); i++) {
            Buffer buffer = buffers.get(i);
            assertEquals(
                    -1,
                    MemorySegment.ofArray(actual.get(i)).mismatch(buffer.segment()),
                    "first byte that the loops of " + what + " leave otherwise in " + buffer + " of "
                            + buffer.length());
        }
    }

    private static void collect(@Nullable Object argument, Set<Buffer> found) {
        try {
            switch (argument) {
                case Buffer buffer -> found.add(buffer);
                case Object[] many -> Arrays.asList(many).forEach(each -> collect(each, found));
                case Record parts -> {
                    for (RecordComponent part : parts.getClass().getRecordComponents()) {
                        collect(part.getAccessor().invoke(parts), found);
                    }
                }
                case null, default -> {}
            }
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("a record's parts cannot be read", e);
        }
    }

    private static List<byte[]> contents(List<Buffer> buffers) {
        List<byte[]> contents = new ArrayList<>();
        buffers.forEach(buffer -> contents.add(buffer.segment().toArray(ValueLayout.JAVA_BYTE)));
        return contents;
    }

    private static void restore(List<Buffer> buffers, List<byte[]> contents) {
        for (int i = 0; i < contents.size(); i++) {
            buffers.get(i).segment().copyFrom(MemorySegment.ofArray(contents.get(i)));
        }
    }

    /** Turns the order of the elements, so that indices stay such, and gives numbers other values of the same sign. */
    private static void change(Buffer buffer) {
        long n = buffer.length();
        int size = buffer.dtype().bytes();
        byte[] bytes = buffer.segment().toArray(ValueLayout.JAVA_BYTE);
        for (int i = 0; i < n; i++) {
            MemorySegment.copy(bytes, i * size, buffer.segment(), ValueLayout.JAVA_BYTE, (n - 1 - i) * size, size);
        }
        if (buffer.dtype() != DType.I32 && buffer.dtype() != DType.U8) {
            for (long i = 0; i < n; i++) {
                Elements.set(buffer, i, .75 * Elements.get(buffer, i));
            }
        }
    }
}
