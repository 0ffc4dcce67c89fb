package tessera.kernels;

import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;

/** Kernels that compute nothing and remember which primitives were called. */
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

    /** The names of the primitives that some work calls. */
    static Set<String> of(Consumer<Kernels> work) throws ReflectiveOperationException {
        Set<String> called = new TreeSet<>();
        RecordComponent[] families = Kernels.class.getRecordComponents();
        Object[] recorders = Arrays.stream(families)
                .map(family -> stub(family.getType(), method -> called.add(family.getName() + "." + method)))
                .toArray();
        Class<?>[] types = Arrays.stream(families).map(RecordComponent::getType).toArray(Class<?>[]::new);
        work.accept(Kernels.class.getConstructor(types).newInstance(recorders));
        return called;
    }

    private static Object stub(Class<?> type, Consumer<String> called) {
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, (proxy, method, arguments) -> {
            called.accept(method.getName());
            Class<?> result = method.getReturnType();
            if (result == long.class) {
                return 0L;
            }
            return result.isInterface() ? stub(result, ignored -> {}) : null;
        });
    }
}
