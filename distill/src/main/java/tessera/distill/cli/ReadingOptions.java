package tessera.distill.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Views;

/** How training reads clips of one's own. */
final class ReadingOptions {
    private static final String LIVE = "--live";
    private static final String LIVE_STRIDE = "--live-stride";
    static final String MOST_BROKEN = "--most-broken";
    static final String OF_SKIPPED = "is for --skip-broken; pass that too, or leave it away";

    /** Names of its own options. */
    static final List<String> NAMES = List.of(LIVE, LIVE_STRIDE, MOST_BROKEN);

    @Mixin
    private MemoryOptions memory;

    @Option(
            names = LIVE,
            description =
                    "Cut clips anew whenever they are looked at: other frames and another part of the whole picture, in its"
                            + " aspect, straight from the videos or pictures. Default: clips are resized to --clip-size once")
    private boolean live;

    @Option(
            names = LIVE_STRIDE,
            paramLabel = "N",
            description =
                    "With --live, take every N-th frame of a window at a random place, for pretrain and for distill by features;"
                            + " elsewhere --frame-sampling says it. Default: one of each of equal parts of the whole clip")
    private @Nullable Integer stride;

    @Option(
            names = MOST_BROKEN,
            paramLabel = "SHARE",
            description = "The largest share of all clips that --skip-broken may leave out. Default: 0.5")
    private @Nullable Double mostBroken;

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
        if (mostBroken != null && !(mostBroken >= 0 && mostBroken <= 1)) {
            throw new IllegalArgumentException(
                    "--most-broken is " + mostBroken + "; pass a share of the clips from 0 to 1 such as 0.1");
        }
        if (mostBroken != null && !options.skipBroken()) {
            throw new IllegalArgumentException(MOST_BROKEN + " " + OF_SKIPPED);
        }
        if (stride != null && (stride < 1 || !live)) {
            throw new IllegalArgumentException(
                    "--live-stride is " + stride + "; pass 1 or more, together with --live, or leave it away");
        }
        Views cut = stride == null ? Views.PLAIN : Views.PLAIN.withFrames(Views.Frames.DENSE, stride);
        ModalityFolders.Reading reading = memory.reading().withLive(live ? cut : null);
        return (mostBroken == null ? options : options.withMostBroken(mostBroken)).withReading(reading);
    }
}
