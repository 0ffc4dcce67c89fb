package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.EnsemblePasses;

/**
 * A linear head on standardised features, whose penalty is chosen by cross-validation on its examples alone. If several choices of features
 * are offered, each gets a head of its own, and the heads speak as one, with weights that follow from how they recognise examples that
 * are held out: the logarithm of what it says is their weighted sum, which is again a linear head.
 *
 * <p>Each feature loses its mean over the examples and is divided by its standard deviation, to which a tenth of the mean one is
 * added so that what hardly varies is not blown up, and by the root of the number of features, so that a row has a length of
 * about 1; this is folded into the head, which stays linear in the features as they are. {@link LogisticRegression}'s C is 10, unless
 * another power of ten from 1e-3 to 1e3 recognises more of the examples
 * when these are held out, each once, in up to five folds: more by two standard errors at least, for a few examples more of 25 are
 * mostly luck. (By one, as Breiman et al. have it in Classification and Regression Trees, 1984, what is chosen recognises less on real
 * clips. The least cross-entropy in place of the most right answers prefers heads that are hardly fitted at all where classes are hard to
 * tell apart.) For the same reason features are pooled, not chosen: on clips that were filmed in one place and on clips that were not,
 * a pool recognises as many as the better choice or more, where a choice by so few examples is often the wrong one. Folds hold parts
 * of every class, and never a part of a group. Where a class has one group alone its examples are taken for groups, and where it has one
 * example nothing can be held out: the first choice then weighs .7 and the others share the rest.
 *
 * <p>Deterministic; immutable and safe to share between threads.
 */
public final class HeadFit implements FewShotHead {
    /** Values of C; the first needs no reason, and of the others those nearer to it come first. */
    private static final double[] PENALTIES = {10, 100, 1, 1000, .1, .01, .001};

    /** How exactly fits are made that are kept, and those that are thrown away: tolerance of the gradient beside C, and most steps. */
    private static final LogisticRegression FINE = new LogisticRegression(1, 1e-4, 1000);

    private static final LogisticRegression ROUGH = new LogisticRegression(1, 1e-2, 50);

    private final List<int[]> candidates;

    /**
     * A fit on one or more choices of features.
     *
     * @param candidates columns of the rows that {@link #fit} is given, one list for each choice, the one that is believed most first
     * @throws IllegalArgumentException if there is none, or one has no column
     */
    public HeadFit(List<int[]> candidates) {
        if (candidates.isEmpty() || candidates.stream().anyMatch(columns -> columns.length == 0)) {
            throw new IllegalArgumentException("head_fit: " + candidates.size()
                    + " choices of features, some perhaps empty, given; pass one or more with one column or more each");
        }
        this.candidates = candidates.stream().map(int[]::clone).toList();
    }

    /** A fit on all of {@code width} features. */
    public static HeadFit of(int width) {
        return new HeadFit(List.of(IntStream.range(0, width).toArray()));
    }

    /**
     * A fitted head.
     *
     * @param weights of the choices of features; 1 if there is one
     * @param c the penalty's C
     * @param heldOut share of the examples that were recognised when they were held out; NaN where none could be
     * @param classifier of all columns, with weight 0 for those that no choice has
     */
    public record Fit(double[] weights, double c, double heldOut, LinearClassifier classifier) {}

    /** Of heads with one C: their weights, and how many examples they recognise that they did not see. */
    private record Attempt(double[] weights, int recognised) {}

    /**
     * Fits on several views of each example.
     *
     * @param views {@code [P][examples][D]}, finite
     * @param labels class of each example in {@code [0, classes)}, every class at least once
     * @param groups of each example, such as the place or the recording it comes from, or null if each is its own
     * @throws IllegalArgumentException as {@link LogisticRegression#fit}
     */
    public Fit fit(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        int[] folds = CrossValidation.folds(labels, classes, groups);
        List<Standardised> examples = standardised(views);
        double c = PENALTIES[0];
        double[] weights = OpinionPool.prior(candidates.size());
        int most = -1;
        if (folds.length > 0) {
            Attempt[] attempts = Arrays.stream(PENALTIES)
                    .parallel()
                    .mapToObj(penalty -> attempt(examples, penalty, labels, classes, folds))
                    .toArray(Attempt[]::new);
            for (int p = 0; p < PENALTIES.length; p++) {
                if (isBetter(attempts[p].recognised, most, labels.length)) {
                    most = attempts[p].recognised;
                    weights = attempts[p].weights;
                    c = PENALTIES[p];
                }
            }
        }
        int width = views[0][0].length;
        double chosen = c;
        LinearClassifier[] heads = IntStream.range(0, candidates.size())
                .mapToObj(i -> spread(examples.get(i).fit(chosen, labels, classes), candidates.get(i), width))
                .toArray(LinearClassifier[]::new);
        return new Fit(
                weights, c, most < 0 ? Double.NaN : most / (double) labels.length, OpinionPool.pooled(weights, heads));
    }

    private List<Standardised> standardised(double[][][] views) {
        return candidates.stream()
                .map(columns -> Standardised.of(views, columns))
                .toList();
    }

    private static Attempt attempt(List<Standardised> examples, double c, int[] labels, int classes, int[] folds) {
        double[][][][] said = said(examples, c, ROUGH, labels, classes, folds);
        double[] weights = OpinionPool.weights(said, labels);
        double[][][] pooled = OpinionPool.pooled(weights, said);
        int recognised = EnsemblePasses.of(pooled, labels)
                .fixed(pooled.length)
                .accuracy()
                .hits();
        return new Attempt(weights, recognised);
    }

