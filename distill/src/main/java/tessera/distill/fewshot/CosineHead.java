package tessera.distill.fewshot;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * A classifier by the cosine to a learned direction of each class, Baseline++ of "A closer look at few-shot classification" (Chen et al.,
 * ICLR 2019): {@code p = softmax(scale cos(w_k, x))}, of which the directions minimise the mean cross-entropy of all views of the
 * examples.
 *
 * <p>The published code takes 100 steps of stochastic descent from random directions. Here L-BFGS goes from the mean directions of the
 * classes to a minimum, so that nothing depends on chance.
 *
 * @param scale of the cosines, over 0
 */
public record CosineHead(double scale) implements FewShotHead {
    /** The scale of the published code for up to 200 classes. */
    public static final double PUBLISHED_SCALE = 2;

    private static final String NAME = "cosine_head";
    private static final Lbfgs MINIMISER = new Lbfgs(10, 1e-6, 1000);

    public CosineHead {
        if (!(scale > 0) || Double.isInfinite(scale)) {
            throw new IllegalArgumentException(
                    NAME + ": cosines are scaled by " + scale + "; pass a positive number such as " + PUBLISHED_SCALE);
        }
    }

    /** With the published scale. */
    public CosineHead() {
        this(PUBLISHED_SCALE);
    }

    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        return CrossValidation.learned((kept, of) -> fit(kept, of, classes), views, labels, classes, groups);
    }

    private FewShotClassifier fit(double[][][] views, int[] labels, int classes) {
        Features.requireViews(NAME, views);
        double[][] rows = new double[views.length * labels.length][];
        int[] of = new int[rows.length];
        for (int p = 0; p < views.length; p++) {
            Features.requireExamples(NAME, views[p], labels, classes);
            for (int i = 0; i < labels.length; i++) {
                rows[p * labels.length + i] = direction(views[p][i]);
                of[p * labels.length + i] = labels[i];
            }
        }
        // The best directions are combinations of the examples, whose coordinates are fewer.
        Span span = rows.length < rows[0].length ? Span.of(rows) : null;
        double[][] examples = span == null ? rows : span.coordinates(rows);
        int width = examples[0].length;
        Loss loss = new Loss(examples, of, classes, scale);
        double[] minimum =
                MINIMISER.minimise(loss, start(examples, of, classes)).x();
        double[][] directions = new double[classes][];
        for (int k = 0; k < classes; k++) {
            double[] own = direction(Arrays.copyOfRange(minimum, k * width, (k + 1) * width));
            directions[k] = span == null ? own : span.combine(own);
            for (int j = 0; j < directions[k].length; j++) {
                directions[k][j] *= scale;
            }
        }
        LinearClassifier cosines = new LinearClassifier(directions, new double[classes]);
        return x -> {
            Features.requireFinite(NAME, "the input", x);
            return cosines.probabilities(direction(x));
        };
    }

    /** The mean direction of each class, or its first example's where that is none. */
    private static double[] start(double[][] examples, int[] of, int classes) {
        int width = examples[0].length;
        double[] start = new double[classes * width];
        for (int k = 0; k < classes; k++) {
            double[] sum = new double[width];
            double[] first = new double[0];
            for (int i = 0; i < of.length; i++) {
                if (of[i] == k) {
                    Lbfgs.addScaled(sum, 1, examples[i]);
                    first = first.length == 0 ? examples[i] : first;
                }
            }
            double[] mean = direction(Lbfgs.dot(sum, sum) > 1e-12 ? sum : first);
            if (Lbfgs.dot(mean, mean) == 0) {
                mean[0] = 1;
            }
            System.arraycopy(mean, 0, start, k * width, width);
        }
        return start;
    }

    /** The row of length 1, or zeros. */
    private static double[] direction(double[] row) {
        double most = Arrays.stream(row).map(Math::abs).max().orElse(0);
        double[] direction = new double[row.length];
        if (most == 0) {
            return direction;
        }
        // Divided first, so that no square is too large or too small for a double.
        Arrays.setAll(direction, j -> row[j] / most);
        double length = Math.sqrt(Lbfgs.dot(direction, direction));
        Arrays.setAll(direction, j -> direction[j] / length);
        return direction;
    }

    /** The mean cross-entropy over {@code [w row by row]}, which depends on the rows' directions alone. */
    private record Loss(double[][] examples, int[] of, int classes, double scale) implements Lbfgs.Objective {
        @Override
        public double evaluate(double[] x, double[] gradient) {
            int width = examples[0].length;
            double[][] units = new double[classes][];
            double[] lengths = new double[classes];
            for (int k = 0; k < classes; k++) {
                double[] row = Arrays.copyOfRange(x, k * width, (k + 1) * width);
                lengths[k] = Math.sqrt(Lbfgs.dot(row, row));
                units[k] = direction(row);
            }
            double[][] pull = new double[classes][width];
            double loss = 0;
            double[] p = new double[classes];
            for (int i = 0; i < examples.length; i++) {
                for (int k = 0; k < classes; k++) {
                    p[k] = scale * Lbfgs.dot(units[k], examples[i]);
                }
                double own = p[of[i]];
                loss += (LinearClassifier.softmax(p) - own) / examples.length;
                p[of[i]] -= 1;
                for (int k = 0; k < classes; k++) {
                    Lbfgs.addScaled(pull[k], scale * p[k] / examples.length, examples[i]);
                }
            }
            // The part along a row changes its length, which does not matter.
            for (int k = 0; k < classes; k++) {
                Lbfgs.addScaled(pull[k], -Lbfgs.dot(pull[k], units[k]), units[k]);
                for (int j = 0; j < width; j++) {
                    gradient[k * width + j] = lengths[k] > 0 ? pull[k][j] / lengths[k] : 0;
                }
            }
            return loss;
        }
    }
}
