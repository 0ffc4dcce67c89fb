package tessera.distill.cli;

import java.io.PrintWriter;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import tessera.distill.report.Json;

/** The option {@code --json}, mixed into every command that has a result. */
final class JsonOption {

    @Option(names = "--json", description = "Print the result as one JSON object on standard output, nothing else.")
    private boolean json;

    /** Whether the caller asked for JSON; then {@link #print} writes the result and the command writes nothing else. */
    boolean wanted() {
        return json;
    }

    /** Writes a command's result, as JSON if the caller asked for it, or else one line. */
    void print(CommandSpec spec, Map<String, ? extends @Nullable Object> result, Object line) {
        spec.commandLine().getOut().println(json ? Json.text(result) : line);
    }

    /**
     * Writes a result as one line of JSON.
     *
     * @param result what {@link Json#text} takes
     */
    static void print(PrintWriter out, Map<String, ? extends @Nullable Object> result) {
        out.println(Json.text(result));
    }
}
