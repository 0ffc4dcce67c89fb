package tessera.distill.cli;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.TypeConversionException;

/** On the command line the constants of every enum are words in lower case, in what is accepted and in what is shown. */
final class EnumWords {
    private EnumWords() {}

    /** The word for a constant: {@code DARK_BLUE} is {@code dark-blue}. */
    static String of(Enum<?> constant) {
        return word(constant.name());
    }

    private static String word(String name) {
        return name.toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** The words for all constants of an enum, for messages: {@code validation, test}. */
    static String all(Class<?> type) {
        return Arrays.stream(type.getEnumConstants())
                .map(constant -> of((Enum<?>) constant))
                .collect(Collectors.joining(", "));
    }

    /** Teaches a command and those below it the words of every enum that an option or parameter of theirs has. */
    static void teach(CommandLine command) {
        CommandSpec spec = command.getCommandSpec();
        for (ArgSpec argument : List.copyOf(spec.args())) {
            for (Class<?> type : argument.auxiliaryTypes()) {
                if (type.isEnum()) {
                    register(command, type);
                    if (argument instanceof OptionSpec option) {
                        spec.remove(option);
                        spec.addOption(shown(option, type));
                    }
                    break;
                }
            }
        }
        command.getSubcommands().values().forEach(EnumWords::teach);
    }

    /** The option with words as the values and the default that its help names. */
    private static OptionSpec shown(OptionSpec option, Class<?> type) {
        OptionSpec.Builder builder = OptionSpec.builder(option)
                .completionCandidates(List.of(all(type).split(", ")));
        if (option.defaultValue() != null) {
            builder.defaultValue(word(option.defaultValue()));
        } else if (option.initialValue() instanceof Enum<?> initial) {
            builder.defaultValue(of(initial));
        }
        return builder.build();
    }

    private static <T> void register(CommandLine command, Class<T> type) {
        ITypeConverter<T> converter = word -> Arrays.stream(type.getEnumConstants())
                .filter(constant -> of((Enum<?>) constant).equals(word(word)))
                .findFirst()
                .orElseThrow(() -> new TypeConversionException("pass one of " + all(type)));
        command.registerConverter(type, converter);
    }
}
