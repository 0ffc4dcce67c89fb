package tessera.distill.cli;

import java.util.regex.Pattern;
import picocli.CommandLine;
import picocli.CommandLine.TypeConversionException;

/** Numbers in the digits 0 to 9 alone: Java takes those of other scripts for some, and letters behind others. */
final class NumberWords {
    private static final Pattern WHOLE = Pattern.compile("[+-]?[0-9]+");
    private static final Pattern REAL =
            Pattern.compile("[+-]?([0-9]+\\.?[0-9]*|\\.[0-9]+)([eE][+-]?[0-9]+)?|NaN|[+-]?Infinity");

    private NumberWords() {}

    /** Teaches a command and those below it. */
    static void teach(CommandLine command) {
        command.registerConverter(int.class, word -> Integer.parseInt(matching(WHOLE, word)))
                .registerConverter(Integer.class, word -> Integer.valueOf(matching(WHOLE, word)))
                .registerConverter(long.class, word -> Long.parseLong(matching(WHOLE, word)))
                .registerConverter(Long.class, word -> Long.valueOf(matching(WHOLE, word)))
                .registerConverter(double.class, NumberWords::real)
                .registerConverter(Double.class, NumberWords::real);
    }

    /** @throws TypeConversionException if it is none */
    static double real(String word) {
        return Double.parseDouble(matching(REAL, word));
    }

    private static String matching(Pattern number, String word) {
        if (!number.matcher(word).matches()) {
            throw new TypeConversionException("no number"); // UsageErrors knows what to do
        }
        return word;
    }
}
