package tessera.distill.fewshot;

import java.util.Arrays;

/**
 * Softmax of an affine map: {@code softmax(W x + b)}.
 *
 * <p>Immutable and safe to share between threads.
 */
public final class LinearClassifier implements FewShotClassifier {
    private final double[][] coefficients;
    private final double[] intercepts;

    /**
     * Copies the weights.
     *
     * @param coefficients {@code [classes][D]}
     * @param intercepts {@code [classes]}
     * @throws IllegalArgumentException if there is no class, the rows differ in length, or a weight is not finite
     */
    public LinearClassifier(double[][] coefficients, double[] intercepts) {
        if (coefficients.length == 0 || coefficients.length != intercepts.length) {
            throw new IllegalArgumentException("linear_classifier: " + coefficients.length + " coefficient rows and "
                    + intercepts.length + " intercepts given; pass one of each for every class");
        }
        this.coefficients = new double[coefficients.length][];
        for (int k = 0; k < coefficients.length; k++) {
            if (coefficients[k].length != coefficients[0].length) {
                throw new IllegalArgumentException("linear_classifier: class " + k + " has " + coefficients[k].length
                        + " coefficients but class 0 has " + coefficients[0].length + "; pass rows of one length");
            }
            Features.requireFinite("linear_classifier", "the coefficients of class " + k, coefficients[k]);
            this.coefficients[k] = coefficients[k].clone();
        }
        Features.requireFinite("linear_classifier", "the intercepts", intercepts);
        this.intercepts = intercepts.clone();
    }

    /** Number of classes. */
    public int classes() {
        return intercepts.length;
    }

    /** A copy of the weights, {@code [classes][D]}. */
    public double[][] coefficients() {
        return Arrays.stream(coefficients).map(double[]::clone).toArray(double[][]::new);
    }

    /** A copy of the intercepts, {@code [classes]}. */
    public double[] intercepts() {
        return intercepts.clone();
    }

    @Override
    public double[] probabilities(double[] x) {
        if (x.length != coefficients[0].length) {
            throw new IllegalArgumentException(
                    "linear_classifier: " + x.length + " features given but it was fitted on " + coefficients[0].length
                            + "; pass features of the model it was fitted with");
        }
        Features.requireFinite("linear_classifier", "the input", x);
        double[] p = new double[classes()];
        for (int k = 0; k < p.length; k++) {
            p[k] = intercepts[k] + dot(coefficients[k], 0, x);
        }
        softmax(p);
        return p;
    }

    /**
     * The mean of the class probabilities of several views of one clip, such as P masked passes. Probabilities are
     * averaged, not logits.
     *
     * @param views {@code [P][D]}, P at least 1
     */
    public double[] ensemble(double[][] views) {
        if (views.length == 0) {
            throw new IllegalArgumentException("linear_classifier: no view given; an ensemble needs at least one");
        }
        double[] mean = new double[classes()];
        for (double[] view : views) {
            double[] p = probabilities(view);
            for (int k = 0; k < mean.length; k++) {
                mean[k] += p[k] / views.length;
            }
        }
        return mean;
    }

    /** Replaces logits by their softmax and returns the logarithm of the sum of their exponentials. */
    static double softmax(double[] logits) {
        double max = Double.NEGATIVE_INFINITY;
        for (double logit : logits) {
            max = Math.max(max, logit);
        }
        double sum = 0;
        for (int k = 0; k < logits.length; k++) {
            logits[k] = Math.exp(logits[k] - max);
            sum += logits[k];
        }
        for (int k = 0; k < logits.length; k++) {
            logits[k] /= sum;
        }
        return max + Math.log(sum);
    }

    /** The product of {@code row} with the stretch of {@code weights} from {@code offset}, in four running sums. */
    static double dot(double[] weights, int offset, double[] row) {
        double s0 = 0;
        double s1 = 0;
        double s2 = 0;
        double s3 = 0;
        int j = 0;
        for (; j + 3 < row.length; j += 4) {
            s0 += weights[offset + j] * row[j];
            s1 += weights[offset + j + 1] * row[j + 1];
            s2 += weights[offset + j + 2] * row[j + 2];
            s3 += weights[offset + j + 3] * row[j + 3];
        }
        for (; j < row.length; j++) {
            s0 += weights[offset + j] * row[j];
        }
        return (s0 + s1) + (s2 + s3);
    }
}
