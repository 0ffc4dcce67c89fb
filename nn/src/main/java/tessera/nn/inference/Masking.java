package tessera.nn.inference;

import tessera.nn.MaskStrategy;
import tessera.nn.ModelConfig;
import tessera.nn.TokenReduction;
import tessera.tensor.TokenMask;

/**
 * How a student looks at clips: ensemble masked inference (MM-CDFSL, ECCV 2024). Immutable.
 *
 * @param ratio share of the tokens that are not looked at, in [0, 1); where it hides no cell, every token is seen and no mask is
 *     drawn
 * @param ensemble masks for each clip, at least 1; time and memory grow with it
 * @param strategy which tokens a mask hides; {@link MaskStrategy} has those there are, and takes one's own
 * @param aggregation how the passes of an ensemble become one answer
 * @param reduction how fewer tokens are computed than the masks leave visible
 */
public record Masking(
        double ratio, int ensemble, MaskStrategy strategy, Aggregation aggregation, TokenReduction reduction) {
    /**
     * Three quarters hidden and two masks, the command line's default: about 2.6 times as fast as seeing every token. Where it is
     * the default, a model that cannot be masked is opened with {@link #none()}; see {@link #suiting}.
     */
    public static final Masking DEFAULT = of(.75, 2);

    public Masking {
        TokenMask.maskedCells(Integer.MAX_VALUE, ratio);
        if (ensemble < 1) {
            throw new IllegalArgumentException("ensemble of " + ensemble + " masks; pass 1 or more");
        }
        if (strategy.looksBack() && !reduction.isNone()) {
            throw new IllegalArgumentException(
                    "masks by " + strategy.word() + " follow the tokens of the pass before, which " + reduction
                            + " makes fewer; pass one of the two");
        }
    }

    /** With every token computed that a mask leaves visible. */
    public Masking(double ratio, int ensemble, MaskStrategy strategy, Aggregation aggregation) {
        this(ratio, ensemble, strategy, aggregation, TokenReduction.NONE);
    }

    /** Every token is seen, once. */
    public static Masking none() {
        return of(0, 1);
    }

    /** The same, or {@link #none()} in place of {@link #DEFAULT} where a model has no tokens to mask. */
    public Masking suiting(ModelConfig config) {
        return config.grid() == null && equals(DEFAULT) ? none() : this;
    }

    /**
     * Pairs of masks that see different cells ({@link MaskStrategy#pairs}), and the mean of the passes' probabilities.
     *
     * @throws IllegalArgumentException if the ratio is not in [0, 1) or there is no mask
     */
    public static Masking of(double ratio, int ensemble) {
        return new Masking(ratio, ensemble, MaskStrategy.pairs(), Aggregation.PROBABILITIES);
    }

    /** The same with other masks. */
    public Masking withStrategy(MaskStrategy other) {
        return new Masking(ratio, ensemble, other, aggregation, reduction);
    }

    /**
     * The same with another share of hidden tokens.
     *
     * @throws IllegalArgumentException if it is not in [0, 1)
     */
    public Masking withRatio(double other) {
        return new Masking(other, ensemble, strategy, aggregation, reduction);
    }

    /** The same with another number of masks. */
    public Masking withEnsemble(int masks) {
        return new Masking(ratio, masks, strategy, aggregation, reduction);
    }

    /** The same with another way to make one answer of the passes. */
    public Masking withAggregation(Aggregation other) {
        return new Masking(ratio, ensemble, strategy, other, reduction);
    }

    /** The same with fewer or more tokens computed of those that are visible, for features that are means of tokens. */
    public Masking withReduction(TokenReduction other) {
        return new Masking(ratio, ensemble, strategy, aggregation, other);
    }

    /** Whether a pass can be recorded and replayed with another seed: its masks allow it, and no token is left out by what clips show. */
    boolean recordable() {
        return strategy.recordable() && reduction.isNone();
    }
}
