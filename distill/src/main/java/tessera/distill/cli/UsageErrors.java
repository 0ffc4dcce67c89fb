package tessera.distill.cli;

import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.MissingParameterException;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.OverwrittenOptionException;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/** What is wrong with a command line, in one line that names the word, what was needed, and the nearest right one. */
final class UsageErrors {
    private UsageErrors() {}

    /** The line for a refusal of picocli's. */
    static String describe(ParameterException refusal) {
        CommandLine command = refusal.getCommandLine();
        List<String> unmatched = refusal instanceof UnmatchedArgumentException surplus
                ? surplus.getUnmatched()
                : command.getUnmatchedArguments();
        ArgSpec argument = refusal.getArgSpec();
        // A misspelt option is told as such, not as the one that is then missing.
        if (!unmatched.isEmpty()) {
            return unmatched(unmatched.getFirst(), command);
        }
        return switch (refusal) {
            case MissingParameterException missing -> missing(missing);
            case OverwrittenOptionException twice -> name(twice.getOverwritten()) + " is given twice; give it once";
            default ->
                argument == null || refusal.getValue() == null
                        ? String.valueOf(refusal.getMessage())
                        : wrongValue(argument, refusal.getValue());
        };
    }

    private static String unmatched(String word, CommandLine command) {
        CommandSpec spec = command.getCommandSpec();
        if (word.startsWith("-")) {
            String name = word.contains("=") ? word.substring(0, word.indexOf('=')) : word;
            return "unknown option '" + name + "'"
                    + nearest(name, spec.optionsMap().keySet())
                            .map(UsageErrors::didYouMean)
                            .orElse("");
        }
        if (spec.subcommands().isEmpty()) {
            return "'" + spec.name() + "' has no place for '" + word + "'; leave it away, or put an option before it";
        }
        return "unknown command '" + word + "'"
                + nearest(word, spec.subcommands().keySet())
                        .map(UsageErrors::didYouMean)
                        .orElseGet(() -> "; the commands are "
                                + String.join(", ", spec.subcommands().keySet()));
    }

    private static String didYouMean(String word) {
        return "; did you mean '" + word + "'?";
    }

    /** One option that has no value, or all that a command needs and was not given. */
    private static String missing(MissingParameterException refusal) {
        List<ArgSpec> missing = refusal.getMissing();
        boolean noValue = missing.size() == 1
                && missing.getFirst() instanceof OptionSpec option
                && refusal.getCommandLine().getParseResult() != null
                && refusal.getMessage() != null
                && !refusal.getMessage().startsWith("Missing required option");
        if (noValue) {
            ArgSpec option = missing.getFirst();
            return name(option) + " needs a value; pass " + name(option) + " " + label(option);
        }
        List<String> words = missing.stream()
                .map(argument ->
                        argument instanceof OptionSpec ? name(argument) + " " + label(argument) : label(argument))
                .toList();
        return "'" + refusal.getCommandLine().getCommandName() + "' needs " + String.join(" and ", words);
    }

    private static String wrongValue(ArgSpec argument, String value) {
        return name(argument) + " is '" + value + "'; "
                + (argument.typeInfo().isBoolean() ? "it takes no value" : "pass " + allowed(argument, value));
    }

    private static String allowed(ArgSpec argument, String value) {
        Class<?>[] types = argument.auxiliaryTypes();
        Optional<String> words = Stream.of(types)
                .filter(Class::isEnum)
                .map(type -> "one of " + EnumWords.all(type))
                .findFirst();
        if (types.length > 1) {
            String pairs = "pairs NAME=VALUE, " + label(argument);
            return words.map(all -> pairs + ", with NAME " + all).orElse(pairs);
        }
        return words.orElseGet(() -> types[0] == Path.class ? "a path" : number(types[0], value));
    }

    private static String number(Class<?> type, String value) {
        if (type == double.class || type == Double.class || type == float.class || type == Float.class) {
            return "a number such as 0.5";
        }
        boolean whole = value.matches("[+-]?\\d+");
        return whole ? "a whole number that is closer to 0" : "a whole number";
    }

    private static String name(ArgSpec argument) {
        return argument instanceof OptionSpec option ? option.longestName() : argument.paramLabel();
    }

    private static String label(ArgSpec argument) {
        return argument.paramLabel().replaceAll("^<(.*)>$", "$1");
    }

    /** The candidate with the fewest letters to change, where those are few. */
    private static Optional<String> nearest(String word, Collection<String> candidates) {
        int most = Math.max(1, word.replaceFirst("^--?", "").length() / 3);
        return candidates.stream()
                .filter(candidate -> distance(word, candidate) <= most)
                .min(Comparator.comparingInt(candidate -> distance(word, candidate)));
    }

    /** Letters to insert, delete, replace or swap with their neighbour (optimal string alignment). */
    private static int distance(String a, String b) {
        int[][] d = new int[a.length() + 1][b.length() + 1];
        for (int i = 0; i <= a.length(); i++) {
            for (int j = 0; j <= b.length(); j++) {
                if (i == 0 || j == 0) {
                    d[i][j] = i + j;
                    continue;
                }
                int change = a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1;
                d[i][j] = Math.min(Math.min(d[i - 1][j], d[i][j - 1]) + 1, d[i - 1][j - 1] + change);
                if (i > 1 && j > 1 && a.charAt(i - 1) == b.charAt(j - 2) && a.charAt(i - 2) == b.charAt(j - 1)) {
                    d[i][j] = Math.min(d[i][j], d[i - 2][j - 2] + 1);
                }
            }
        }
        return d[a.length()][b.length()];
    }
}
