package tessera.distill.evaluation;

import java.util.Locale;
import org.jspecify.annotations.Nullable;
import tessera.nn.TokenReduction;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.CostMeter;

/**
 * What a student computed of clips with a {@link TokenReduction}, all passes of an ensemble together.
 *
 * @param reduction in words
 * @param tokens share of the visible tokens that was computed, on average over the linear layers
 * @param gflops of the mean clip, as {@link Gflops#all}
 * @param gflopsOfAllTokens of a clip of which every visible token is computed
 */
public record ReducedCost(String reduction, double tokens, double gflops, double gflopsOfAllTokens) {
    /**
     * Reads a meter.
     *
     * @param meter that counted the features of the clips and little else
     * @param clips how many there were
     * @return null where no token is left out, or there was no clip
     */
    public static @Nullable ReducedCost of(CostMeter meter, long clips, Student student, Masking masking) {
        if (masking.reduction().isNone() || clips == 0) {
            return null;
        }
        Gflops counted = Gflops.of(meter);
        double linear = (double) meter.of("linear").flops() / clips;
        try (CostMeter whole = CostMeter.open()) {
            Gflops all = Gflops.of(student, masking.withReduction(TokenReduction.NONE));
            return new ReducedCost(
                    masking.reduction().toString(),
                    linear / whole.of("linear").flops(),
                    counted.all() / clips,
                    all.all());
        }
    }

    /** One line for people. */
    public String text() {
        return String.format(
                Locale.ROOT,
                "%s: %.1f %% of the tokens computed, %.3f GFLOPs a clip instead of %.3f",
                reduction,
                100 * tokens,
                gflops,
                gflopsOfAllTokens);
    }
}
