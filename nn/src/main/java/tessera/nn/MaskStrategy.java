package tessera.nn;

import java.util.List;
import tessera.tensor.TokenMask;

/**
 * Which tokens of clips are looked at: the one way masks enter training, inference and evaluation. A strategy of one's own is
 * a lambda, for example {@code c -> TokenMask.perSlot(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(),
 * c.stream() + c.member())}, or a class, which the command line takes by its name; {@link #of} reads both kinds of words.
 *
 * <p>The built-in strategies show {@link MaskContext#shown} cells in every slot of every clip, whatever the shape of the grid, and the
 * same ones on every device. {@link #tubes}, {@link #pairs} and {@link #perSlot} are drawn by kernels, the others in memory of the host.
 *
 * <p>Strategies must be thread-safe and a function of the context alone, so that equal seeds see equal tokens. The context does not
 * say how many masks an ensemble has, so ensembles nest: the first masks of one are those of every smaller one.
 */
@FunctionalInterface
public interface MaskStrategy {
    /** The words of the built-in strategies. */
    List<String> WORDS = List.of("tube", "pairs", "partition", "per-slot", "running", "motion", "saliency");

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

    /**
     * Whether the masks after the first follow what the passes before made of the clips, {@link MaskContext#saliency}. The passes of an
     * ensemble then run one after the other, not in one batch.
     */
    default boolean looksBack() {
        return false;
    }

    /**
     * The word from which {@link #of} makes it again; the name of the class where it is none of the built-in ones. A training run is
     * resumed only with a strategy of the same word.
     */
    default String word() {
        return getClass().getName();
    }

    /**
     * Reads a word:
     *
     * <ul>
     *   <li>{@code tube}, {@code pairs}, {@code partition}, {@code per-slot}, {@code motion}, {@code saliency}: {@link #tubes}, {@link
     *       #pairs}, {@link #partition}, {@link #perSlot}, {@link #motion}, {@link #saliency};
     *   <li>{@code running} or {@code running:N}: {@link #running};
     *   <li>the name of a public class on the class path that implements this interface and has a public constructor without
     *       parameters; or {@code NAME:TEXT} for one with a constructor of one string, which is given TEXT.
     * </ul>
     *
     * @throws IllegalArgumentException if it is none of these, or the class cannot be made
     */
    static MaskStrategy of(String word) {
        return MaskWords.strategy(word);
    }

    /** {@code tube}: independent tube masks (Tong et al., VideoMAE, NeurIPS 2022), in ensembles as MM-CDFSL (ECCV 2024) draws them. */
    static MaskStrategy tubes() {
        return TubeMasks.INDEPENDENT;
    }

    /**
     * {@code pairs}: tube masks of which 2k and 2k + 1 of an ensemble see different cells where they can; see {@link
     * TokenMask#ofEnsemble}. In training, which has one mask for each clip, the same as {@link #tubes()}.
     */
    static MaskStrategy pairs() {
        return TubeMasks.PAIRS;
    }

    /**
     * {@code partition}: tube masks of an ensemble of which no two see the same cell. The first is that of {@link #tubes()}, as in
     * training. P masks need {@code P * shown <= plane}; a mask for which no cells are left is refused.
     */
    static MaskStrategy partition() {
        return new PartitionMasks();
    }

    /** {@code per-slot}: independent random cells in every time slot; see {@link TokenMask#perSlot}. */
    static MaskStrategy perSlot() {
        return new PerSlotMasks();
    }

    /** Running cells of 2 x 2, as published; see {@link #running(int)}. */
    static MaskStrategy running() {
        return running(2);
    }

    /**
     * {@code running:N}: running cells (Qing et al., MAR, IEEE Transactions on Multimedia 2023; VideoMAE V2, Wang et al., CVPR 2023, masks
     * its decoder so). The plane is cut into cells of {@code side x side} patches, in each of which the visible ones move on by one, in
     * the order of reading, from slot to slot; where they start is drawn for each clip. If the ratio shows no whole number of
     * patches in a cell, or cells at the edge are cut, random cells, the same in every slot, show one more or one less, so that the
     * count of every slot is kept. The masks of an ensemble start behind each other, and differ where they can.
     *
     * @param side of a cell, 2 to 9
     * @throws IllegalArgumentException for another side
     */
    static MaskStrategy running(int side) {
        return new RunningCells(side);
    }

    /**
     * {@code motion}: tube masks that show the cells with the largest frame differences, the sums over their pixels and all frames of
     * {@code |x[t + 1] - x[t]|}; of equal ones, random cells. The masks of an ensemble go down that order: the second shows those that
     * move most among the cells that the first does not show, and so on, beginning again when all were shown. Needs the clips. A moving
     * camera moves everything, edges most.
     */
    static MaskStrategy motion() {
        return new MotionMasks();
    }

    /**
     * {@code saliency}: tube masks of which the first is that of {@link #tubes()}, as in training, and each further one shows the most
     * salient cells that no pass has seen yet; when these are too few, the most salient of all besides. A cell is as salient as the
     * norm of its tokens was, after the last block that was computed and before the model's last norm, in the latest pass that saw it;
     * one not seen yet has the mean of the seen ones weighted by the inverse square of their distance (Shepard, 1968).
     */
    static MaskStrategy saliency() {
        return new SaliencyMasks();
    }
}
