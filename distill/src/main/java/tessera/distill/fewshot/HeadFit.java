package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.EnsemblePasses;

/**
 * A linear head on standardised features, whose penalty is chosen by cross-validation on its examples alone. On several sets of features
 * it is a head on each, and these speak as one: the logarithm of what it says is their weighted sum, which is again a linear head. The
 * weights are given: weights, or a choice of one set, by what a few examples recognise when they are held out give fewer right
 * answers on real clips than weights that stay what they are.
 *
 * <p>Each feature loses its mean over the examples and is divided by its standard deviation, to which a tenth of the mean one is
 * added so that what hardly varies is not blown up, and by the root of the number of features, so that a row has a length of
 * about 1; this is folded into the head, which stays linear in the features as they are. {@link LogisticRegression}'s C is 1, unless
 * another power of ten from 1e-3 to 1e3 recognises more of the examples
 * when these are held out, each once, in up to five folds: more by two standard errors at least, for a few examples more of 25 are
 * mostly luck. (By one, as Breiman et al. have it in Classification and Regression Trees, 1984, what is chosen recognises less on real
 * clips. The least cross-entropy in place of the most right answers prefers heads that are hardly fitted at all where classes are hard to
 * tell apart.) Folds hold parts of every class, and never a part of a group. Where a class has one group alone its examples are taken
 * for groups, and where it has one example nothing can be held out.
 *
 * <p>Deterministic; immutable and safe to share between threads.
 */
public final class HeadFit implements FewShotHead {
    /** Values of C; the first needs no reason, and of the others those nearer to it come first. */
    private static final double[] PENALTIES = {1, 10, .1, 100, .01, 1000, .001};

    /** How exactly fits are made that are kept, and those that are thrown away: tolerance of the gradient beside C, and most steps. */
    private static final LogisticRegression FINE = new LogisticRegression(1, 1e-4, 1000);

    private static final LogisticRegression ROUGH = new LogisticRegression(1, 1e-2, 50);

    private final int[][] columns;
    private final double[] weights;

    /**
     * A fit on one or more sets of features.
     *
     * @param columns of the rows that {@link #fit} is given, one list for each set
     * @param weights how much each set says, positive; only their ratios matter
     * @throws IllegalArgumentException if there is no set, one has no column, or a weight is missing or not positive
     */
    public HeadFit(List<int[]> columns, double... weights) {
        if (columns.isEmpty() || columns.stream().anyMatch(set -> set.length == 0)) {
            throw new IllegalArgumentException("head_fit: " + columns.size()
                    + " sets of features, some perhaps empty, given; pass one or more with one column or more each");
        }
        if (weights.length != columns.size()
                || Arrays.stream(weights).anyMatch(weight -> !(weight > 0) || Double.isInfinite(weight))) {
            throw new IllegalArgumentException("head_fit: the weights " + Arrays.toString(weights) + " of "
                    + columns.size() + " sets of features given; pass a positive number for each");
        }
        this.columns = columns.stream().map(int[]::clone).toArray(int[][]::new);
        double sum = Arrays.stream(weights).sum();
        this.weights = Arrays.stream(weights).map(weight -> weight / sum).toArray();
    }

    /** A fit on all of {@code width} features. */
    public static HeadFit of(int width) {
        return new HeadFit(List.of(IntStream.range(0, width).toArray()), 1);
    }

    /**
     * A fitted head.
     *
     * @param c the penalty's C
     * @param heldOut share of the examples that were recognised when they were held out; NaN where none could be
     * @param classifier of all columns, with weight 0 for those of no set
     */
    public record Fit(double c, double heldOut, LinearClassifier classifier) {}

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
        int most = -1;
        if (folds.length > 0) {
            int[] recognised = Arrays.stream(PENALTIES)
                    .parallel()
                    .mapToInt(penalty -> recognised(heldOut(examples, penalty, ROUGH, labels, classes, folds), labels))
                    .toArray();
            for (int p = 0; p < PENALTIES.length; p++) {
                if (isBetter(recognised[p], most, labels.length)) {
                    most = recognised[p];
                    c = PENALTIES[p];
                }
            }
        }
        double chosen = c;
        LinearClassifier[] heads =
                examples.stream().map(each -> each.fit(chosen, labels, classes)).toArray(LinearClassifier[]::new);
        return new Fit(
                c,
                most < 0 ? Double.NaN : most / (double) labels.length,
                OpinionPool.pooled(weights, heads, columns, views[0][0].length));
    }

    private List<Standardised> standardised(double[][][] views) {
        return Arrays.stream(columns).map(set -> Standardised.of(views, set)).toList();
    }

    /** Class probabilities of each example in each view by heads that were fitted on the other folds. */
    private double[][][] heldOut(
            List<Standardised> examples, double c, LogisticRegression as, int[] labels, int classes, int[] folds) {
        return OpinionPool.pooled(
                weights,
                examples.stream()
                        .map(each -> each.heldOut(c, as, labels, classes, folds))
                        .toArray(double[][][][]::new));
    }

    /** How many examples are recognised, by the mean of their views' probabilities. */
    static int recognised(double[][][] probabilities, int[] labels) {
        return EnsemblePasses.of(probabilities, labels)
                .fixed(probabilities.length)
                .accuracy()
                .hits();
    }

    /** Of {@link #fit}, as a classifier of all columns. */
    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        Fit fit = fit(views, labels, classes, groups);
        return new Learned(fit.classifier(), () -> heldOut(fit, views, labels, classes, groups));
    }

    /** Whether so many right answers are more than others by at least two standard errors; less than 0 are none yet. */
    static boolean isBetter(int right, int than, int of) {
        double share = right / (double) of;
        return than < 0 || right - than > 2 * Math.sqrt(of * share * (1 - share));
    }

    /**
     * What heads like a fitted one say of the examples that they were not fitted on: with its C, each example held out once, as when
     * this was chosen.
     *
     * @param views as in {@link #fit}
     * @return class probabilities in each view, {@code [P][examples][classes]}; empty where nothing can be held out
     */
    public double[][][] heldOut(Fit like, double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        int[] folds = CrossValidation.folds(labels, classes, groups);
        return folds.length == 0
                ? new double[0][][]
                : heldOut(standardised(views), like.c, FINE, labels, classes, folds);
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
