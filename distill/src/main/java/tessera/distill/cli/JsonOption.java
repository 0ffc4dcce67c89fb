package tessera.distill.cli;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Collection;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/** The option {@code --json}, mixed into every command that has a result. */
final class JsonOption {

    @Option(names = "--json", description = "Print the result as one JSON object on standard output, nothing else.")
    private boolean json;

    /** Whether the caller asked for JSON; then {@link #print} writes the result and the command writes nothing else. */
    boolean wanted() {
        return json;
    }

    /**
     * Writes a result as one line of JSON.
     *
     * @param result strings, numbers, booleans, nulls, and maps and collections of these; anything else by its text, in the order given
     */
    static void print(PrintWriter out, Map<String, ? extends @Nullable Object> result) {
        StringWriter text = new StringWriter();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
            write(json, result);
        }
        out.println(text);
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

    /** JSON has no NaN and no infinity: they become null. */
    private static void writeReal(JsonGenerator json, double number) {
        if (Double.isFinite(number)) {
            json.writeNumber(number);
        } else {
            json.writeNull();
        }
    }
}
