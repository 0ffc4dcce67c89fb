package tessera.distill.cli;

import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.video.ClipCut;
import tessera.nn.ClipShape;

/** How recordings are cut into clips. */
final class CutOptions {
    static final String STRIDE_SECONDS = "--stride-seconds";
    static final String FPS = "--fps";
    private static final String CLIP_SECONDS = "--clip-seconds";
    private static final String FROM = "--from";
    private static final String TO = "--to";

    /** Options of lengths and rates, and of the part of each video. */
    static final List<String> LENGTHS = List.of(CLIP_SECONDS, STRIDE_SECONDS, FPS);

    static final List<String> PART = List.of(FROM, TO);

    @Option(
            names = CLIP_SECONDS,
            paramLabel = "S",
            defaultValue = "2",
            description = "Length of a clip; 0 makes one clip of the whole part. Default: ${DEFAULT-VALUE}")
    private double clipSeconds;

    @Option(
            names = STRIDE_SECONDS,
            paramLabel = "S",
            description =
                    "From the beginning of a clip to the next; below --clip-seconds they overlap. Default: no overlap")
    private @Nullable Double strideSeconds;

    @Option(
            names = FROM,
            paramLabel = "F",
            defaultValue = "0",
            description = "Where the part of each video begins, as a share of its length. Default: ${DEFAULT-VALUE}")
    private double from;

    @Option(
            names = TO,
            paramLabel = "F",
            defaultValue = "1",
            description = "Where the part ends. Default: ${DEFAULT-VALUE}")
    private double to;

    @Option(
            names = FPS,
            paramLabel = "N",
            defaultValue = "25",
            description = "Frames a second of a folder of numbered JPEG or PNG frames; videos have their own. Default:"
                    + " ${DEFAULT-VALUE}")
    private double fps;

    /**
     * Clips as a model takes them.
     *
     * @throws IllegalArgumentException if the part or a length is impossible
     */
    ClipCut cut(ClipShape config) {
        check();
        if (clipSeconds > 0 && config.frames() / clipSeconds > ClipCut.MOST_FRAMES_PER_SECOND) {
            throw new IllegalArgumentException("--clip-seconds is " + clipSeconds + " but the student takes "
                    + config.frames() + " frames of a clip, at most " + ClipCut.MOST_FRAMES_PER_SECOND
                    + " a second; make clips longer");
        }
        return new ClipCut(config.frames(), config.height(), config.width(), clipSeconds, stride(), from, to)
                .withPictureRate(fps);
    }

    /** Refuses impossible lengths and parts before anything is loaded. */
    void check() {
        if (!(clipSeconds >= 0 && clipSeconds < ClipCut.LONGEST)) {
            throw new IllegalArgumentException("--clip-seconds is " + clipSeconds
                    + "; pass a positive number of seconds, or 0 for one clip of the whole part");
        }
        if (clipSeconds == 0 && strideSeconds != null) {
            throw new IllegalArgumentException(STRIDE_SECONDS + " is " + strideSeconds
                    + " but --clip-seconds is 0, one clip of the whole part; leave one of them away");
        }
        if (clipSeconds > 0 && !(stride() > 0 && stride() < ClipCut.LONGEST)) {
            throw new IllegalArgumentException(
                    "--stride-seconds is " + stride() + "; pass a positive number of seconds, or leave it away");
        }
        if (!(fps > 0 && fps <= ClipCut.MOST_FRAMES_PER_SECOND)) {
            throw new IllegalArgumentException("--fps is " + fps
                    + "; pass a positive number of frames a second, at most " + ClipCut.MOST_FRAMES_PER_SECOND);
        }
        if (!(0 <= from && from < to && to <= 1)) {
            throw new IllegalArgumentException("the part from " + from + " to " + to
                    + " is none of a video; pass shares with 0 <= --from < --to <= 1");
        }
    }

    /** Whether the whole part is one clip. */
    boolean isWhole() {
        return clipSeconds == 0;
    }

    private double stride() {
        return strideSeconds == null ? clipSeconds : strideSeconds;
    }
}
