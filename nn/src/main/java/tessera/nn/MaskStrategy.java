package tessera.nn;

import tessera.tensor.TokenMask;

/**
 * Which tokens of clips are looked at: the one way masks enter training, inference and evaluation. A strategy of one's own is
 * a lambda, for example {@code c -> TokenMask.perSlot(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(),
 * c.stream() + c.member())}.
 *
 * <p>Strategies must be thread-safe and a function of the context alone, so that equal seeds see equal tokens.
 */
@FunctionalInterface
public interface MaskStrategy {
    /**
     * One mask for each clip of a batch. All masks of an ensemble leave equally many tokens visible.
     *
     * @return masks of {@code context.batch()} clips over {@code slots * plane} tokens; they belong to the innermost open scope
     */
    TokenMask draw(MaskContext context);

    /**
     * Whether the draw consists of kernels alone that depend on the seed, as {@link TokenMask}'s random masks do, so that a
     * recorded pass can be replayed with another seed. Where not, sessions run without a recording.
     */
    default boolean recordable() {
        return false;
    }

    /**
     * Whether every mask shows the same cells in every time slot, as {@link #tubes} do. A {@link Pooling} of motion needs that: where it
     * is not promised here, each mask is looked at, which on a GPU rules out a recording too.
     */
    default boolean showsTubes() {
        return false;
    }

    /** Independent tube masks (Tong et al., VideoMAE, NeurIPS 2022), in ensembles as MM-CDFSL (ECCV 2024) draws them. */
    static MaskStrategy tubes() {
        return TubeMasks.INDEPENDENT;
    }

    /**
     * Tube masks of which 2k and 2k + 1 of an ensemble see different cells where they can; see {@link TokenMask#ofEnsemble}. In
     * training, which has one mask for each clip, the same as {@link #tubes()}.
     */
    static MaskStrategy pairs() {
        return TubeMasks.PAIRS;
    }
}
