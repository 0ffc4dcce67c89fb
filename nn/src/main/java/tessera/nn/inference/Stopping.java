package tessera.nn.inference;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * When an adaptive ensemble has looked at a clip through enough masks: as soon as the class probabilities that the masks so far agreed
 * on are sure. Before they are measured, probabilities q are calibrated: {@code q^(1/T)}, divided by its sum, which is temperature
 * scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2) of their logarithms. That decides when to
 * stop and nothing else: the answers stay as they are. Immutable.
 *
 * @param threshold sureness that is enough; 0 or less is reached by the first mask, more than 1 by none
 * @param measure of sureness
 * @param temperature T, over 0; 1 leaves probabilities as they are
 */
public record Stopping(double threshold, Measure measure, double temperature) {
    /** How sure probabilities are, in [0, 1]. */
    public enum Measure {
        /** The highest of them. */
        CONFIDENCE,
        /** The highest less the second. */
        MARGIN;

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public Stopping {
        if (!Double.isFinite(threshold) || !(temperature > 0 && temperature < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("adaptive masks: threshold " + threshold + " at temperature "
                    + temperature + "; pass a finite threshold and a temperature over 0");
        }
    }

    /** A confidence that is enough, of probabilities as they are. */
    public static Stopping at(double threshold) {
        return new Stopping(threshold, Measure.CONFIDENCE, 1);
    }

    /**
     * What a head was learned with.
     *
     * @throws IllegalArgumentException if it was learned without
     */
    public static Stopping learned(Head head) {
        return head.stopping()
                .orElseThrow(() -> new IllegalArgumentException("head '" + head.name()
                        + "' was learned without a threshold for adaptive masks; learn it with --adaptive, or pass a"
                        + " threshold such as 0.9"));
    }

    /** As files have it: measure, threshold and temperature. */
    String text() {
        return measure + " " + threshold + " " + temperature;
    }

    /** Reads what {@link #text} wrote; null for null. */
    static @Nullable Stopping of(@Nullable String text) {
        if (text == null) {
            return null;
        }
        String[] words = text.split(" ", -1);
        for (Measure measure : Measure.values()) {
            if (words.length == 3 && words[0].equals(measure.toString())) {
                return new Stopping(Double.parseDouble(words[1]), measure, Double.parseDouble(words[2]));
            }
        }
        throw new IllegalArgumentException(
                "its rule for adaptive masks is no measure, threshold and temperature but '" + text + "'");
    }

    /** The same with another threshold. */
    public Stopping withThreshold(double other) {
        return new Stopping(other, measure, temperature);
    }

    /** How sure class probabilities are once they are calibrated, in [0, 1]; NaN if one is. */
    public double sureness(double[] probabilities) {
        double first = 0;
        double second = 0;
        double sum = 0;
        for (double probability : probabilities) {
            double scaled = temperature == 1 ? probability : Math.pow(probability, 1 / temperature);
            sum += scaled;
            if (scaled > first) {
                second = first;
                first = scaled;
            } else if (scaled > second) {
                second = scaled;
            }
        }
        return (measure == Measure.CONFIDENCE ? first : first - second) / sum;
    }

    /** Whether class probabilities are sure enough. */
    public boolean isEnough(double[] probabilities) {
        return sureness(probabilities) >= threshold;
    }
}
