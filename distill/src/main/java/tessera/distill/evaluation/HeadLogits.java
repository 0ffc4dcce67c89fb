package tessera.distill.evaluation;

import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Class scores of a set of clips by one head, before softmax.
 *
 * @param head the head's name
 * @param labels names of its classes, in order
 * @param values {@code [clips][classes]}; not copied
 */
public record HeadLogits(String head, List<String> labels, double[][] values) {
    public HeadLogits {
        labels = List.copyOf(labels);
        for (double[] row : values) {
            if (row.length != labels.size()) {
                throw new IllegalArgumentException("head '" + head + "': a clip has " + row.length
                        + " scores but there are " + labels.size() + " classes; pass one score for each class");
            }
        }
    }

    /** Number of clips. */
    public int clips() {
        return values.length;
    }

    /** Class probabilities, {@code [clips][classes]}. */
    public double[][] probabilities() {
        return probabilities(1);
    }

    /**
     * Class probabilities at a temperature, {@code softmax(z / T)}, {@code [clips][classes]}.
     *
     * @param temperature T, over 0; larger is less confident
     * @throws IllegalArgumentException if it is not over 0
     */
    public double[][] probabilities(double temperature) {
        if (!(temperature > 0)) {
            throw new IllegalArgumentException(
                    "head '" + head + "': the temperature is " + temperature + "; pass one over 0");
        }
        double[][] probabilities = new double[values.length][];
        for (int i = 0; i < values.length; i++) {
            probabilities[i] = softmax(values[i], 1 / temperature);
        }
        return probabilities;
    }

    /** {@code softmax(beta * z)}. */
    static double[] softmax(double[] z, double beta) {
        double most = Double.NEGATIVE_INFINITY;
        for (double score : z) {
            most = Math.max(most, score);
        }
        double[] p = new double[z.length];
        double sum = 0;
        for (int c = 0; c < z.length; c++) {
            p[c] = Math.exp(beta * (z[c] - most));
            sum += p[c];
        }
        for (int c = 0; c < z.length; c++) {
            p[c] /= sum;
        }
        return p;
    }

    /**
     * Labels of clips in the order of this head's classes.
     *
     * @param classes names of the classes that the labels number
     * @param ofClip class of each clip, a place in {@code classes}
     * @throws IllegalArgumentException if the head does not know the class of a clip, or there is not one label for each clip
     */
    public int[] numbered(List<String> classes, int[] ofClip) {
        if (ofClip.length != values.length) {
            throw new IllegalArgumentException("head '" + head + "': " + values.length + " clips have scores and "
                    + ofClip.length + " have labels; pass one label for each clip");
        }
        return numbered(head, labels, classes, ofClip);
    }

    /**
     * The same before there are scores.
     *
     * @param labels names of the head's classes, in order
     * @param classes names of the classes that the clips' labels number
     * @param ofClip class of each clip, a place in {@code classes}
     * @throws IllegalArgumentException if the head does not know the class of a clip
     */
    public static int[] numbered(String head, List<String> labels, List<String> classes, int[] ofClip) {
        Map<String, Integer> places = new HashMap<>();
        for (int c = 0; c < labels.size(); c++) {
            places.putIfAbsent(labels.get(c), c);
        }
        int[] numbers = new int[ofClip.length];
        for (int i = 0; i < numbers.length; i++) {
            String name = classes.get(ofClip[i]);
            Integer place = places.get(name);
            if (place == null) {
                throw new IllegalArgumentException(
                        "head '" + head + "' knows no '" + name + "', which a clip shows; its "
                                + labels.size() + " classes begin with " + labels.subList(0, Math.min(3, labels.size()))
                                + "; judge it on clips of these classes");
            }
            numbers[i] = place;
        }
        return numbers;
    }
}
