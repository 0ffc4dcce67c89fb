package tessera.nn.stlt;

import java.util.List;
import java.util.Map;
import tessera.nn.Architecture;
import tessera.nn.Params;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;

/** STLT's entry in the registry; {@link StltConfig} says what the metadata mean. */
public final class StltArchitecture implements Architecture {
    static final String NAME = "stlt";

    /** For the service loader. */
    public StltArchitecture() {}

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public List<String> weightPrefixes() {
        return List.of(StltModel.ROOT + ".");
    }

    @Override
    public StltConfig config(Map<String, String> metadata) {
        return StltConfig.fromMetadata(metadata);
    }

    @Override
    public Map<String, Tensor> translate(Map<String, Tensor> weights) {
        return StltNames.translate(weights);
    }

    @Override
    public VideoModel build(Params params, Map<String, String> metadata) {
        return new StltModel(params, StltConfig.fromMetadata(metadata));
    }
}
