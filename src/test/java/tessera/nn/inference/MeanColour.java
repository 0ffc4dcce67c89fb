package tessera.nn.inference;

import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Architecture;
import tessera.nn.ClipShape;
import tessera.nn.DropPath;
import tessera.nn.Init;
import tessera.nn.ModelConfig;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;

/**
 * An application's own architecture, which has no tokens: the feature is a linear map of the clip's mean colour. Its weights'
 * names begin as those that a VideoMAE student must not have.
 */
public final class MeanColour implements Architecture {
    static final ModelConfig CONFIG = new ModelConfig() {
        @Override
        public ClipShape input() {
            return new ClipShape(2, 4, 4, 3);
        }

        @Override
        public @Nullable TokenGrid grid() {
            return null;
        }

        @Override
        public int featureWidth() {
            return 3;
        }

        @Override
        public Map<String, String> toMetadata() {
            return Map.of(ENTRY, "mean-colour");
        }
    };

    @Override
    public String name() {
        return "mean-colour";
    }

    @Override
    public List<String> weightPrefixes() {
        return List.of("decoder.");
    }

    @Override
    public VideoModel build(Params params, Map<String, String> metadata) {
        Tensor weight = params.at("decoder").get("weight", Init.fanIn(3), 3, 3);
        return new VideoModel() {
            @Override
            public ModelConfig config() {
                return CONFIG;
            }

            @Override
            public Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop) {
                return clips.to(DType.F32).reshape(clips.size(0), -1, 3).mean(1).linear(weight, null);
            }

            @Override
            public void pack() {}

            @Override
            public void close() {}
        };
    }
}
