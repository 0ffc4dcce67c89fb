package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import picocli.CommandLine.TypeConversionException;

/** Words that name files, as far as Java can read them. */
final class PathWords {
    /** What Java puts in the place of bytes that are no text. */
    private static final String NO_TEXT = "\uFFFD";

    private PathWords() {}

    static Path parse(String word) {
        if (word.isEmpty()) {
            // Java would take it for the folder that the program was started in.
            throw new TypeConversionException(
                    "name a file or folder, or leave the option away (nothing is named, as by a"
                            + " variable that is not set)");
        }
        Path path;
        try {
            path = Path.of(word);
        } catch (InvalidPathException e) {
            throw new TypeConversionException(
                    word.indexOf('\0') >= 0
                            ? "no file is called so"
                            : "the name cannot be said in " + System.getProperty("sun.jnu.encoding")
                                    + ", the character set of this Java; start it where the locale is one of UTF-8, as"
                                    + " LC_ALL=C.UTF-8");
        }
        if (word.contains(NO_TEXT) && !Files.exists(path)) {
            throw new TypeConversionException("the name has bytes that are no UTF-8; rename it");
        }
        return path;
    }
}
