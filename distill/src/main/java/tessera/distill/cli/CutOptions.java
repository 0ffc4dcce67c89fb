package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.video.ClipCut;
import tessera.nn.ClipShape;

/** How recordings are cut into clips. */
final class CutOptions {

    @Option(
            names = "--clip-seconds",
            paramLabel = "S",
            defaultValue = "2",
            description = "Length of a clip; 0 makes one clip of the whole part. Default: ${DEFAULT-VALUE}")
    private double clipSeconds;

    @Option(
            names = "--stride-seconds",
            paramLabel = "S",
            description =
                    "From the beginning of a clip to the next; below --clip-seconds they overlap. Default: no overlap")
    private @Nullable Double strideSeconds;

    @Option(
            names = "--from",
            paramLabel = "F",
            defaultValue = "0",
            description = "Where the part of each video begins, as a share of its length. Default: ${DEFAULT-VALUE}")
    private double from;

    @Option(
            names = "--to",
            paramLabel = "F",
            defaultValue = "1",
            description = "Where the part ends. Default: ${DEFAULT-VALUE}")
    private double to;

    /**
     * Clips as a model takes them.
     *
     * @throws IllegalArgumentException if the part or a length is impossible
     */
    ClipCut cut(ClipShape config) {
        double stride = strideSeconds == null ? clipSeconds : strideSeconds;
        return new ClipCut(config.frames(), config.height(), config.width(), clipSeconds, stride, from, to);
    }

    /** Refuses impossible lengths and parts before anything is loaded. */
    void check() {
        new ClipCut(16, 16, 16, clipSeconds, strideSeconds == null ? clipSeconds : strideSeconds, from, to);
    }
}
