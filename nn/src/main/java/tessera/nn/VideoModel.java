package tessera.nn;

import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * A network that gives a feature of clips: what every architecture offers to inference and distillation. Its parameters belong to
 * the {@link Params} it was built from; {@link #close} frees what it made beside them.
 *
 * <p>Once {@link #pack packed} it may be shared between threads.
 */
public interface VideoModel extends AutoCloseable {
    /** What it takes and gives. */
    ModelConfig config();

    /**
     * Features of clips, in training where gradients are recorded.
     *
     * @param clips u8 or float {@code [B, T, H, W, C]}, in the units of the pixels
     * @param visible i32 {@code [B, Nvis]}, the tokens that are looked at, or null for all of them
     * @param drop leaves branches out while gradients are recorded; a model with a dropout of its own takes the numbers of it too
     * @return {@code [B, D]}
     */
    Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop);

    /** As {@link #features(Tensor, Tensor, DropPath)}, with every branch. */
    default Tensor features(Tensor clips, @Nullable Tensor visible) {
        return features(clips, visible, DropPath.NONE);
    }

    /**
     * Features of the same clips through several masks, which ride in one batch where the architecture can.
     *
     * @param masks at least one, all with equally many visible tokens
     * @return {@code [P * B, D]}, mask by mask
     */
    default Tensor maskedFeatures(Tensor clips, List<TokenMask> masks) {
        Tensor[] features =
                masks.stream().map(mask -> features(clips, mask.visible())).toArray(Tensor[]::new);
        return features.length == 1 ? features[0] : Tensor.concat(0, features);
    }

    /**
     * Tokens of clips through several masks, which ride in one batch. It computes no block beyond the last that is asked for.
     *
     * @param visible i32 {@code [B, Nvis]} for each mask, all with equally many tokens; none to see every token
     * @param blocks after how many blocks, or {@link Pooling#LAST} for the last, normed where the model norms its tokens
     * @return for each of them {@code [max(1, masks) * B, Nvis, D]}, mask by mask
     * @throws IllegalArgumentException if {@link ModelConfig#tokens} has no such tokens
     */
    default Map<Integer, Tensor> tokens(Tensor clips, List<Tensor> visible, Set<Integer> blocks) {
        throw new IllegalArgumentException(
                "models of this architecture give no tokens; take their features, which is the pooling mean");
    }

    /** The feature that {@link #features(Tensor, Tensor)} makes of the last tokens: {@code [B, Nvis, D]} to {@code [B, D]}. */
    default Tensor feature(Tensor tokens) {
        return tokens.mean(1);
    }

    /**
     * The same model computing fewer tokens, in inference alone: it refuses to record gradients. It shares the weights, and closing it
     * frees nothing.
     *
     * @throws IllegalArgumentException if models of this architecture compute every token
     */
    default VideoModel reduced(TokenReduction reduction) {
        throw new IllegalArgumentException(
                reduction + " takes tokens away but models of this architecture compute every one; leave it away");
    }

    /** Lays the weights out for inference; later changes of the parameters do not show. */
    void pack();

    @Override
    void close();
}
