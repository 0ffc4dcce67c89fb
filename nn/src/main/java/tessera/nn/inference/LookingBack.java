package tessera.nn.inference;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Pooler;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The passes of an ensemble whose masks follow what the passes before made of the clips ({@link
 * tessera.nn.MaskStrategy#looksBack}): one after the other. Not thread-safe.
 */
final class LookingBack {
    private final Pooler pooler;
    private final Tensor clips;
    private final DrawnMasks masks;

    private int done;
    private float @Nullable [][] saliency;

    /**
     * Before the first pass.
     *
     * @param clips on the model's device
     * @param masks of these clips
     */
    LookingBack(Pooler pooler, Tensor clips, DrawnMasks masks) {
        this.pooler = pooler;
        this.clips = clips;
        this.masks = masks;
    }

    /** The features of all passes, {@code [P * B, D]}, pass by pass. */
    Tensor features() {
        Tensor[] passes = new Tensor[masks.ensemble()];
        for (int p = 0; p < passes.length; p++) {
            passes[p] = next();
        }
        return passes.length == 1 ? passes[0] : Tensor.concat(0, passes);
    }

    /** The features of the next pass, {@code [B, D]}. */
    Tensor next() {
        TokenMask mask = masks.mask(done++, saliency);
        Pooler.Seen seen = pooler.see(clips, mask.visible());
        if (done < masks.ensemble()) {
            note(mask, seen.tokens());
        }
        return seen.features();
    }

    /** Notes the norms of the tokens of a pass, {@code [B, Nvis, D]}. */
    private void note(TokenMask mask, Tensor tokens) {
        float[] norms = tokens.to(DType.F32).square().sum(2).sqrt().toFloats();
        int[] visible = mask.visible().toInts();
        int batch = Math.toIntExact(clips.size(0));
        int count = visible.length / batch;
        float[][] known = saliency;
        float[][] noted = new float[batch][];
        for (int b = 0; b < batch; b++) {
            float[] row;
            if (known == null) {
                row = new float[masks.grid().tokens()];
                Arrays.fill(row, Float.NaN);
            } else {
                row = known[b].clone();
            }
            for (int i = 0; i < count; i++) {
                row[visible[b * count + i]] = norms[b * count + i];
            }
            noted[b] = row;
        }
        saliency = noted;
    }
}
