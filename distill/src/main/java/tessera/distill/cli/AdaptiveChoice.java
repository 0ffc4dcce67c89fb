package tessera.distill.cli;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.evaluation.EnsemblePasses;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Stopping;

/** Masks that are added one at a time until a threshold that may be chosen on held-out clips. */
final class AdaptiveChoice extends AdaptiveOptions {
    private static final String TOLERANCE = "--adaptive-tolerance";

    @Option(
            names = TOLERANCE,
            paramLabel = "SHARE",
            description =
                    "How much of the accuracy of all masks the fewest masks may lose on the held-out clips, such as 0.005 for half"
                            + " a point. Default: ${DEFAULT-VALUE}")
    private double tolerance = .005;

    @Override
    void check(ParseResult given) {
        super.check(given);
        if (!wanted() || threshold() != null) {
            IdleOptions.refuse(
                    given,
                    TOLERANCE,
                    "is for a threshold that is chosen; pass --adaptive without a number too, or leave it away");
        }
    }

    @Override
    void check(Masking masking) {
        super.check(masking);
        if (!(tolerance >= 0 && tolerance <= 1)) {
            throw new IllegalArgumentException(
                    "--adaptive-tolerance is " + tolerance + "; pass a share of the clips from 0 to 1");
        }
    }

    /** Of {@link #rules} the one that is calibrated. */
    Stopping rule(@Nullable EnsemblePasses heldOut) {
        return rules(heldOut).getLast();
    }

    /**
     * The rules to compare: of probabilities as they are, and of calibrated ones.
     *
     * @param heldOut clips that are not judged, or null if there are none and the user gave a threshold
     */
    List<Stopping> rules(@Nullable EnsemblePasses heldOut) {
        Double given = threshold();
        List<Stopping> rules = new ArrayList<>();
        if (heldOut == null) {
            if (given == null) {
                throw new IllegalArgumentException(
                        "--adaptive sets its threshold on examples that are held out, but there is"
                                + " only one of a class; add examples, or pass a threshold such as --adaptive 0.9");
            }
            rules.add(new Stopping(given, measure(), 1));
            return rules;
        }
        for (double temperature : new double[] {1, heldOut.temperature()}) {
            rules.add(
                    given == null
                            ? heldOut.choose(measure(), temperature, tolerance)
                            : new Stopping(given, measure(), temperature));
        }
        return rules;
    }
}