    private static double[][][][] said(
            List<Standardised> examples, double c, LogisticRegression as, int[] labels, int classes, int[] folds) {
        return examples.stream()
                .map(each -> each.heldOut(c, as, labels, classes, folds))
                .toArray(double[][][][]::new);
    }

    /** A classifier of some columns as one of all. */
    private static LinearClassifier spread(LinearClassifier classifier, int[] columns, int width) {
        double[][] own = classifier.coefficients();
        double[][] all = new double[own.length][width];
        for (int k = 0; k < own.length; k++) {
            for (int j = 0; j < columns.length; j++) {
                all[k][columns[j]] = own[k][j];
            }
        }
        return new LinearClassifier(all, classifier.intercepts());
    }

    /** Of {@link #fit}, as a classifier of all columns. */
    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        Fit fit = fit(views, labels, classes, groups);
        return new Learned(fit.classifier(), () -> heldOut(fit, views, labels, classes, groups));
    }

    /** Whether so many right answers are more than others by at least two standard errors; less than 0 are none yet. */
    private static boolean isBetter(int right, int than, int of) {
        double share = right / (double) of;
        return than < 0 || right - than > 2 * Math.sqrt(of * share * (1 - share));
    }

    /**
     * What heads like a fitted one say of the examples that they were not fitted on: with its weights and C, each example held out
     * once, as when these were chosen.
     *
     * @param views as in {@link #fit}
     * @return class probabilities in each view, {@code [P][examples][classes]}; empty where nothing can be held out
     */
    public double[][][] heldOut(Fit like, double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        int[] folds = CrossValidation.folds(labels, classes, groups);
        return folds.length == 0
                ? new double[0][][]
                : OpinionPool.pooled(like.weights, said(standardised(views), like.c, FINE, labels, classes, folds));
    }

    /**
     * Examples in coordinates of their span.
     *
     * @param rows {@code [P * examples][width]}, pass by pass
     * @param span what the coordinates mean, or null if they are the standardised features
     */
    private record Standardised(
            double[][] rows,
            int views,
            double[] mean,
            double[] scale,
            @Nullable Span span) {
        static Standardised of(double[][][] views, int[] columns) {
            double[][] rows = Arrays.stream(views)
                    .flatMap(Arrays::stream)
                    .map(row -> {
                        Features.requireFinite("head_fit", "an example", row);
                        return IntStream.of(columns).mapToDouble(j -> row[j]).toArray();
                    })
                    .toArray(double[][]::new);
            int width = columns.length;
            double[] mean = new double[width];
            double[] scale = new double[width];
            for (double[] row : rows) {
                for (int j = 0; j < width; j++) {
                    mean[j] += row[j] / rows.length;
                }
            }
            for (double[] row : rows) {
                for (int j = 0; j < width; j++) {
                    scale[j] += (row[j] - mean[j]) * (row[j] - mean[j]) / rows.length;
                }
            }
            for (int j = 0; j < width; j++) {
                scale[j] = Math.sqrt(scale[j]);
            }
            double typical = Arrays.stream(scale).average().orElse(0);
            for (int j = 0; j < width; j++) {
                scale[j] = typical == 0 ? 1 : (scale[j] + .1 * typical) * Math.sqrt(width);
            }
            for (double[] row : rows) {
                for (int j = 0; j < width; j++) {
                    row[j] = (row[j] - mean[j]) / scale[j];
                }
            }
            Span span = rows.length < width ? Span.of(rows) : null;
            return new Standardised(span == null ? rows : span.coordinates(rows), views.length, mean, scale, span);
        }

        /** Class probabilities of each example in each view by a head that was fitted on the other folds. */
        double[][][] heldOut(double c, LogisticRegression as, int[] labels, int classes, int[] folds) {
            return CrossValidation.probabilities(
                    byView(), labels, folds, (kept, of) -> regression(c, as, kept, of, classes));
        }

        private double[][][] byView() {
            int examples = rows.length / views;
            double[][][] byView = new double[views][][];
            Arrays.setAll(byView, p -> Arrays.copyOfRange(rows, p * examples, (p + 1) * examples));
            return byView;
        }

        /** @param as but for C */
        private static LinearClassifier regression(
                double c, LogisticRegression as, double[][][] views, int[] labels, int classes) {
            return new LogisticRegression(c, as.tolerance() * Math.max(1, c), as.maxIterations())
                    .fitViews(views, labels, classes)
                    .classifier();
        }

        /** A head on the features as they are. */
        LinearClassifier fit(double c, int[] labels, int classes) {
            LinearClassifier fitted = regression(c, FINE, byView(), labels, classes);
            double[][] coefficients = fitted.coefficients();
            double[] intercepts = fitted.intercepts();
            for (int k = 0; k < classes; k++) {
                double[] weights = span == null ? coefficients[k] : span.combine(coefficients[k]);
                for (int j = 0; j < weights.length; j++) {
                    weights[j] /= scale[j];
                    intercepts[k] -= weights[j] * mean[j];
                }
                coefficients[k] = weights;
            }
            return new LinearClassifier(coefficients, intercepts);
        }
    }
}
