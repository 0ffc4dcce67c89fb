package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A linear head on tokens that are pooled by attention, whose query is fitted with it: the attentive probe of V-JEPA (Bardes et al.,
 * "Revisiting feature prediction for learning visual representations from video", 2024) with one query and without its
 * projections and MLP, so that what {@link AttentiveClassifier} has beside a linear head is one vector of a token's width.
 *
 * <p>First {@link HeadFit} fits a head on the plain means of the tokens, which chooses C. Then head and query are fitted together by
 * L-BFGS, from that head and the query 0, at which the weighted mean is the plain one: cross-entropy with C, the penalty of the
 * standardised features' weights as there, and an L2 penalty of the query, which meets tokens whose values are divided by their standard
 * deviation over all tokens (and a tenth of the mean one). How large that penalty is, and whether the query leaves 0 at all, is
 * chosen by cross-validation on the examples alone, in the folds of {@link HeadFit} and by its measure: the plain mean needs no reason, and
 * a query must recognise more of the held-out examples by two standard errors. Where nothing can be held out it is the plain mean.
 *
 * <p>Examples are the tokens of clips, {@code [n * D]}, one after the other; they are not copied, and a clip's number of tokens is its
 * own. Deterministic, without a seed; immutable and safe to share between threads.
 *
 * @param width D, values of a token
 */
public record AttentiveFit(int width) implements FewShotHead {
    /** Penalties of the query beside that of the weights; the first need less of a reason. */
    private static final double[] PENALTIES = {1, .1, .01};

    private static final int HISTORY = 10;
    /** As in {@link HeadFit}: how exactly fits are made that are kept, and those that are thrown away. */
    private static final Effort FINE = new Effort(1e-3, 200);

    private static final Effort ROUGH = new Effort(1e-2, 30);

    /** Largest entry of the gradient beside C at which a fit ends, and most steps. */
    private record Effort(double tolerance, int steps) {}

    /**
     * Takes tokens of a width.
     *
     * @throws IllegalArgumentException if it is less than 1
     */
    public AttentiveFit {
        if (width < 1) {
            throw new IllegalArgumentException("attentive_fit: tokens of " + width + " values; pass 1 or more");
        }
    }

    /**
     * A fitted head.
     *
     * @param c the penalty's C
     * @param penalty of the query; infinite where it is 0, which is the plain mean
     * @param heldOut share of the examples that were recognised when they were held out; NaN where none could be
     */
    public record Fit(double c, double penalty, double heldOut, AttentiveClassifier classifier) {}

    /**
     * Fits on several views of each example.
     *
     * @param views tokens, {@code [P][examples][n * D]}, finite
     * @param labels class of each example in {@code [0, classes)}, every class at least once
     * @param groups of each example, which are held out together, or null if each is its own
     * @throws IllegalArgumentException if a row is no tokens of this width, and as {@link LogisticRegression#fit}
     */
    public Fit fit(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        HeadFit.Fit plain = HeadFit.of(width).fit(means(views), labels, classes, groups);
        int[] folds = CrossValidation.folds(labels, classes, groups);
        double chosen = Double.POSITIVE_INFINITY;
        double heldOut = plain.heldOut();
        if (folds.length > 0) {
            int most = Math.toIntExact(Math.round(heldOut * labels.length));
            int[] recognised = Arrays.stream(PENALTIES)
                    .parallel()
                    .mapToInt(penalty -> HeadFit.recognised(
                            heldOut(plain.c(), penalty, ROUGH, views, labels, classes, folds), labels))
                    .toArray();
            for (int p = 0; p < PENALTIES.length; p++) {
                if (HeadFit.isBetter(recognised[p], most, labels.length)) {
                    most = recognised[p];
                    chosen = PENALTIES[p];
                }
            }
            heldOut = most / (double) labels.length;
        }
        AttentiveClassifier classifier = Double.isInfinite(chosen)
                ? new AttentiveClassifier(new double[width], plain.classifier())
                : fitted(plain.c(), chosen, FINE, views, labels, classes);
        return new Fit(plain.c(), chosen, heldOut, classifier);
    }

