package tessera.distill.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/**
 * The fields of an object in a plan's JSON. What is not there has a standard; what is wrong, or has no meaning, is refused by its place,
 * such as {@code models.rgb.steps}. Not safe for use by several threads.
 */
final class Fields {
    private final Map<String, @Nullable Object> values = new LinkedHashMap<>();
    private final String where;
    private final Set<String> known = new LinkedHashSet<>();

    /**
     * The fields of an object.
     *
     * @param where the object's place, such as {@code models.rgb}; empty for the plan
     */
    Fields(Map<?, ?> values, String where) {
        values.forEach((name, value) -> this.values.put(String.valueOf(name), value));
        this.where = where;
    }

    /** A field's place. */
    String place(String name) {
        return where.isEmpty() ? name : where + "." + name;
    }

    boolean has(String name) {
        known.add(name);
        return values.containsKey(name);
    }

    private IllegalArgumentException wrong(String name, String needed) {
        Object value = values.get(name);
        String given = !values.containsKey(name)
                ? " is missing"
                : " is " + (value instanceof String text ? "'" + text + "'" : String.valueOf(value));
        return new IllegalArgumentException(place(name) + given + "; pass " + needed);
    }

    /** A text, which must be there. */
    String text(String name) {
        if (has(name) && values.get(name) instanceof String text && !text.isBlank()) {
            return text;
        }
        throw wrong(name, "a text");
    }

    String text(String name, String standard) {
        return has(name) ? text(name) : standard;
    }

    /** A text that stands for something. */
    <T> T word(String name, T standard, Function<String, T> meaning) {
        if (!has(name)) {
            return standard;
        }
        try {
            return meaning.apply(text(name));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(place(name) + ": " + e.getMessage(), e);
        }
    }

    double number(String name, double standard) {
        if (!has(name)) {
            return standard;
        }
        if (values.get(name) instanceof Number number) {
            return number.doubleValue();
        }
        throw wrong(name, "a number");
    }

    long whole(String name, long standard) {
        if (!has(name)) {
            return standard;
        }
        if (values.get(name) instanceof Long number) {
            return number;
        }
        throw wrong(name, "a whole number");
    }

    int count(String name, int standard) {
        long number = whole(name, standard);
        if (number < 0 || number > Integer.MAX_VALUE) {
            throw wrong(name, "a whole number of 0 or more");
        }
        return (int) number;
    }

    boolean flag(String name, boolean standard) {
        if (!has(name)) {
            return standard;
        }
        if (values.get(name) instanceof Boolean flag) {
            return flag;
        }
        throw wrong(name, "true or false");
    }

    /** A list of values of one kind; the standard's, if it has any. */
    <T> List<T> list(String name, Class<T> kind, List<T> standard) {
        if (!has(name)) {
            return standard;
        }
        if (!(values.get(name) instanceof List<?> items)
                || !items.stream()
                        .allMatch(item -> kind.isInstance(item) || (kind == Double.class && item instanceof Long))) {
            throw wrong(
                    name,
                    "a list of " + (kind == String.class ? "texts" : kind == Long.class ? "whole numbers" : "numbers"));
        }
        return items.stream()
                .map(item -> kind.cast(kind == Double.class && item instanceof Long whole ? whole.doubleValue() : item))
                .toList();
    }

    /** An object, empty if it is not there. */
    Fields object(String name) {
        if (!has(name)) {
            return new Fields(Map.of(), place(name));
        }
        if (values.get(name) instanceof Map<?, ?> members) {
            return new Fields(members, place(name));
        }
        throw wrong(name, "an object");
    }

    /** Objects by their names, in order; none if the field is not there. */
    Map<String, Fields> objects(String name) {
        Fields all = object(name);
        Map<String, Fields> objects = new LinkedHashMap<>();
        all.values.keySet().forEach(member -> objects.put(member, all.object(member)));
        return objects;
    }

    /** Numbers by their names, in order; none if the field is not there. */
    Map<String, Double> numbers(String name) {
        Fields all = object(name);
        Map<String, Double> numbers = new LinkedHashMap<>();
        all.values.keySet().forEach(member -> numbers.put(member, all.number(member, 0)));
        return numbers;
    }

    /** A list of objects; none if the field is not there. */
    List<Fields> items(String name) {
        if (!has(name)) {
            return List.of();
        }
        if (!(values.get(name) instanceof List<?> list)) {
            throw wrong(name, "a list of objects");
        }
        List<Fields> items = new ArrayList<>();
        for (Object item : list) {
            if (!(item instanceof Map<?, ?> members)) {
                throw wrong(name, "a list of objects");
            }
            items.add(new Fields(members, place(name) + "[" + items.size() + "]"));
        }
        return items;
    }

    /** Refuses fields that nobody asked for. */
    void end() {
        for (String name : values.keySet()) {
            if (!known.contains(name)) {
                throw new IllegalArgumentException(
                        place(name) + " means nothing; pass some of " + String.join(", ", known));
            }
        }
    }

    /** What is made of the fields, with their place before what it refuses. */
    <T> T make(Function<Fields, T> making) {
        try {
            T made = making.apply(this);
            end();
            return made;
        } catch (IllegalArgumentException e) {
            String message = Objects.requireNonNullElse(e.getMessage(), e.toString());
            throw message.startsWith(where) ? e : new IllegalArgumentException(where + ": " + message, e);
        }
    }
}
