package tessera.distill.evaluation;

import java.util.Arrays;
import java.util.Locale;

/**
 * A mean with what it may be off by. Shares in [0, 1] where it is of accuracies or calibration errors.
 *
 * @param mean the value in the middle
 * @param half the interval's half width; NaN where one value alone tells none
 */
public record Interval(double mean, double half) {
    /**
     * A share of clips and its standard error {@code sqrt(p (1 - p) / n)}: what papers on action recognition give as ±, in percent
     * {@code sqrt(p (100 - p) / n)}. It tells of the choice of clips alone, at one standard deviation.
     *
     * @param share p in [0, 1]
     * @param clips n, 1 or more
     * @throws IllegalArgumentException if one is out of its range
     */
    public static Interval overClips(double share, int clips) {
        if (!(share >= 0 && share <= 1) || clips < 1) {
            throw new IllegalArgumentException("interval: the share " + share + " of " + clips
                    + " clips; pass a share in [0, 1] of 1 or more clips");
        }
        return new Interval(share, Math.sqrt(share * (1 - share) / clips));
    }

    /**
     * The mean over trainings of several seeds with its 95 % interval {@code t s / sqrt(n)}, s the deviation with n - 1 and t the
     * quantile .975 of Student's distribution with n - 1 degrees of freedom (4.303 for three seeds).
     *
     * @param values one for each seed
     * @throws IllegalArgumentException if there is none
     */
    public static Interval overSeeds(double... values) {
        int n = values.length;
        if (n == 0) {
            throw new IllegalArgumentException("interval: no value given; pass one for each seed");
        }
        double mean = Arrays.stream(values).sum() / n;
        if (n == 1) {
            return new Interval(mean, Double.NaN);
        }
        double squares = Arrays.stream(values).map(v -> (v - mean) * (v - mean)).sum();
        return new Interval(mean, quantile(.975, n - 1) * Math.sqrt(squares / (n - 1) / n));
    }

    /**
     * A quantile of Student's t distribution.
     *
     * @param probability over .5 and under 1
     * @param freedom degrees of freedom, 1 or more
     * @throws IllegalArgumentException if one is out of its range
     */
    public static double quantile(double probability, int freedom) {
        if (!(probability > .5 && probability < 1) || freedom < 1) {
            throw new IllegalArgumentException("t quantile: probability " + probability + " with " + freedom
                    + " degrees of freedom; pass a probability between .5 and 1 and at least 1 degree");
        }
        double within = 2 * probability - 1;
        double low = 0;
        double high = Math.PI / 2;
        for (int i = 0; i < 60; i++) {
            double angle = (low + high) / 2;
            if (within(angle, freedom) < within) {
                low = angle;
            } else {
                high = angle;
            }
        }
        return Math.sqrt(freedom) * Math.tan((low + high) / 2);
    }

    /**
     * The probability of {@code |t| < sqrt(freedom) tan(angle)}: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3
     * for odd and 26.7.4 for even degrees of freedom.
     */
    private static double within(double angle, int freedom) {
        double cosine = Math.cos(angle);
        boolean odd = freedom % 2 == 1;
        double term = odd ? cosine : 1;
        double sum = freedom == 1 ? 0 : term;
        for (int k = odd ? 3 : 2; k <= freedom - 2; k += 2) {
            term *= cosine * cosine * (k - 1) / k;
            sum += term;
        }
        return odd ? 2 / Math.PI * (angle + Math.sin(angle) * sum) : Math.sin(angle) * sum;
    }

    /** In percent, as papers print it: {@code 58.70 ± 0.43}, or the mean alone where there is no interval. */
    @Override
    public String toString() {
        return Double.isNaN(half)
                ? String.format(Locale.ROOT, "%.2f", 100 * mean)
                : String.format(Locale.ROOT, "%.2f ± %.2f", 100 * mean, 100 * half);
    }
}
