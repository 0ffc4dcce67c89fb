package tessera.distill.cli;

import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.data.ModalityFolders;

/** How much memory clips of one's own may take, and who reads those for which there is none. */
final class MemoryOptions {
    private static final String CLIP_MEMORY = "--clip-memory";
    private static final String READERS = "--readers";

    /** Names of all options. */
    static final List<String> NAMES = List.of(CLIP_MEMORY, READERS);

    private static final Pattern SIZE = Pattern.compile("(\\d{1,9})([kmgt]?)b?");
    /** Each 1024 times the one before; the first is none. */
    private static final List<String> UNITS = List.of("", "k", "m", "g", "t");

    @Option(
            names = CLIP_MEMORY,
            paramLabel = "SIZE",
            description =
                    "Memory for clips, such as 800m or 6g. What does not fit is read from its files whenever a batch needs it,"
                            + " with the same result. Default: as much as half of Java's heap may take, beside it")
    private @Nullable String memory;

    @Option(
            names = READERS,
            paramLabel = "N",
            description =
                    "Threads that read clips ahead where these are not all in memory. Default: one for each processor")
    private @Nullable Integer readers;

    /**
     * The standard reading with these options.
     *
     * @throws IllegalArgumentException if a number is impossible
     */
    ModalityFolders.Reading reading() {
        if (readers != null && readers < 1) {
            throw new IllegalArgumentException("--readers is " + readers + "; pass 1 or more");
        }
        ModalityFolders.Reading reading = ModalityFolders.Reading.DEFAULT;
        if (memory != null) {
            reading = reading.withMemory(bytes(memory));
        }
        if (readers != null) {
            reading = reading.withReaders(readers);
        }
        return reading;
    }

    private static long bytes(String text) {
        Matcher size = SIZE.matcher(text.toLowerCase(Locale.ROOT));
        double bytes =
                size.matches() ? Double.parseDouble(size.group(1)) * Math.pow(1024, UNITS.indexOf(size.group(2))) : 0;
        if (!(bytes >= 1 && bytes < Long.MAX_VALUE)) {
            throw new IllegalArgumentException(
                    "--clip-memory is " + text + "; pass a number of bytes with k, m, g or t behind it, such as 800m");
        }
        return (long) bytes;
    }
}
