package tessera.jmh.peers;

import java.util.Arrays;

/**
 * Where the middle of some measurements lies.
 *
 * @param p20 of five, one is below
 * @param p50 the median
 * @param p80 of five, one is above
 */
public record Spread(double p20, double p50, double p80) {
    /**
     * The percentiles, between two measurements in proportion.
     *
     * @throws IllegalArgumentException if there are none
     */
    static Spread of(double[] values) {
        if (values.length == 0) {
            throw new IllegalArgumentException("no measurements; take one or more");
        }
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return new Spread(at(sorted, .2), at(sorted, .5), at(sorted, .8));
    }

    private static double at(double[] sorted, double share) {
        double place = share * (sorted.length - 1);
        int below = (int) place;
        int above = Math.min(below + 1, sorted.length - 1);
        return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
    }

    /** Of two rows of measurements that were taken in turn, the percentiles of their ratios; so what slows both does not count. */
    static Spread ofRatios(double[] values, double[] to) {
        double[] ratios = new double[values.length];
        for (int i = 0; i < ratios.length; i++) {
            ratios[i] = values[i] / to[i];
        }
        return of(ratios);
    }

    /**
     * How far a result is from another: the root mean square of the differences over that of the other's values; NaN where one is
     * not finite.
     *
     * @throws IllegalArgumentException if they differ in length
     */
    static double difference(float[] result, float[] from) {
        if (result.length != from.length || from.length == 0) {
            throw new IllegalArgumentException("a result of " + result.length
                    + " values cannot be compared with one of " + from.length + "; both must compute the same");
        }
        double squares = 0;
        double size = 0;
        for (int i = 0; i < result.length; i++) {
            double apart = (double) result[i] - from[i];
            squares += apart * apart;
            size += (double) from[i] * from[i];
        }
        return Math.sqrt(squares / size);
    }
}