    /** Of {@link #fit}, as a classifier of tokens. */
    @Override
    public Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        Fit fit = fit(views, labels, classes, groups);
        return new Learned(fit.classifier(), () -> heldOut(fit, views, labels, classes, groups));
    }

    /** As {@link HeadFit#heldOut}: what heads like a fitted one say of the examples that they were not fitted on. */
    public double[][][] heldOut(Fit like, double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        int[] folds = CrossValidation.folds(labels, classes, groups);
        if (folds.length == 0) {
            return new double[0][][];
        }
        if (!Double.isInfinite(like.penalty)) {
            return heldOut(like.c, like.penalty, FINE, views, labels, classes, folds);
        }
        HeadFit.Fit plain = new HeadFit.Fit(like.c, like.heldOut, like.classifier.linear());
        return HeadFit.of(width).heldOut(plain, means(views), labels, classes, groups);
    }

    private double[][][] heldOut(
            double c, double penalty, Effort effort, double[][][] views, int[] labels, int classes, int[] folds) {
        return CrossValidation.probabilities(
                views, labels, folds, (kept, of) -> fitted(c, penalty, effort, kept, of, classes));
    }

    /** The plain means of tokens, {@code [P][examples][D]}. */
    private double[][][] means(double[][][] views) {
        double[] none = new double[width];
        return Arrays.stream(views)
                .map(view -> Arrays.stream(view)
                        .map(row -> {
                            AttentiveClassifier.requireTokens("attentive_fit", "an example", row, width);
                            return AttentiveClassifier.pooled(row, none, new double[row.length / width]);
                        })
                        .toArray(double[][]::new))
                .toArray(double[][][]::new);
    }

    /** Head and query with given penalties. */
    private AttentiveClassifier fitted(
            double c, double penalty, Effort effort, double[][][] views, int[] labels, int classes) {
        double[][] rows = Arrays.stream(views).flatMap(Arrays::stream).toArray(double[][]::new);
        int[] of = IntStream.range(0, rows.length)
                .map(i -> labels[i % labels.length])
                .toArray();
        double tolerance = effort.tolerance * Math.max(1, c);
        AttentiveLoss loss = loss(rows, of, classes, c / views.length, penalty);
        double[] mean = loss.mean();
        double[] scale = loss.scale();
        double[][][] standardised = means(views);
        for (double[][] view : standardised) {
            for (double[] row : view) {
                Arrays.setAll(row, j -> (row[j] - mean[j]) / scale[j]);
            }
        }
        // At W = 0 the query has no gradient, so the fit starts where the plain mean's ends.
        LinearClassifier plain = new LogisticRegression(c, tolerance, effort.steps)
                .fitViews(standardised, labels, classes)
                .classifier();
        double[] start = new double[loss.size()];
        double[][] coefficients = plain.coefficients();
        for (int k = 0; k < classes; k++) {
            System.arraycopy(coefficients[k], 0, start, k * width, width);
        }
        System.arraycopy(plain.intercepts(), 0, start, classes * width, classes);
        double[] x = new Lbfgs(HISTORY, tolerance, effort.steps)
                .minimise(loss, start)
                .x();
        double[] intercepts = Arrays.copyOfRange(x, classes * width, classes * (width + 1));
        for (int k = 0; k < classes; k++) {
            for (int j = 0; j < width; j++) {
                coefficients[k][j] = x[k * width + j] / scale[j];
                intercepts[k] -= coefficients[k][j] * mean[j];
            }
        }
        double[] query = new double[width];
        Arrays.setAll(query, j -> x[classes * (width + 1) + j] / loss.spread()[j] * Math.sqrt(width));
        return new AttentiveClassifier(query, new LinearClassifier(coefficients, intercepts));
    }

    /** Features are standardised as {@link HeadFit} does with the plain means; tokens are not moved, for softmax does not see it. */
    private AttentiveLoss loss(double[][] rows, int[] labels, int classes, double c, double penalty) {
        double[] mean = new double[width];
        double[] scale = deviations(means(new double[][][] {rows})[0], mean);
        double[] spread = deviations(rows, new double[width]);
        Arrays.setAll(scale, j -> scale[j] * Math.sqrt(width));
        return new AttentiveLoss(rows, labels, classes, mean, scale, spread, c, penalty);
    }

    /**
     * The standard deviation of each value over all tokens of all rows, to which a tenth of the mean one is added.
     *
     * @param mean gets the means
     */
    private double[] deviations(double[][] rows, double[] mean) {
        long count = Arrays.stream(rows).mapToLong(row -> row.length / width).sum();
        for (double[] row : rows) {
            for (int at = 0; at < row.length; at += width) {
                AttentiveClassifier.addScaled(mean, 1.0 / count, row, at);
            }
        }
        double[] deviation = new double[width];
        for (double[] row : rows) {
            for (int at = 0; at < row.length; at += width) {
                for (int j = 0; j < width; j++) {
                    double off = row[at + j] - mean[j];
                    deviation[j] += off * off / count;
                }
            }
        }
        Arrays.setAll(deviation, j -> Math.sqrt(deviation[j]));
        double typical = Arrays.stream(deviation).average().orElse(0);
        Arrays.setAll(deviation, j -> typical == 0 ? 1 : deviation[j] + .1 * typical);
        return deviation;
    }
}
