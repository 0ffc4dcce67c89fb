package tessera.nn.swin;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import tessera.nn.Architecture;
import tessera.nn.Params;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;

/** Swin3D's entry in the registry; {@link SwinConfig} says what the metadata mean. */
public final class SwinArchitecture implements Architecture {
    static final String NAME = "swin3d";

    /** For the service loader. */
    public SwinArchitecture() {}

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public List<String> weightPrefixes() {
        return List.of("patch_embed.", "features.", "norm.");
    }

    @Override
    public SwinConfig config(Map<String, String> metadata) {
        return SwinConfig.fromMetadata(metadata);
    }

    @Override
    public Map<String, Tensor> translate(Map<String, Tensor> weights) {
        return SwinNames.translate(weights);
    }

    @Override
    public Optional<String> patchEmbedding() {
        return Optional.of("patch_embed.proj");
    }

    @Override
    public VideoModel build(Params params, Map<String, String> metadata) {
        return new SwinModel(params, SwinConfig.fromMetadata(metadata), 0);
    }
}
