package tessera.distill.train;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.nn.Linear;
import tessera.nn.TokenGrid;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * A VideoMAE encoder as student or teacher: a feature of each clip, and the logits of its heads. Closing it frees the encoder's
 * packed weights.
 *
 * @param model built without classes
 * @param heads on the feature, by name; may be empty
 */
public record VideoMaeNetwork(VideoMaeClassifier model, Map<String, Linear> heads) implements Network {
    @Override
    public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
        Tensor feature = model.features(clips, mask == null ? null : mask.visible(), noise.dropPath()); // [B, D]
        return new Outputs(null, feature, name -> {
            Linear head = heads.get(name);
            return head == null ? null : head.forward(feature);
        });
    }

    @Override
    public TokenGrid grid() {
        return model.config().grid();
    }

    @Override
    public void close() {
        model.close();
    }
}
