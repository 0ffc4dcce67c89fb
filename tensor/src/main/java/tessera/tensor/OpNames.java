package tessera.tensor;

import java.util.Locale;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** Names of operations, made once. */
final class OpNames {
    private static final ClassValue<String> BY_CLASS = new ClassValue<>() {
        @Override
        protected String computeValue(Class<?> type) {
            return type.getSimpleName().replaceAll("([a-z0-9])([A-Z])", "$1_$2").toLowerCase(Locale.ROOT);
        }
    };

    private static final Map<Enum<?>, String> BY_CONSTANT = new ConcurrentHashMap<>();

    private OpNames() {}

    /** The simple name of a class in snake case. */
    static String of(Class<?> type) {
        return BY_CLASS.get(type);
    }

    /** The name of a constant in lower case. */
    static String of(Enum<?> constant) {
        return BY_CONSTANT.computeIfAbsent(constant, key -> key.name().toLowerCase(Locale.ROOT));
    }
}
