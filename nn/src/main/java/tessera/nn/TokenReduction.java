package tessera.nn;

import java.util.Locale;
import org.jspecify.annotations.Nullable;

/**
 * How a model computes fewer tokens than it is shown, in inference. One of
 *
 * <ul>
 *   <li>{@link #merging}: in each block the tokens that are most alike become one (Bolya et al., "Token merging: your ViT but faster",
 *       ICLR 2023);
 *   <li>{@link #runLengths}: a patch that does not change from time slot to time slot is computed once, for all its slots (Choudhury et
 *       al., "Don't look twice: faster video transformers with run-length tokenization", NeurIPS 2024). Their encoding of the length
 *       is learned, which weights of others do not have; here the token has the position of its first patch, and the length is
 *       its size.
 * </ul>
 *
 * <p>A token stands for as many as its size says. Where it stands is then not known any more, so features are {@link Pooling#MEAN}. Immutable.
 *
 * @param merged tokens that each block merges away, at most half of those there are; 0 for none
 * @param threshold the mean absolute difference of pixels, of 0 to 255, up to which a patch counts as the one before it; null where
 *     none is compared
 * @param sizes where a token counts as often as its size says
 */
public record TokenReduction(int merged, @Nullable Double threshold, Sizes sizes) {
    /** Every token that is shown is computed. */
    public static final TokenReduction NONE = new TokenReduction(0, null, Sizes.BOTH);

    /** Where a token counts as often as its size says. */
    public enum Sizes {
        /** In attention, by the logarithm of the size added to the scores (Bolya et al., equation 1), and in the mean. */
        BOTH,
        /** In the mean of the tokens alone. */
        MEAN,
        /** Nowhere: every token counts once. */
        NONE
    }

    public TokenReduction {
        if (merged < 0) {
            throw new IllegalArgumentException("token merging takes away " + merged
                    + " tokens a block; pass 0 for none, or how many each block is to merge away");
        }
        if (threshold != null && !(threshold >= 0 && threshold < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("the run length's threshold is " + threshold
                    + "; pass the mean difference of pixels up to which a patch repeats, from 0 (equal) to 255");
        }
        if (merged > 0 && threshold != null) {
            throw new IllegalArgumentException(
                    "token merging and run lengths are asked for at once; pass one of them, as clips with tokens of different"
                            + " numbers are not merged");
        }
    }

    /**
     * Merges tokens in every block.
     *
     * @param tokens that each block takes away, at most half of those there are; with 0 this is {@link #NONE}
     */
    public static TokenReduction merging(int tokens) {
        return new TokenReduction(tokens, null, Sizes.BOTH);
    }

    /**
     * Computes patches that repeat once.
     *
     * @param threshold the mean absolute difference of pixels, of 0 to 255, up to which a patch counts as the last one of its cell that
     *     was kept; 0 for equal ones alone
     */
    public static TokenReduction runLengths(double threshold) {
        return new TokenReduction(0, threshold, Sizes.BOTH);
    }

    /** The same with sizes that count elsewhere. */
    public TokenReduction withSizes(Sizes other) {
        return new TokenReduction(merged, threshold, other);
    }

    /** Whether every token that is shown is computed. */
    public boolean isNone() {
        return merged == 0 && threshold == null;
    }

    /**
     * Refuses models and poolings that are not for fewer tokens.
     *
     * @throws IllegalArgumentException if the model has no grid of tokens, or the pooling asks where they are
     */
    public void requireFit(ModelConfig model, Pooling pooling) {
        if (isNone()) {
            return;
        }
        if (model.grid() == null) {
            throw new IllegalArgumentException(
                    this + " takes tokens away but models of this architecture compute every one; leave it away");
        }
        if (!pooling.equals(Pooling.MEAN)) {
            throw new IllegalArgumentException(this + " forgets where tokens lie, which the pooling " + pooling
                    + " asks for; pool by mean, or leave it away");
        }
    }

    /**
     * The model that computes fewer tokens: itself if this is {@link #NONE}, else one that shares its weights and of which closing frees
     * nothing.
     *
     * @throws IllegalArgumentException as {@link #requireFit}, or if the model does not compute fewer
     */
    public VideoModel of(VideoModel model, Pooling pooling) {
        requireFit(model.config(), pooling);
        return isNone() ? model : model.reduced(this);
    }

    /** In words: {@code merging 8}, {@code run length 4.0, sizes mean}. */
    @Override
    public String toString() {
        String what = threshold != null ? "run length " + threshold : merged > 0 ? "merging " + merged : "none";
        return sizes == Sizes.BOTH ? what : what + ", sizes " + sizes.name().toLowerCase(Locale.ROOT);
    }
}
