package tessera.distill.cli;

import java.util.List;
import java.util.stream.Stream;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.Modality;
import tessera.distill.data.Views;

/** How labelled clips are looked at in training; the published way where nothing else is said. */
final class ViewOptions {
    /** Why options of random views do nothing without them. */
    static final String NOT_AUGMENTED =
            "is for random views but --no-augment shows clips as they are; leave one of them away";

    private static final String STRIDE = "--frame-stride";
    private static final String SCALES = "--scales";
    private static final List<String> COLOURS = List.of("--jitter", "--hue");
    private static final List<String> OF_TRAINING = List.of(SCALES, "--jitter", "--hue", "--flip");

    /** Names of all options. */
    static final List<String> NAMES = Stream.concat(Stream.of("--frame-sampling", STRIDE), OF_TRAINING.stream())
            .toList();

    @Option(
            names = "--frame-sampling",
            paramLabel = "uniform|dense",
            description =
                    "Frames of a clip that holds more than the model takes: one of each of equal parts, or a window"
                            + " with a stride. Default: ${DEFAULT-VALUE}")
    private Views.Frames sampling = Views.PUBLISHED.frames();

    @Option(
            names = STRIDE,
            paramLabel = "N",
            description = "Frames from one to the next of dense windows. Default: ${DEFAULT-VALUE}")
    private int stride = Views.PUBLISHED.stride();

    @Option(
            names = SCALES,
            split = ",",
            paramLabel = "A,B",
            description =
                    "The picture's shorter side is A to B times as long as what is seen of it; 1,1 shows it whole."
                            + " Default: 1.15,1.43")
    private List<Double> scales = List.of(Views.PUBLISHED.smallest(), Views.PUBLISHED.largest());

    @Option(
            names = "--jitter",
            paramLabel = "X",
            description =
                    "Brightness, contrast and saturation change by factors of 1 - X to 1 + X, 0 for none. Default:"
                            + " ${DEFAULT-VALUE}")
    private double jitter = Views.PUBLISHED.jitter();

    @Option(
            names = "--hue",
            paramLabel = "X",
            description = "Hues turn by at most this share of the colour circle, 0 for none. Default: ${DEFAULT-VALUE}")
    private double hue = Views.PUBLISHED.hue();

    @Option(names = "--flip", description = "Mirror every second clip of training. Default: none is")
    private boolean flip = Views.PUBLISHED.mirror();

    /** Refuses what would do nothing. */
    void check(ParseResult given, boolean augmented, Modality modality) {
        if (sampling != Views.Frames.DENSE) {
            IdleOptions.refuse(
                    given, STRIDE, "is for dense windows; pass --frame-sampling dense too, or leave it away");
        }
        if (!augmented) {
            IdleOptions.refuse(given, OF_TRAINING, NOT_AUGMENTED);
        }
        if (!modality.equals(Modality.RGB)) {
            IdleOptions.refuse(given, COLOURS, "changes colours, which " + modality + " does not have; leave it away");
        }
    }

    /**
     * The views of training.
     *
     * @throws IllegalArgumentException if the numbers make none
     */
    Views views() {
        if (scales.size() != 2) {
            throw new IllegalArgumentException(
                    "--scales has " + scales.size() + " numbers; pass two with a comma between, such as 1.15,1.43");
        }
        Views framed = UsageErrors.naming(() -> Views.PUBLISHED.withFrames(sampling, stride), STRIDE);
        Views sized = UsageErrors.naming(() -> framed.withSizes(scales.getFirst(), scales.getLast()), SCALES);
        return UsageErrors.naming(() -> sized.withColours(jitter, hue), "--jitter", "--hue")
                .withMirror(flip);
    }
}
