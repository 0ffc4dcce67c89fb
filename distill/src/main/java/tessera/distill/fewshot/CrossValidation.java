package tessera.distill.fewshot;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;

/**
 * Examples that are held out, each once, in up to five folds, and recognised by heads that were fitted on the others. Folds hold parts
 * of every class, and never a part of a group. Where a class has one group alone its examples are taken for groups, and where it has
 * one example nothing can be held out.
 */
final class CrossValidation {
    private static final int FOLDS = 5;

    private CrossValidation() {}

    /** Fits a head on some of the examples. */
    interface Fitter {
        /**
         * A head.
         *
         * @param views {@code [P][examples][D]} of those that are kept
         */
        FewShotClassifier fit(double[][][] views, int[] labels);
    }

    /**
     * The fold of each example, or none if nothing can be held out.
     *
     * @param groups of each example, or null if each is its own
     */
    static int[] folds(int[] labels, int classes, int @Nullable [] groups) {
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
     * What a fitter learns from all examples, and its likes from those that are not held out.
     *
     * @param groups of each example, or null if each is its own
     */
    static FewShotHead.Learned learned(
            Fitter fitter, double[][][] views, int[] labels, int classes, int @Nullable [] groups) {
        return new FewShotHead.Learned(fitter.fit(views, labels), () -> {
            int[] folds = folds(labels, classes, groups);
            return folds.length == 0 ? new double[0][][] : probabilities(views, labels, folds, fitter);
        });
    }

    /**
     * Class probabilities of each example in each view by a head that did not see it, {@code [P][examples][classes]}.
     *
     * @param views {@code [P][examples][D]}
     * @param folds of each example
     */
    static double[][][] probabilities(double[][][] views, int[] labels, int[] folds, Fitter fitter) {
        double[][][] probabilities = new double[views.length][labels.length][];
        int count = Arrays.stream(folds).max().orElse(-1) + 1;
        for (int fold = 0; fold < count; fold++) {
            int out = fold;
            int[] kept = IntStream.range(0, labels.length)
                    .filter(i -> folds[i] != out)
                    .toArray();
            List<double[][]> examples = new ArrayList<>();
            for (double[][] view : views) {
                examples.add(IntStream.of(kept).mapToObj(i -> view[i]).toArray(double[][]::new));
            }
            FewShotClassifier classifier = fitter.fit(
                    examples.toArray(double[][][]::new),
                    IntStream.of(kept).map(i -> labels[i]).toArray());
            for (int i = 0; i < labels.length; i++) {
                if (folds[i] == fold) {
                    for (int p = 0; p < views.length; p++) {
                        probabilities[p][i] = classifier.probabilities(views[p][i]);
                    }
                }
            }
        }
        return probabilities;
    }
}
