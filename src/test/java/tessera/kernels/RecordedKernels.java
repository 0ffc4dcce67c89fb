package tessera.kernels;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import tessera.kernels.cpu.scalar.PlainDevice;

/** The plain kernels, and which primitives of them were called. */
final class RecordedKernels {
    private RecordedKernels() {}

    /** The names of all primitives, {@code family.method}. */
    static Set<String> all() {
        Set<String> names = new TreeSet<>();
        for (RecordComponent family : Kernels.class.getRecordComponents()) {
            for (Method method : family.getType().getMethods()) {
                names.add(family.getName() + "." + method.getName());
            }
        }
        return names;
    }

    /** The names of the primitives that some work on a device calls. */
    static Set<String> of(Consumer<Device> work) {
        Set<String> called = new TreeSet<>();
        work.accept(PlainDevice.create(kernels -> recorded(kernels, called)));
        return called;
    }

    private static Kernels recorded(Kernels kernels, Set<String> called) {
        RecordComponent[] families = Kernels.class.getRecordComponents();
        Object[] recorders = new Object[families.length];
        Class<?>[] types = new Class<?>[families.length];
        try {
            for (int i = 0; i < families.length; i++) {
                Object family = families[i].getAccessor().invoke(kernels);
                String name = families[i].getName();
                types[i] = families[i].getType();
                recorders[i] = recorder(types[i], family, method -> called.add(name + "." + method));
            }
            return Kernels.class.getConstructor(types).newInstance(recorders);
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("the kernels cannot be watched", e);
        }
    }

    private static Object recorder(Class<?> type, Object family, Consumer<String> called) {
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, arguments) -> {
            called.accept(method.getName());
            try {
                return method.invoke(family, arguments);
            } catch (InvocationTargetException e) {
                throw e.getTargetException();
            }
        });
    }
}
