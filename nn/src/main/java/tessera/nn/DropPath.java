package tessera.nn;

import tessera.tensor.Tensor;

/**
 * Stochastic depth (Huang et al., "Deep networks with stochastic depth", ECCV 2016): while a network trains, each of its
 * residual branches is left out of a sample with a probability that grows linearly from 0 in the first block to {@code rate} in
 * the last, and divided by one minus that probability where it stays (timm's {@code DropPath} with {@code scale_by_keep}).
 *
 * <p>Which branches stay is a function of (seed, stream); the two branches of block i draw from the streams {@code stream +
 * (2 i << 48)} and {@code stream + (2 i + 1 << 48)}.
 *
 * @param rate in [0, 1)
 * @param stream below 2^48, so that steps that count it up do not meet other branches' numbers
 */
public record DropPath(double rate, long seed, long stream) {
    /** Leaves nothing out, and so does the {@link #dropout} of it: its stream is none that a training draws from. */
    public static final DropPath NONE = new DropPath(0, 0, -1);

    private static final int BRANCH_SHIFT = 48;

    public DropPath {
        if (!(rate >= 0 && rate < 1)) {
            throw new IllegalArgumentException("drop path: rate " + rate + " is not in [0, 1)");
        }
    }

    /** What one of several blocks is left out by. */
    public DropPath ofBlock(int block, int depth) {
        return new DropPath(rate * block / Math.max(1, depth - 1), seed, stream + ((2L * block) << BRANCH_SHIFT));
    }

    /**
     * The dropout of a model that has one of its own, by this seed and stream, whatever this rate; {@link Dropout#NONE} of {@link
     * #NONE}. A model with both numbers its dropout's places after the branches of its blocks.
     *
     * @param probability of an element to be dropped, in [0, 1)
     */
    public Dropout dropout(double probability) {
        return equals(NONE) ? Dropout.NONE : new Dropout(probability, seed, stream);
    }

    /** {@code residual + branch} for the first (0) or second (1) branch of a block. */
    public Tensor add(Tensor residual, Tensor branch, int which) {
        return residual.addDropPath(branch, rate, seed, stream + ((long) which << BRANCH_SHIFT));
    }
}
