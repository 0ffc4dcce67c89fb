package tessera.distill.fewshot;

import java.util.List;
import java.util.function.Supplier;
import org.jspecify.annotations.Nullable;

/**
 * How a classifier is made of the features of a few examples: {@link LogisticRegression}, {@link HeadFit}, {@link
 * AttentiveFit}, {@link NearestMean}, {@link CosineHead}, or one's own. {@link FineTuning}, which trains the student too, is none of these: it needs clips, not features.
 *
 * <p>Immutable and safe to share between threads.
 */
@FunctionalInterface
public interface FewShotHead {
    /** What {@link #of} takes. */
    List<String> WORDS = List.of("logistic", "prototype", "cosine");

    /**
     * Learns from several views of each example.
     *
     * @param views {@code [P][examples][D]}, finite, P of 1 or more
     * @param labels class of each example in {@code [0, classes)}, every class at least once
     * @param groups of each example, such as the recording it comes from, of which none is held out in part; or null if each is its own
     * @throws IllegalArgumentException if the arrays do not fit together, a feature is not finite, or a class is empty
     */
    Learned learn(double[][][] views, int[] labels, int classes, int @Nullable [] groups);

    /**
     * What was learned.
     *
     * @param classifier of features like those of the examples
     * @param heldOut class probabilities of the examples in each view by classifiers like it that did not see them, each held out once,
     *     {@code [P][examples][classes]}; empty where a class has one example, so that nothing can be held out. Computed when asked for
     */
    record Learned(FewShotClassifier classifier, Supplier<double[][][]> heldOut) {}

    /**
     * A head that is compared with in papers, on features as they are.
     *
     * @param word {@code logistic} (regression with C = 1, as MM-CDFSL has it), {@code prototype} ({@link NearestMean}) or {@code cosine}
     *     ({@link CosineHead})
     * @throws IllegalArgumentException if it is another
     */
    static FewShotHead of(String word) {
        return switch (word) {
            case "logistic" -> new LogisticRegression();
            case "prototype" -> new NearestMean();
            case "cosine" -> new CosineHead();
            default ->
                throw new IllegalArgumentException(
                        "few_shot_head: there is no head '" + word + "'; pass one of " + String.join(", ", WORDS));
        };
    }
}
