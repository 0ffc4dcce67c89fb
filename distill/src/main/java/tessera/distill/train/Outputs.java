package tessera.distill.train;

import java.util.HashMap;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tessera.tensor.Tensor;

/**
 * What a network makes of clips, shared by all objectives of a step. A network gives what it has; asking for more is an {@link
 * IllegalArgumentException}. The tensors belong to the scope of the step.
 */
public final class Outputs {
    private final @Nullable Tensor tokens;
    private final @Nullable Tensor feature;
    private final Function<String, @Nullable Tensor> heads;
    private final Map<String, Tensor> logits = new HashMap<>();

    /**
     * Collects outputs.
     *
     * @param tokens {@code [B, N, D]}, a feature of each visible token
     * @param feature {@code [B, D]}, one for each clip
     * @param heads gives the logits {@code [B, classes]} of a head, or null if there is no such head; called once a head
     */
    public Outputs(@Nullable Tensor tokens, @Nullable Tensor feature, Function<String, @Nullable Tensor> heads) {
        this.tokens = tokens;
        this.feature = feature;
        this.heads = heads;
    }

    /** Features of the visible tokens, {@code [B, N, D]}. */
    public Tensor tokens() {
        return require(tokens, "features of tokens");
    }

    /** Features of the clips, {@code [B, D]}. */
    public Tensor feature() {
        return require(feature, "features of clips");
    }

    /** Class scores of a head, {@code [B, classes]}. */
    public Tensor logits(String head) {
        return logits.computeIfAbsent(head, name -> require(heads.apply(name), "head '" + name + "'"));
    }

    private static Tensor require(@Nullable Tensor tensor, String what) {
        if (tensor == null) {
            throw new IllegalArgumentException(
                    "the network has no " + what + "; use an objective that fits it, or another network");
        }
        return tensor;
    }
}
