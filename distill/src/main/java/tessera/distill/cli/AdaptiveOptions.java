package tessera.distill.cli;

import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.TypeConversionException;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Stopping;

/** Masks that are added one at a time: {@code --adaptive} and {@code --adaptive-by}. */
class AdaptiveOptions {
    private static final String BY = "--adaptive-by";

    /** {@code --adaptive} without a number. */
    private static final String LEARNED = "learned";

    @Option(
            names = "--adaptive",
            arity = "0..1",
            fallbackValue = LEARNED,
            paramLabel = "THRESHOLD",
            description =
                    "Add masks one at a time until the averaged prediction is this sure, 0 to 1, or --ensemble is reached. Without a"
                            + " number: the threshold that the head was learned with, or that held-out examples give. Default: all"
                            + " masks at once")
    private @Nullable String adaptive;

    @Option(
            names = BY,
            paramLabel = "confidence|margin",
            description =
                    "What is sure: the highest probability, or how much it is above the second. Default: ${DEFAULT-VALUE}")
    private Stopping.Measure measure = Stopping.Measure.CONFIDENCE;

    boolean wanted() {
        return adaptive != null;
    }

    Stopping.Measure measure() {
        return measure;
    }

    /** The number that was given, or null. */
    @Nullable
    Double threshold() {
        if (adaptive == null || adaptive.equals(LEARNED)) {
            return null;
        }
        try {
            double threshold = NumberWords.real(adaptive);
            if (threshold >= 0 && threshold <= 1) {
                return threshold;
            }
        } catch (TypeConversionException e) {
            // The same words say what is needed.
        }
        throw new IllegalArgumentException(
                "--adaptive is '" + adaptive + "'; pass a number between 0 and 1 such as 0.9, or none");
    }

    /** Refuses what would do nothing. */
    void check(ParseResult given) {
        if (!wanted()) {
            IdleOptions.refuse(given, BY, "is for --adaptive; pass that too, or leave it away");
        }
    }

    /** Refuses what is no number, and masks of which there is only one. */
    void check(Masking masking) {
        if (!wanted()) {
            return;
        }
        threshold();
        if (masking.ensemble() < 2 || masking.ratio() == 0) {
            throw new IllegalArgumentException("--adaptive adds masks one at a time, but there is "
                    + (masking.ratio() == 0 ? "none with --mask-ratio 0" : "only one")
                    + "; pass for example --ensemble 4 --mask-ratio 0.75, or leave --adaptive away");
        }
    }

    /** When each head has seen enough, or null where all masks are wanted. */
    @Nullable
    Function<Head, Stopping> stopping() {
        if (!wanted()) {
            return null;
        }
        Double given = threshold();
        return given == null
                ? Stopping::learned
                : head -> new Stopping(
                        given,
                        measure,
                        head.stopping().map(Stopping::temperature).orElse(1.0));
    }
}
