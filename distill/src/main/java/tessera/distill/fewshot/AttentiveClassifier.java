package tessera.distill.fewshot;

import java.util.Arrays;

/**
 * A linear classifier of the mean of a clip's tokens weighted by attention: {@code softmax(W f + b)} of {@code f = sum_i a_i t_i} with
 * {@code a = softmax(t . q / sqrt(D))}, as {@link tessera.nn.Pooling} pools by {@code attentive}. With {@code q = 0} the weights are
 * equal.
 *
 * <p>Immutable and safe to share between threads.
 */
public final class AttentiveClassifier implements FewShotClassifier {
    private final double[] query;
    private final double[] scaled;
    private final LinearClassifier linear;

    /**
     * Copies the query.
     *
     * @param query q, {@code [D]}
     * @param linear of D features
     * @throws IllegalArgumentException if a value of the query is not finite, or there is none
     */
    public AttentiveClassifier(double[] query, LinearClassifier linear) {
        if (query.length == 0) {
            throw new IllegalArgumentException("attentive_classifier: the query is empty; pass one of a token's width");
        }
        Features.requireFinite("attentive_classifier", "the query", query);
        this.query = query.clone();
        this.scaled = Arrays.stream(query)
                .map(value -> value / Math.sqrt(query.length))
                .toArray();
        this.linear = linear;
    }

    /** A copy of q, {@code [D]}. */
    public double[] query() {
        return query.clone();
    }

    /** What tells classes apart by the weighted mean. */
    public LinearClassifier linear() {
        return linear;
    }

    /**
     * The class probabilities of one clip.
     *
     * @param tokens {@code [n * D]}, one after the other, n of 1 or more
     */
    @Override
    public double[] probabilities(double[] tokens) {
        requireTokens("attentive_classifier", "the input", tokens, query.length);
        return linear.probabilities(pooled(tokens, scaled, new double[tokens.length / query.length]));
    }

    static void requireTokens(String operation, String row, double[] tokens, int width) {
        if (tokens.length == 0 || tokens.length % width != 0) {
            throw new IllegalArgumentException(
                    operation + ": " + row + " has " + tokens.length + " values, which are no tokens of " + width
                            + "; pass all of a clip's tokens, one after the other");
        }
        Features.requireFinite(operation, row, tokens);
    }

    /**
     * The weighted mean.
     *
     * @param scaled {@code q / sqrt(D)}
     * @param weights gets the weight of each token
     */
    static double[] pooled(double[] tokens, double[] scaled, double[] weights) {
        for (int i = 0; i < weights.length; i++) {
            weights[i] = dot(tokens, i * scaled.length, scaled);
        }
        LinearClassifier.softmax(weights);
        double[] mean = new double[scaled.length];
        for (int i = 0; i < weights.length; i++) {
            addScaled(mean, weights[i], tokens, i * scaled.length);
        }
        return mean;
    }

    static double dot(double[] tokens, int offset, double[] by) {
        return LinearClassifier.dot(tokens, offset, by);
    }

    static void addScaled(double[] target, double factor, double[] tokens, int offset) {
        for (int j = 0; j < target.length; j++) {
            target[j] += factor * tokens[offset + j];
        }
    }
}
