package tessera.nn;

import tessera.tensor.Autograd;
import tessera.tensor.Tensor;

/**
 * Dropout (Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014): while a network
 * trains, each element is set to zero with a probability and divided by one minus that probability where it stays. A model makes it
 * of the {@link DropPath} that its training passes.
 *
 * <p>Which elements stay is a function of (seed, stream); place i of a model draws from the stream {@code stream + (i << 48)}.
 *
 * @param rate in [0, 1)
 * @param stream below 2^48, so that steps that count it up do not meet other places' numbers
 */
public record Dropout(double rate, long seed, long stream) {
    /** Drops nothing. */
    public static final Dropout NONE = new Dropout(0, 0, 0);

    private static final int PLACE_SHIFT = 48;

    public Dropout {
        if (!(rate >= 0 && rate < 1)) {
            throw new IllegalArgumentException("dropout: rate " + rate + " is not in [0, 1)");
        }
    }

    /** Whether elements are dropped: only while gradients are recorded. */
    public boolean active() {
        return rate > 0 && Autograd.isRecording();
    }

    /** The same for a part of the model whose places count from this one. */
    public Dropout from(int place) {
        return new Dropout(rate, seed, stream + ((long) place << PLACE_SHIFT));
    }

    /** Elements of x dropped by the numbers of a place; x itself unless {@link #active}. */
    public Tensor apply(Tensor x, int place) {
        return active() ? x.dropout(rate, seed, stream + ((long) place << PLACE_SHIFT)) : x;
    }
}
