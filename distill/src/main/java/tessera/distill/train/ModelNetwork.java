package tessera.distill.train;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.nn.Linear;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * A model of any architecture as student or teacher: a feature of each clip, and the logits of its heads. Closing it frees the
 * model's packed weights.
 *
 * @param model gives the feature; masks are refused where it has no {@link tessera.nn.ModelConfig#grid grid}
 * @param heads on the feature, by name; may be empty
 */
public record ModelNetwork(VideoModel model, Map<String, Linear> heads) implements Network {
    @Override
    public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
        if (mask != null) {
            grid();
        }
        Tensor feature = model.features(clips, mask == null ? null : mask.visible(), noise.dropPath()); // [B, D]
        return new Outputs(null, feature, name -> {
            Linear head = heads.get(name);
            return head == null ? null : head.forward(feature);
        });
    }

    @Override
    public TokenGrid grid() {
        TokenGrid grid = model.config().grid();
        if (grid == null) {
            throw new IllegalArgumentException(
                    "the stage has masks but models of this architecture see every token; give the stage no masks");
        }
        return grid;
    }

    @Override
    public void close() {
        model.close();
    }
}
