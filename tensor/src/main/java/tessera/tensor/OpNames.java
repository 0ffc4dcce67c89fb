package tessera.tensor;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;

/** Names of operations, made once. */
final class OpNames {
    private static final ClassValue<String> BY_CLASS = new ClassValue<>() {
        @Override
        protected String computeValue(Class<?> type) {
            return type.getSimpleName().replaceAll("([a-z0-9])([A-Z])", "$1_$2").toLowerCase(Locale.ROOT);
        }
    };

    private OpNames() {}

    /** The simple name of a class in snake case. */
    static String of(Class<?> type) {
        return BY_CLASS.get(type);
    }

    /** The names of constants in lower case, by ordinal. */
    static List<String> of(Enum<?>[] constants) {
        return Arrays.stream(constants)
                .map(constant -> constant.name().toLowerCase(Locale.ROOT))
                .toList();
    }
}
