package tessera.distill.fewshot;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Multinomial logistic regression with an L2 penalty, fitted in f64.
 *
 * <p>Minimises {@code C * sum_i CE(softmax(W x_i + b), y_i) + 1/2 ||W||^2}. The sum runs over examples (no mean), the
 * intercepts {@code b} carry no penalty, and every class has its own row, also when there are two. The objective is
 * strictly convex in {@code W}; L-BFGS starts from zero, so the fit is deterministic.
 *
 * <p>The best rows of {@code W} are combinations of the examples. With fewer examples than features the fit therefore runs
 * in coordinates of the examples' span, which gives the same classifier for less work.
 *
 * <p>Instances are immutable and safe to share between threads.
 *
 * @param c weight of the data against the penalty, over 0
 * @param tolerance the fit stops when no entry of the objective's gradient, in the coordinates of the fit, is larger; at
 *     least 0
 * @param maxIterations bound on L-BFGS steps, at least 1
 */
public record LogisticRegression(double c, double tolerance, int maxIterations) implements FewShotHead {
    private static final int HISTORY = 10;

    /**
     * Checks the settings.
     *
     * @throws IllegalArgumentException if one is out of its range
     */
    public LogisticRegression {
        if (!(c > 0) || Double.isInfinite(c)) {
            throw new IllegalArgumentException("logistic_regression: C is " + c + "; pass a finite number over 0");
        }
        if (!(tolerance >= 0)) {
            throw new IllegalArgumentException(
                    "logistic_regression: the gradient tolerance is " + tolerance + "; pass 0 or more");
        }
        if (maxIterations < 1) {
            throw new IllegalArgumentException(
                    "logistic_regression: maxIterations is " + maxIterations + "; pass at least 1");
        }
    }

    /** C = 1, gradient tolerance 1e-4, at most 1000 iterations. */
    public LogisticRegression() {
        this(1, 1e-4, 1000);
    }

    /**
     * Fits on several views of each clip, each view an example of weight 1 / P: P equal views give what one gives.
     *
     * @param views {@code [P][clips][D]}
     * @param labels class of each clip
     */
    public Fit fitViews(double[][][] views, int[] labels, int classes) {
        int count = views.length;
        if (count == 1) {
            return fit(views[0], labels, classes);
        }
        double[][] examples = new double[count * labels.length][];
        int[] repeated = new int[examples.length];
        for (int p = 0; p < count; p++) {
            System.arraycopy(views[p], 0, examples, p * labels.length, labels.length);
            System.arraycopy(labels, 0, repeated, p * labels.length, labels.length);
        }
        return new LogisticRegression(c / count, tolerance, maxIterations).fit(examples, repeated, classes);
    }

    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        return CrossValidation.learned(
                (kept, of) -> fitViews(kept, of, classes).classifier(), views, labels, classes, groups);
    }

    /**
     * Fits a classifier.
     *
     * @param features one row of D finite numbers for each of the n examples; not kept
     * @param labels n class numbers in {@code [0, classes)}; every class needs an example, because the unpenalised
     *     intercept of a class without one has no minimum
     * @param classes number of classes, at least 2
     * @throws IllegalArgumentException if the arrays do not fit together, a feature is not finite, or a class is empty
     */
    public Fit fit(double[][] features, int[] labels, int classes) {
        Features.requireExamples("logistic_regression", features, labels, classes);
        int dimensions = features[0].length;
        Span span = features.length < dimensions ? Span.of(features) : null;
        double[][] rows = span == null ? features : span.coordinates(features);
        int width = rows[0].length;
        var minimum = new Lbfgs(HISTORY, tolerance, maxIterations)
                .minimise(new Loss(rows, labels, classes, c), new double[classes * (width + 1)]);
        double[][] coefficients = new double[classes][];
        for (int k = 0; k < classes; k++) {
            double[] row = Arrays.copyOfRange(minimum.x(), k * width, (k + 1) * width);
            coefficients[k] = span == null ? row : span.combine(row);
        }
        double[] intercepts = Arrays.copyOfRange(minimum.x(), classes * width, minimum.x().length);
        return new Fit(
                new LinearClassifier(coefficients, intercepts),
                minimum.value(),
                minimum.iterations(),
                minimum.converged());
    }

    /**
     * A fitted classifier and how the fit went.
     *
     * @param classifier the softmax classifier
     * @param objective value of the objective at the end
     * @param iterations number of L-BFGS steps
     * @param converged whether the gradient tolerance was reached
     */
    public record Fit(LinearClassifier classifier, double objective, int iterations, boolean converged) {}

    /** The objective over {@code [W row by row, b]}. */
    private record Loss(double[][] features, int[] labels, int classes, double c) implements Lbfgs.Objective {
        @Override
        public double evaluate(double[] x, double[] gradient) {
            int dimensions = features[0].length;
            int intercepts = classes * dimensions;
            double penalty = 0;
            for (int j = 0; j < intercepts; j++) {
                penalty += x[j] * x[j];
                gradient[j] = x[j];
            }
            Arrays.fill(gradient, intercepts, gradient.length, 0);
            double crossEntropy = 0;
            double[] p = new double[classes];
            for (int i = 0; i < features.length; i++) {
                double[] row = features[i];
                for (int k = 0; k < classes; k++) {
                    p[k] = x[intercepts + k] + LinearClassifier.dot(x, k * dimensions, row);
                }
                double logit = p[labels[i]];
                crossEntropy += LinearClassifier.softmax(p) - logit;
                p[labels[i]] -= 1;
                for (int k = 0; k < classes; k++) {
                    double g = c * p[k];
                    int offset = k * dimensions;
                    for (int j = 0; j < dimensions; j++) {
                        gradient[offset + j] += g * row[j];
                    }
                    gradient[intercepts + k] += g;
                }
            }
            return c * crossEntropy + 0.5 * penalty;
        }
    }
}
