package tessera.distill.report;

import java.io.IOException;
import java.io.StringWriter;
import java.io.Writer;
import java.lang.reflect.Method;
import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import tessera.tensor.io.JsonTokens;
import tools.jackson.core.JacksonException;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.JsonParser;
import tools.jackson.core.JsonToken;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.StreamWriteFeature;
import tools.jackson.core.json.JsonFactory;

/** Writes results and settings as JSON, and reads settings. */
public final class Json {
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            // Closed after an error, a generator would end what is open: half of a result would look like a whole one.
            .disable(StreamWriteFeature.AUTO_CLOSE_CONTENT)
            .build();

    private Json() {}

    /**
     * A value as one line of JSON.
     *
     * @param value strings, numbers, booleans, nulls, and maps, collections and records of these, public or of this module; anything else
     *     by its text, in the order given. NaN and infinities become null, for JSON has none
     */
    public static String text(@Nullable Object value) {
        return text(value, UnaryOperator.identity());
    }

    /**
     * As {@link #text(Object)}, with a say in what values look like.
     *
     * @param edge gives for every value and every name in a map what is written in its place
     */
    public static String text(@Nullable Object value, UnaryOperator<Object> edge) {
        StringWriter text = new StringWriter();
        write(value, edge, text);
        return text.toString();
    }

    /**
     * Writes {@link #text(Object)} as it is made: of a collection that makes its items when asked for them, no more than one is in
     * memory. Where one of them fails, what was written is no JSON.
     *
     * @param to neither flushed nor closed
     */
    public static void write(@Nullable Object value, Writer to) {
        write(value, UnaryOperator.identity(), to);
    }

    private static void write(@Nullable Object value, UnaryOperator<Object> edge, Writer to) {
        try (JsonGenerator json = FACTORY.createGenerator(ObjectWriteContext.empty(), new Escaping(to))) {
            write(json, value, edge);
        }
    }

    /** Passes a text on, {@link JsonTokens#escaped}, part by part. */
    private static final class Escaping extends Writer {
        private final Writer to;
        /** The first half of a surrogate pair that a part ended with, or empty: the next part may begin with the other. */
        private String half = "";

        Escaping(Writer to) {
            this.to = to;
        }

        @Override
        public void write(char[] characters, int from, int length) throws IOException {
            String part = half + new String(characters, from, length);
            int whole = part.length();
            if (whole > 0 && Character.isHighSurrogate(part.charAt(whole - 1))) {
                whole--;
            }
            half = part.substring(whole);
            to.write(JsonTokens.escaped(part.substring(0, whole)));
        }

        @Override
        public void flush() {}

        @Override
        public void close() throws IOException {
            to.write(JsonTokens.escaped(half));
            half = "";
        }
    }

    /**
     * The members of an object that {@link #text} wrote, in its order: strings, booleans, null, {@code Long} or {@code Double},
     * and maps and lists of these.
     *
     * @throws IllegalArgumentException if the text is no such object
     */
    public static Map<String, @Nullable Object> object(String text) {
        try (JsonParser json = FACTORY.createParser(ObjectReadContext.empty(), text)) {
            if (json.nextToken() != JsonToken.START_OBJECT) {
                throw new IllegalArgumentException("json: no object: " + text);
            }
            Map<String, @Nullable Object> members = members(json);
            if (json.currentToken() != JsonToken.END_OBJECT || json.nextToken() != null) {
                throw new IllegalArgumentException("json: more than one object: " + text);
            }
            return members;
        } catch (JacksonException e) {
            throw new IllegalArgumentException("json: no object: " + text, e);
        }
    }

    /**
     * What a text holds: a map or a list, of what {@link #object} says.
     *
     * @throws IllegalArgumentException if the text is no JSON, or neither an object nor a list
     */
    public static Object value(String text) {
        try (JsonParser json = FACTORY.createParser(ObjectReadContext.empty(), text)) {
            JsonToken first = json.nextToken();
            Object value = first == null ? null : value(json, first);
            if (!(value instanceof Map || value instanceof List) || json.nextToken() != null) {
                throw new IllegalArgumentException("json: not one object or list");
            }
            return value;
        } catch (JacksonException e) {
            throw new IllegalArgumentException("json: no JSON", e);
        }
    }

    private static Map<String, @Nullable Object> members(JsonParser json) {
        Map<String, @Nullable Object> members = new LinkedHashMap<>();
        while (json.nextToken() == JsonToken.PROPERTY_NAME) {
            String name = json.currentName();
            members.put(name, value(json, json.nextToken()));
        }
        return members;
    }

    private static @Nullable Object value(JsonParser json, JsonToken token) {
        return switch (token) {
            case START_OBJECT -> members(json);
            case START_ARRAY -> {
                List<@Nullable Object> items = new ArrayList<>();
                for (JsonToken item = json.nextToken(); item != JsonToken.END_ARRAY; item = json.nextToken()) {
                    items.add(value(json, item));
                }
                yield items;
            }
            case VALUE_STRING -> json.getString();
            case VALUE_NUMBER_INT -> json.getLongValue();
            case VALUE_NUMBER_FLOAT -> json.getDoubleValue();
            case VALUE_TRUE -> true;
            case VALUE_FALSE -> false;
            default -> null;
        };
    }

    private static void write(JsonGenerator json, @Nullable Object original, UnaryOperator<Object> edge) {
        Object value = original == null ? null : edge.apply(original);
        switch (value) {
            case null -> json.writeNull();
            case Map<?, ?> map -> {
                json.writeStartObject();
                map.forEach((name, member) -> {
                    json.writeName(String.valueOf(edge.apply(name)));
                    write(json, member, edge);
                });
                json.writeEndObject();
            }
            case Record members -> {
                json.writeStartObject();
                for (RecordComponent member : members.getClass().getRecordComponents()) {
                    json.writeName(member.getName());
                    write(json, valueOf(member, members), edge);
                }
                json.writeEndObject();
            }
            case Collection<?> items -> {
                json.writeStartArray();
                items.forEach(item -> write(json, item, edge));
                json.writeEndArray();
            }
            case Boolean flag -> json.writeBoolean(flag);
            case Integer number -> json.writeNumber(number);
            case Long number -> json.writeNumber(number);
            case Float number -> writeReal(json, number);
            case Double number -> writeReal(json, number);
            default -> json.writeString(String.valueOf(value));
        }
    }

    private static @Nullable Object valueOf(RecordComponent member, Record owner) {
        try {
            Method accessor = member.getAccessor();
            accessor.trySetAccessible();
            return accessor.invoke(owner);
        } catch (ReflectiveOperationException e) {
            throw new IllegalArgumentException(
                    "json: " + owner.getClass() + " cannot be read; make the record public and its package exported",
                    e);
        }
    }

    private static void writeReal(JsonGenerator json, double number) {
        if (Double.isFinite(number)) {
            json.writeNumber(number);
        } else {
            json.writeNull();
        }
    }
}
