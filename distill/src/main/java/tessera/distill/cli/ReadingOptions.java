package tessera.distill.cli;

import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Views;

/** How training reads clips of one's own. */
final class ReadingOptions {
    private static final Pattern SIZE = Pattern.compile("(\\d{1,9})([kmgt]?)b?");
    /** Each 1024 times the one before; the first is none. */
    private static final List<String> UNITS = List.of("", "k", "m", "g", "t");

    @Option(
            names = "--clip-memory",
            paramLabel = "SIZE",
            description =
                    "Memory for clips, such as 800m or 6g. What does not fit is read from its files whenever a batch needs it,"
                            + " with the same result. Default: as much as half of Java's heap may take, beside it")
    private @Nullable String memory;

    @Option(
            names = "--readers",
            paramLabel = "N",
            description =
                    "Threads that read clips ahead of training where these are not all in memory. Default: one for each"
                            + " processor")
    private @Nullable Integer readers;

    @Option(
            names = "--live",
            description =
                    "Cut clips anew whenever they are looked at: other frames and another part of the whole picture, in its"
                            + " aspect, straight from the videos or pictures. Default: clips are resized to --clip-size once")
    private boolean live;

    @Option(
            names = "--live-stride",
            paramLabel = "N",
            description =
                    "With --live, take every N-th frame of a window at a random place, for pretrain and for distill by features;"
                            + " elsewhere --frame-sampling says it. Default: one of each of equal parts of the whole clip")
    private @Nullable Integer stride;

    @Option(
            names = "--most-broken",
            paramLabel = "SHARE",
            description = "The largest share of all clips that --skip-broken may leave out. Default: ${DEFAULT-VALUE}")
    private double mostBroken = ModalityFolders.Options.DEFAULT.mostBroken();

    /** Refuses a stride where the views of training have their own. */
    void requireNoStride() {
        if (stride != null) {
            throw new IllegalArgumentException("--live-stride is for pretrain and for distill by features alone; pass"
                    + " --frame-sampling dense --frame-stride " + stride);
        }
    }

    /**
     * The same options of folders, with these.
     *
     * @throws IllegalArgumentException if a number is impossible
     */
    ModalityFolders.Options addTo(ModalityFolders.Options options) {
        if (readers != null && readers < 1) {
            throw new IllegalArgumentException("--readers is " + readers + "; pass 1 or more");
        }
        if (!(mostBroken >= 0 && mostBroken <= 1)) {
            throw new IllegalArgumentException(
                    "--most-broken is " + mostBroken + "; pass a share of the clips from 0 to 1 such as 0.1");
        }
        if (stride != null && (stride < 1 || !live)) {
            throw new IllegalArgumentException(
                    "--live-stride is " + stride + "; pass 1 or more, together with --live, or leave it away");
        }
        Views cut = stride == null ? Views.PLAIN : Views.PLAIN.withFrames(Views.Frames.DENSE, stride);
        ModalityFolders.Reading reading = ModalityFolders.Reading.DEFAULT.withLive(live ? cut : null);
        if (memory != null) {
            reading = reading.withMemory(bytes(memory));
        }
        if (readers != null) {
            reading = reading.withReaders(readers);
        }
        return options.withMostBroken(mostBroken).withReading(reading);
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
