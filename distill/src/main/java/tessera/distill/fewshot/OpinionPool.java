package tessera.distill.fewshot;

/**
 * Several classifiers that speak as one: {@code softmax(sum_i w_i log p_i)}, the logarithmic opinion pool (Genest and Zidek, Combining
 * Probability Distributions, 1986). Of linear classifiers it is again a linear one.
 */
final class OpinionPool {
    /** Of a probability, whose logarithm has to be finite. */
    private static final double LEAST = 1e-300;

    private OpinionPool() {}

    /**
     * What they say together.
     *
     * @param said class probabilities of each example in each view, {@code [classifiers][P][examples][classes]}
     * @return {@code [P][examples][classes]}
     */
    static double[][][] pooled(double[] weights, double[][][][] said) {
        double[][][] pooled = new double[said[0].length][said[0][0].length][];
        for (int view = 0; view < pooled.length; view++) {
            for (int example = 0; example < pooled[view].length; example++) {
                double[] sums = new double[said[0][view][example].length];
                for (int i = 0; i < said.length; i++) {
                    for (int k = 0; k < sums.length; k++) {
                        sums[k] += weights[i] * Math.log(Math.max(said[i][view][example][k], LEAST));
                    }
                }
                LinearClassifier.softmax(sums);
                pooled[view][example] = sums;
            }
        }
        return pooled;
    }

    /**
     * The classifier that linear ones are together.
     *
     * @param columns of a row of {@code width} features that each looks at
     */
    static LinearClassifier pooled(double[] weights, LinearClassifier[] classifiers, int[][] columns, int width) {
        double[][] coefficients = new double[classifiers[0].classes()][width];
        double[] intercepts = new double[coefficients.length];
        for (int i = 0; i < classifiers.length; i++) {
            double[][] own = classifiers[i].coefficients();
            double[] at = classifiers[i].intercepts();
            for (int k = 0; k < coefficients.length; k++) {
                intercepts[k] += weights[i] * at[k];
                for (int j = 0; j < own[k].length; j++) {
                    coefficients[k][columns[i][j]] += weights[i] * own[k][j];
                }
            }
        }
        return new LinearClassifier(coefficients, intercepts);
    }
}
