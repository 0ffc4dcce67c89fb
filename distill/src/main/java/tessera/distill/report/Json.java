package tessera.distill.report;

import java.io.StringWriter;
import java.lang.reflect.RecordComponent;
import java.util.Collection;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** Writes results as JSON. */
public final class Json {
    private Json() {}

    /**
     * A value as one line of JSON.
     *
     * @param value strings, numbers, booleans, nulls, and maps, collections and public records of these; anything else
     *     by its text, in the order given. NaN and infinities become null, for JSON has none
     */
    public static String text(@Nullable Object value) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
            write(json, value);
        }
        return text.toString();
    }

    private static void write(JsonGenerator json, @Nullable Object value) {
        switch (value) {
            case null -> json.writeNull();
            case Map<?, ?> map -> {
                json.writeStartObject();
                map.forEach((name, member) -> {
                    json.writeName(String.valueOf(name));
                    write(json, member);
                });
                json.writeEndObject();
            }
            case Record members -> {
                json.writeStartObject();
                for (RecordComponent member : members.getClass().getRecordComponents()) {
                    json.writeName(member.getName());
                    write(json, valueOf(member, members));
                }
                json.writeEndObject();
            }
            case Collection<?> items -> {
                json.writeStartArray();
                items.forEach(item -> write(json, item));
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
            return member.getAccessor().invoke(owner);
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
