package tessera.distill.evaluation;

/** Measures of predicted class probabilities against labels. */
public final class Classification {
    private Classification() {}

    /**
     * Share of samples whose label is among the {@code k} highest scores, in [0, 1]. Of equal scores the lower class
     * number counts as higher, as in arg-max.
     *
     * @param scores {@code [n][classes]}: probabilities or logits
     * @param labels {@code [n]}
     * @throws IllegalArgumentException if the arrays do not fit together, {@code k} is out of range or a score is NaN
     */
    public static double topK(double[][] scores, int[] labels, int k) {
        return (double) hits(scores, labels, k) / scores.length;
    }

    /** As {@link #topK}, their number. */
    static int hits(double[][] scores, int[] labels, int k) {
        check("top_k", scores, labels);
        if (k < 1 || k > scores[0].length) {
            throw new IllegalArgumentException(
                    "top_k: k is " + k + " with " + scores[0].length + " classes; pass 1.." + scores[0].length);
        }
        int hits = 0;
        for (int i = 0; i < scores.length; i++) {
            if (rank(scores[i], labels[i]) < k) {
                hits++;
            }
        }
        return hits;
    }

    /**
     * Expected calibration error, in [0, 1] as accuracies are (Guo et al. 2017): confidences, the highest probability of each sample, fall
     * into equal bins {@code (lo, hi]} of [0, 1]; the result is the mean over samples of |accuracy - confidence| of their
     * bin. A confidence of 0 counts in the first bin.
     *
     * @param probabilities {@code [n][classes]}, each in [0, 1]
     * @param labels {@code [n]}
     * @throws IllegalArgumentException if the arrays do not fit together, {@code bins} is under 1 or a number is no
     *     probability
     */
    public static double expectedCalibrationError(double[][] probabilities, int[] labels, int bins) {
        return Reliability.of(probabilities, labels, bins).expectedCalibrationError();
    }

    /** How many classes stand before {@code label}. */
    static int rank(double[] scores, int label) {
        int rank = 0;
        for (int c = 0; c < scores.length; c++) {
            if (scores[c] > scores[label] || (scores[c] == scores[label] && c < label)) {
                rank++;
            }
        }
        return rank;
    }

    static void check(String operation, double[][] scores, int[] labels) {
        if (scores.length == 0 || scores.length != labels.length) {
            throw new IllegalArgumentException(operation + ": " + scores.length + " rows of scores and " + labels.length
                    + " labels given; pass one label for each row, and at least one row");
        }
        for (int i = 0; i < scores.length; i++) {
            if (scores[i].length != scores[0].length || labels[i] < 0 || labels[i] >= scores[i].length) {
                throw new IllegalArgumentException(operation + ": sample " + i + " has " + scores[i].length
                        + " scores and label " + labels[i] + " but sample 0 has " + scores[0].length
                        + " scores; pass rows of one length and labels within it");
            }
            for (double s : scores[i]) {
                if (Double.isNaN(s)) {
                    throw new IllegalArgumentException(
                            operation + ": sample " + i + " has a score that is NaN; check the model's output");
                }
            }
        }
    }
}
