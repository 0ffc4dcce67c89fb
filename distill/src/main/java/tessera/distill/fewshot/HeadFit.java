package tessera.distill.fewshot;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * A linear head on standardised features, whose penalty, and if several are offered whose features, are chosen by cross-validation on
 * its examples alone.
 *
 * <p>Each feature loses its mean over the examples and is divided by its standard deviation, to which a tenth of the mean one is
 * added so that what hardly varies is not blown up, and by the root of the number of features; this is folded into the head,
 * which stays linear in the features as they are. {@link LogisticRegression}'s C is the one of {@value #LEAST} to {@value #MOST} in powers
 * of ten with the least cross-entropy on examples held out, each once, in up to five folds; of equals the first. Folds hold parts
 * of every class, and never a part of a group. Where a class has one group alone its examples are taken for groups, and where it
 * has one example nothing can be held out: then C is 1, and the features are the first of those offered.
 *
 * <p>Deterministic; immutable and safe to share between threads.
 */
public final class HeadFit {
    private static final double LEAST = 1e-3;
    private static final double MOST = 1e3;
    private static final int FOLDS = 5;
    private static final double LARGEST_LOSS = -Math.log(1e-12);

    private final List<int[]> candidates;

    /**
     * A fit on one or more choices of features.
     *
     * @param candidates columns of the rows that {@link #fit} is given, one list for each choice, the preferred one first
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
     * @param candidate which choice of features it looks at, from 0
     * @param c the penalty's C
     * @param heldOut mean cross-entropy of the examples that were held out, in nats; NaN where none could be
     * @param classifier on the chosen columns alone, as they are
     * @param columns the chosen columns
     */
    public record Fit(int candidate, double c, double heldOut, LinearClassifier classifier, int[] columns) {
        /** The same classifier on all columns, with weight 0 for those that were not chosen. */
        public LinearClassifier onAll(int width) {
            double[][] own = classifier.coefficients();
            double[][] all = new double[own.length][width];
            for (int k = 0; k < own.length; k++) {
                for (int j = 0; j < columns.length; j++) {
                    all[k][columns[j]] = own[k][j];
                }
            }
            return new LinearClassifier(all, classifier.intercepts());
        }
    }

    /**
     * Fits on several views of each example.
     *
     * @param views {@code [P][examples][D]}, finite
     * @param labels class of each example in {@code [0, classes)}, every class at least once
     * @param groups of each example, such as the place or the recording it comes from, or null if each is its own
     * @throws IllegalArgumentException as {@link LogisticRegression#fit}
     */
    public Fit fit(double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        int[] folds = folds(labels, classes, groups);
        double[] penalties =
                DoubleStream.iterate(LEAST, c -> c <= MOST * 1.5, c -> c * 10).toArray();
        Standardised best = null;
        int candidate = 0;
        double c = 1;
        double least = Double.NaN;
        for (int i = 0; i < candidates.size() && (best == null || folds.length > 0); i++) {
            Standardised examples = Standardised.of(views, candidates.get(i));
            if (best == null) {
                best = examples;
            }
            for (double penalty : folds.length > 0 ? penalties : new double[0]) {
                double loss = examples.heldOut(penalty, labels, classes, folds);
                if (Double.isNaN(least) || loss < least) {
                    least = loss;
                    best = examples;
                    candidate = i;
                    c = penalty;
                }
            }
        }
        if (best == null) {
            throw new IllegalStateException("there is a candidate");
        }
        return new Fit(candidate, c, least, best.fit(c, labels, classes), candidates.get(candidate));
    }

    /** The fold of each example, or none if nothing can be held out. */
    private static int[] folds(int[] labels, int classes, int @Nullable [] groups) {
        int[] own = IntStream.range(0, labels.length).toArray();
        int[] places = groups == null || fewest(labels, classes, groups) < 2 ? own : groups;
        int folds = Math.min(FOLDS, fewest(labels, classes, places));
        if (folds < 2) {
            return new int[0];
        }
        List<Map<Integer, Integer>> seen = IntStream.range(0, classes)
                .<Map<Integer, Integer>>mapToObj(k -> new HashMap<>())
                .toList();
        return IntStream.range(0, labels.length)
                .map(i -> {
                    Map<Integer, Integer> ofClass = seen.get(labels[i]);
                    return ofClass.computeIfAbsent(places[i], group -> ofClass.size()) % folds;
                })
                .toArray();
    }

    /** Groups of the class that has fewest. */
    private static int fewest(int[] labels, int classes, int[] groups) {
        return IntStream.range(0, classes)
                .map(k -> (int) IntStream.range(0, labels.length)
                        .filter(i -> labels[i] == k)
                        .map(i -> groups[i])
                        .distinct()
                        .count())
                .min()
                .orElse(0);
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

        /** Mean cross-entropy of each example's mean probabilities by heads that were fitted on the other folds. */
        double heldOut(double c, int[] labels, int classes, int[] folds) {
            double loss = 0;
            int count = Arrays.stream(folds).max().orElse(0) + 1;
            for (int fold = 0; fold < count; fold++) {
                int out = fold;
                int[] kept = IntStream.range(0, labels.length)
                        .filter(i -> folds[i] != out)
                        .toArray();
                LinearClassifier classifier = regression(c, kept, labels, classes);
                for (int i = 0; i < labels.length; i++) {
                    if (folds[i] == fold) {
                        double p = classifier.ensemble(viewsOf(i, labels.length))[labels[i]];
                        loss += Math.min(LARGEST_LOSS, -Math.log(p)) / labels.length;
                    }
                }
            }
            return loss;
        }

        private double[][] viewsOf(int example, int examples) {
            return IntStream.range(0, views)
                    .mapToObj(p -> rows[p * examples + example])
                    .toArray(double[][]::new);
        }

        private LinearClassifier regression(double c, int[] chosen, int[] labels, int classes) {
            List<double[][]> passes = new ArrayList<>();
            for (int p = 0; p < views; p++) {
                int from = p * labels.length;
                passes.add(IntStream.of(chosen).mapToObj(i -> rows[from + i]).toArray(double[][]::new));
            }
            return new LogisticRegression(c, 1e-4, 1000)
                    .fitViews(
                            passes.toArray(double[][][]::new),
                            IntStream.of(chosen).map(i -> labels[i]).toArray(),
                            classes)
                    .classifier();
        }

        /** A head on the features as they are. */
        LinearClassifier fit(double c, int[] labels, int classes) {
            LinearClassifier fitted =
                    regression(c, IntStream.range(0, labels.length).toArray(), labels, classes);
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
