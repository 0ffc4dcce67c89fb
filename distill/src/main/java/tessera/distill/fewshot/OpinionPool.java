package tessera.distill.fewshot;

import java.util.Arrays;

/**
 * Weights with which several classifiers speak as one: {@code softmax(sum_i w_i log p_i)}, the logarithmic opinion pool (Genest and
 * Zidek, Combining Probability Distributions, 1986). Of linear classifiers it is again a linear one.
 *
 * <p>The weights are the most probable ones, none negative, given what the classifiers say of examples that they were not fitted on
 * (stacking, Wolpert, 1992) and a normal prior, of which a few examples move little: on real clips, weights that believe so
 * few examples recognise less than the prior's own.
 */
final class OpinionPool {
    /** Of the first classifier, before anything is known; the others share the rest. */
    private static final double FIRST = .7;

    /** Reciprocal of the prior's variance. */
    private static final double PRECISION = 40;

    private static final int SWEEPS = 500;
    private static final double EXACT = 1e-7;

    /** Of a probability, whose logarithm has to be finite. */
    private static final double LEAST = 1e-300;

    private OpinionPool() {}

    /** The weights without any example. */
    static double[] prior(int classifiers) {
        double[] weights = new double[classifiers];
        Arrays.fill(weights, (1 - FIRST) / Math.max(1, classifiers - 1));
        weights[0] = classifiers == 1 ? 1 : FIRST;
        return weights;
    }

    /**
     * The weights; 1 for one classifier.
     *
     * @param said class probabilities of each example in each view, {@code [classifiers][P][examples][classes]}
     * @param labels of the examples
     */
    static double[] weights(double[][][][] said, int[] labels) {
        double[] prior = prior(said.length);
        if (said.length == 1) {
            return prior;
        }
        int views = said[0].length;
        int rows = views * labels.length;
        int classes = said[0][0][0].length;
        double[][][] logs = new double[said.length][rows][];
        double[] bounds = new double[said.length];
        for (int i = 0; i < said.length; i++) {
            for (int row = 0; row < rows; row++) {
                logs[i][row] = centredLogs(said[i][row / labels.length][row % labels.length]);
                for (double log : logs[i][row]) {
                    // Half the squared length bounds the variance under any softmax (Böhning, 1992), so no step is too
                    // long.
                    bounds[i] += log * log / 2 / views;
                }
            }
        }
        double[] weights = prior.clone();
        double[] chances = new double[classes];
        double moved = 1;
        for (int sweep = 0; sweep < SWEEPS && moved > EXACT; sweep++) {
            moved = 0;
            for (int i = 0; i < weights.length; i++) {
                double slope = PRECISION * (prior[i] - weights[i]);
                for (int row = 0; row < rows; row++) {
                    pooled(weights, logs, row, chances);
                    double[] own = logs[i][row];
                    double expected = own[labels[row % labels.length]];
                    for (int k = 0; k < classes; k++) {
                        expected -= chances[k] * own[k];
                    }
                    slope += expected / views;
                }
                double next = Math.max(0, weights[i] + slope / (PRECISION + bounds[i]));
                moved = Math.max(moved, Math.abs(next - weights[i]));
                weights[i] = next;
            }
        }
        return weights;
    }

    /**
     * What they say together.
     *
     * @param said as in {@link #weights}
     * @return {@code [P][examples][classes]}
     */
    static double[][][] pooled(double[] weights, double[][][][] said) {
        double[][][] pooled = new double[said[0].length][said[0][0].length][];
        for (int view = 0; view < pooled.length; view++) {
            for (int example = 0; example < pooled[view].length; example++) {
                double[][][] logs = new double[said.length][1][];
                for (int i = 0; i < said.length; i++) {
                    logs[i][0] = centredLogs(said[i][view][example]);
                }
                pooled[view][example] = new double[logs[0][0].length];
                pooled(weights, logs, 0, pooled[view][example]);
            }
        }
        return pooled;
    }

    /**
     * The classifier that linear ones are together.
     *
     * @param classifiers of the same features
     */
    static LinearClassifier pooled(double[] weights, LinearClassifier[] classifiers) {
        double[][] coefficients =
                new double[classifiers[0].classes()][classifiers[0].coefficients()[0].length];
        double[] intercepts = new double[coefficients.length];
        for (int i = 0; i < classifiers.length; i++) {
            double[][] own = classifiers[i].coefficients();
            double[] at = classifiers[i].intercepts();
            for (int k = 0; k < coefficients.length; k++) {
                intercepts[k] += weights[i] * at[k];
                for (int j = 0; j < coefficients[k].length; j++) {
                    coefficients[k][j] += weights[i] * own[k][j];
                }
            }
        }
        return new LinearClassifier(coefficients, intercepts);
    }

    private static double[] centredLogs(double[] probabilities) {
        double[] logs = Arrays.stream(probabilities)
                .map(p -> Math.log(Math.max(p, LEAST)))
                .toArray();
        double mean = Arrays.stream(logs).average().orElse(0);
        Arrays.setAll(logs, k -> logs[k] - mean);
        return logs;
    }

    private static void pooled(double[] weights, double[][][] logs, int row, double[] into) {
        Arrays.fill(into, 0);
        for (int i = 0; i < weights.length; i++) {
            for (int k = 0; k < into.length; k++) {
                into[k] += weights[i] * logs[i][row][k];
            }
        }
        LinearClassifier.softmax(into);
    }
}
