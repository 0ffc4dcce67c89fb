package tessera.distill.cli;

import java.io.PrintWriter;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.function.Consumer;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.Spec;
import tessera.distill.report.Json;
import tessera.distill.train.Recipe;

/** What every command with a result does alike: help, and the result as text or as JSON. */
@Command(mixinStandardHelpOptions = true)
abstract class ToolCommand implements Callable<Integer> {

    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonOption json;

    @Override
    public final Integer call() {
        try {
            requireEachOnce();
            Outputs.requireNoInput(spec);
            run();
        } catch (IllegalArgumentException refusal) {
            throw UsageErrors.namingPaths(spec, refusal);
        }
        return ExitCode.OK;
    }

    /** Commas alone name nothing, and of two values for one name the first would be forgotten. */
    private void requireEachOnce() {
        for (OptionSpec option : spec.options()) {
            List<String> given = option.originalStringValues().stream()
                    .flatMap(word -> Stream.of(
                            option.splitRegex().isEmpty() ? new String[] {word} : word.split(option.splitRegex())))
                    .toList();
            if (option.getValue() instanceof Collection<?> values
                    && values.isEmpty()
                    && !option.originalStringValues().isEmpty()) {
                throw new IllegalArgumentException(option.longestName() + " is '"
                        + option.originalStringValues().getFirst() + "', which names nothing; pass "
                        + option.paramLabel() + ", several with '" + option.splitRegex() + "' between");
            }
            if (option.getValue() instanceof Map<?, ?> values && values.size() < given.size()) {
                throw new IllegalArgumentException(
                        option.longestName() + " gives one name two values, in " + given + "; give each name once");
            }
        }
    }

    /** Does the command's work. What it throws is told by {@link Main}. */
    abstract void run();

    /** The options that were given. */
    final ParseResult given() {
        return spec.commandLine().getParseResult();
    }

    /** The command as picocli knows it. */
    final CommandSpec spec() {
        return spec;
    }

    /** Refuses an option's number that is below its least. */
    static void requireLeast(String option, int given, int least) {
        if (given < least) {
            throw new IllegalArgumentException(option + " is " + given + "; pass " + least + " or more");
        }
    }

    /** Refuses batches of which no device could hold what is computed. */
    static void requireBatch(String option, int clips) {
        requireLeast(option, clips, 1);
        if (clips > Recipe.MOST_BATCH) {
            throw new IllegalArgumentException(option + " is " + clips + " clips, more than the memory of any device"
                    + " holds; pass " + Recipe.MOST_BATCH + " or fewer");
        }
    }

    /**
     * Prints the result.
     *
     * @param result a map or record, what {@link Json#write} takes; one line where the caller asked for JSON
     * @param text prints the result for people
     */
    final void print(Object result, Consumer<PrintWriter> text) {
        PrintWriter out = spec.commandLine().getOut();
        if (json.wanted()) {
            Json.write(result, out);
            out.println();
        } else {
            text.accept(out);
        }
    }
}
