package tessera.distill.evaluation;

/**
 * Temperature scaling (Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, section 4.2): one number for a head by which
 * its class scores are divided before softmax. It moves no arg-max, so accuracies stay. Fitted on held-out clips of the training
 * classes and never on those that are judged, it is a reference line for what calibration alone can reach.
 */
public final class TemperatureScaling {
    /** Temperatures are sought between 1 / LIMIT and LIMIT. */
    public static final double LIMIT = 100;

    private static final int HALVINGS = 60;

    private TemperatureScaling() {}

    /**
     * The temperature at which the mean negative log-likelihood of the labels is least. It is convex in {@code beta = 1 / T}, so its
     * slope there, the mean of {@code E_p[z] - z_label} under {@code p = softmax(beta z)}, never falls, and bisection finds where it
     * passes 0.
     *
     * @param logits {@code [n][classes]}
     * @param labels {@code [n]}
     * @return T between {@code 1 / LIMIT} and {@code LIMIT}: the former where every label has the highest score, so that no confidence
     *     is too much, the latter where scores tell nothing
     * @throws IllegalArgumentException if the arrays do not fit together, or a score is not finite
     */
    public static double fit(double[][] logits, int[] labels) {
        return fit(logits, labels, 0);
    }

    /**
     * As {@link #fit(double[][], int[])}, where few samples must not make any confidence right: of n samples that are right one expects
     * (n + 1) / (n + classes) of the next ones to be (Laplace's rule, a uniform prior), so this is the target of a label in place of 1, and
     * 1 / (n + classes) that of each other class in place of 0 (Platt, "Probabilistic Outputs for Support Vector Machines", 1999,
     * section 2.2, for two classes).
     *
     * @param independent how many samples, n, say something of their own; several looks at a clip count once
     * @return T between {@code 1 / LIMIT} and {@code LIMIT}
     * @throws IllegalArgumentException as {@link #fit(double[][], int[])}, or if there is no independent sample
     */
    public static double smoothed(double[][] logits, int[] labels, int independent) {
        Classification.check("temperature", logits, labels);
        if (independent < 1) {
            throw new IllegalArgumentException(
                    "temperature: " + independent + " independent samples; pass how many there are, 1 or more");
        }
        return fit(logits, labels, 1.0 / (independent + logits[0].length));
    }

    /** @param other target of each class that is not the label */
    private static double fit(double[][] logits, int[] labels, double other) {
        Classification.check("temperature", logits, labels);
        for (int i = 0; i < logits.length; i++) {
            for (double z : logits[i]) {
                if (Double.isInfinite(z)) {
                    throw new IllegalArgumentException(
                            "temperature: sample " + i + " has a score that is infinite; check the model's output");
                }
            }
        }
        double low = 1 / LIMIT;
        double high = LIMIT;
        for (int i = 0; i < HALVINGS; i++) {
            double beta = Math.sqrt(low * high);
            if (slope(logits, labels, other, beta) > 0) {
                high = beta;
            } else {
                low = beta;
            }
        }
        return 1 / Math.sqrt(low * high);
    }

    /** The mean negative log-likelihood of the labels under {@code softmax(z / T)}, in nats. */
    public static double negativeLogLikelihood(double[][] logits, int[] labels, double temperature) {
        Classification.check("temperature", logits, labels);
        double sum = 0;
        for (int i = 0; i < logits.length; i++) {
            double most = Double.NEGATIVE_INFINITY;
            for (double z : logits[i]) {
                most = Math.max(most, z);
            }
            double mass = 0;
            for (double z : logits[i]) {
                mass += Math.exp((z - most) / temperature);
            }
            sum += Math.log(mass) + (most - logits[i][labels[i]]) / temperature;
        }
        return sum / logits.length;
    }

    private static double slope(double[][] logits, int[] labels, double other, double beta) {
        double slope = 0;
        for (int i = 0; i < logits.length; i++) {
            double[] p = HeadLogits.softmax(logits[i], beta);
            for (int c = 0; c < p.length; c++) {
                slope += (p[c] - other) * (logits[i][c] - logits[i][labels[i]]);
            }
        }
        return slope;
    }
}
