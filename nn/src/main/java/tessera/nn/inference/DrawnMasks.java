package tessera.nn.inference;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.nn.MaskContext;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The masks under which an ensemble sees the clips of a call, drawn one by one, and looked at where kernels could not trust them or
 * the pooling needs tubes that nobody promised.
 */
final class DrawnMasks {
    private final Masking masking;
    private final TokenGrid grid;
    private final Device device;
    private final Pooling pooling;
    private final Tensor clips;
    private final long seed;

    /** Visible tokens of the first mask. */
    private long count = -1;

    /**
     * Draws nothing yet.
     *
     * @param grid of which the masking hides some cells
     * @param device where the masks are used
     * @param pooling of the tokens that they leave
     * @param clips {@code [B, T, H, W, C]}
     * @param seed determines the masks
     */
    DrawnMasks(Masking masking, TokenGrid grid, Device device, Pooling pooling, Tensor clips, long seed) {
        this.masking = masking;
        this.grid = grid;
        this.device = device;
        this.pooling = pooling;
        this.clips = clips;
        this.seed = seed;
    }

    /** Whether nobody has to look at the masks: neither are they a stranger's nor must it be seen that they are tubes. */
    static boolean recordable(Masking masking, Pooling pooling) {
        return masking.recordable() && (masking.strategy().showsTubes() || !pooling.seesMotion());
    }

    int ensemble() {
        return masking.ensemble();
    }

    TokenGrid grid() {
        return grid;
    }

    /** The masks of all passes. */
    List<TokenMask> all() {
        List<TokenMask> masks = new ArrayList<>();
        for (int member = 0; member < masking.ensemble(); member++) {
            masks.add(mask(member, null));
        }
        return masks;
    }

    /**
     * The mask of one pass.
     *
     * @param member number of the pass, from 0
     * @param saliency what the passes before made of the clips, or null; see {@link MaskContext#saliency}
     */
    TokenMask mask(int member, float @Nullable [][] saliency) {
        MaskContext context = new MaskContext(
                device, clips.size(0), grid, masking.ratio(), seed, /* stream= */ 0, member, clips, saliency);
        TokenMask mask = masking.strategy().draw(context);
        if (recordable(masking, pooling)) {
            return mask;
        }
        count = count < 0 && mask.visible().rank() == 2 ? mask.visible().size(1) : count;
        context.requireVisible(mask, count);
        if (pooling.seesMotion()) {
            pooling.requireTubes(mask.visible(), grid);
        }
        return new TokenMask(Student.on(device, mask.visible()), mask.masked());
    }
}
