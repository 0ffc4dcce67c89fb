package tessera.distill.cli;

import java.nio.file.Path;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;
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
    private static final Set<Class<?>> WHOLE_NUMBERS = Set.of(int.class, Integer.class, long.class, Long.class);
    private static final Set<Class<?>> FRACTIONS = Set.of(float.class, Float.class, double.class, Double.class);

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
                        : wrongValue(argument, refusal);
        };
    }

    /**
     * What is made of options' values. Who refuses them does not know the options, so a refusal that names none of them gets their names
     * before it.
     *
     * @param options one, or those that belong together
     */
    static <T> T naming(Supplier<T> made, String... options) {
        try {
            return made.get();
        } catch (IllegalArgumentException refusal) {
            String message = String.valueOf(refusal.getMessage());
            if (message.startsWith("--") || List.of(options).stream().anyMatch(message::contains)) {
                throw refusal;
            }
            throw named(List.of(options), ": ", refusal);
        }
    }

    /**
     * A refusal of a command's, with the options before it that name the files and folders that it tells of: of several in a line only the
     * option tells what each is for.
     */
    static IllegalArgumentException namingPaths(CommandSpec command, IllegalArgumentException refusal) {
        String message = String.valueOf(refusal.getMessage());
        NavigableMap<Integer, Told> places = new TreeMap<>();
        for (OptionSpec option : command.options()) {
            for (Path path : Outputs.paths(option)) {
                int length = path.toString().length();
                for (int at = 0; at < message.length(); at++) {
                    if (tells(message, at, path)) {
                        places.merge(at, new Told(length, List.of(option.longestName())), Told::longer);
                    }
                }
            }
        }
        boolean named = message.startsWith("--") || message.contains(" --");
        NavigableMap<Integer, Told> told = named ? places.headMap(0, true) : places;
        if (told.isEmpty()) {
            return refusal;
        }
        List<String> names =
                told.values().stream().flatMap(each -> each.options.stream()).toList();
        return named(names, told.lastKey() == 0 ? " " : ": ", refusal);
    }

    /** The options that name what a message tells of at one place, and the length of its name. */
    private record Told(int length, List<String> options) {
        Told longer(Told other) {
            if (length != other.length) {
                return length > other.length ? this : other;
            }
            return new Told(
                    length,
                    Stream.concat(options.stream(), other.options.stream()).toList());
        }
    }

    /** Whether a message has a path there, or one below it; what is a bare word of it may mean something else. */
    private static boolean tells(String message, int at, Path path) {
        String given = path.toString();
        int end = at + given.length();
        if (!message.startsWith(given, at) || (at > 0 && " ('".indexOf(message.charAt(at - 1)) < 0)) {
            return false;
        }
        boolean below = message.startsWith(path.getFileSystem().getSeparator(), end);
        boolean ends = end < message.length() && " :,;)'".indexOf(message.charAt(end)) >= 0;
        return below || (ends && (at == 0 || path.getNameCount() > 1));
    }

    private static IllegalArgumentException named(
            List<String> options, String between, IllegalArgumentException refusal) {
        List<String> names = options.stream().distinct().toList();
        String last = names.getLast();
        String before = String.join(", ", names.subList(0, names.size() - 1));
        return new IllegalArgumentException(
                (before.isEmpty() ? last : before + " and " + last) + between + refusal.getMessage(), refusal);
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
                && missing.getFirst() instanceof OptionSpec
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

    private static String wrongValue(ArgSpec argument, ParameterException refusal) {
        String value = refusal.getValue();
        Class<?>[] types = argument.auxiliaryTypes();
        String remedy = "pass a value that fits " + label(argument);
        if (refusal.getCause() == null && types.length > 1) {
            remedy = "pass pairs with '=' between them, " + label(argument);
        } else if (types[0] == boolean.class || types[0] == Boolean.class) {
            remedy = "it takes no value";
        } else if (WHOLE_NUMBERS.contains(types[0])) {
            remedy = value.matches("[+-]?\\d+") ? "pass a number nearer to 0" : "pass a whole number";
        } else if (FRACTIONS.contains(types[0])) {
            remedy = "pass a number such as 0.5";
        } else if (refusal.getCause() != null && refusal.getCause().getMessage() != null) {
            // Converters of the commands' say what would do.
            remedy = refusal.getCause().getMessage();
        }
        return name(argument) + " is '" + value + "'; " + remedy;
    }

    private static String name(ArgSpec argument) {
        return argument instanceof OptionSpec option ? option.longestName() : argument.paramLabel();
    }

    private static String label(ArgSpec argument) {
        return argument.paramLabel().replaceAll("^<(.*)>$", "$1");
    }

    /** The candidate that begins so, or else the one with the fewest letters to change, where those are few. */
    private static Optional<String> nearest(String word, Collection<String> candidates) {
        Optional<String> longer = candidates.stream()
                .filter(candidate -> word.length() > 3 && candidate.startsWith(word))
                .findFirst();
        if (longer.isPresent()) {
            return longer;
        }
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
