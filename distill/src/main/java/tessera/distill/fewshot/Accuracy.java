package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.Locale;

/**
 * Mean accuracy over episodes with its 95 % confidence interval. All numbers are shares in [0, 1].
 *
 * @param mean mean over the episodes
 * @param std population standard deviation over the episodes
 * @param interval95 half width of the interval, {@code 1.96 std / sqrt(episodes)}
 * @param episodes number of episodes
 */
public record Accuracy(double mean, double std, double interval95, int episodes) {
    /**
     * Summarises the accuracies of single episodes.
     *
     * @throws IllegalArgumentException if there is none or one is not finite
     */
    public static Accuracy of(double[] accuracies) {
        if (accuracies.length == 0) {
            throw new IllegalArgumentException("accuracy: no episode given; evaluate at least one");
        }
        Features.requireFinite("accuracy", "the accuracies", accuracies);
        double mean = Arrays.stream(accuracies).reduce(0, Double::sum) / accuracies.length;
        double squares =
                Arrays.stream(accuracies).map(a -> (a - mean) * (a - mean)).reduce(0, Double::sum);
        double std = Math.sqrt(squares / accuracies.length);
        return new Accuracy(mean, std, 1.96 * std / Math.sqrt(accuracies.length), accuracies.length);
    }

    /** In percent, as papers print it: {@code 58.70 ± 0.43}. */
    @Override
    public String toString() {
        return String.format(Locale.ROOT, "%.2f ± %.2f", 100 * mean, 100 * interval95);
    }
}
