package tessera.distill.fewshot;

/** Tells the classes of an episode apart by a clip's feature. Safe to share between threads. */
@FunctionalInterface
public interface FewShotClassifier {
    /**
     * The class probabilities of one feature row.
     *
     * @param x D finite numbers
     * @return one for each class; they sum to 1
     * @throws IllegalArgumentException if the length is not D or a number is not finite
     */
    double[] probabilities(double[] x);
}
