package tessera.distill.cli;

import picocli.CommandLine.Option;

/** The option {@code --json}, mixed into every command that has a result. */
final class JsonOption {

    @Option(names = "--json", description = "Print the result as one JSON object on standard output, nothing else.")
    private boolean json;

    /** Whether the caller asked for JSON; then the command writes nothing else. */
    boolean wanted() {
        return json;
    }
}
