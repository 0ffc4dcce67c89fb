package tessera.nn.videomae;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import tessera.nn.Architecture;
import tessera.nn.Params;
import tessera.nn.VideoModel;
import tessera.tensor.Tensor;

/** VideoMAE's entry in the registry; {@link VideoMaeConfig} says what the metadata mean. */
public final class VideoMaeArchitecture implements Architecture {
    static final String NAME = Architecture.FIRST;

    /** Epsilon of every norm after MM-CDFSL's first stage, whose own is another. */
    private static final double EPS_AFTER_PRETRAINING = 1e-5;

    /** For the service loader. */
    public VideoMaeArchitecture() {}

    @Override
    public String name() {
        return NAME;
    }

    @Override
    public List<String> weightPrefixes() {
        return List.of("encoder.", "fc_norm.");
    }

    @Override
    public Optional<String> refusal(Path file, Set<String> names) {
        if (names.stream().noneMatch(name -> name.startsWith("decoder."))) {
            return Optional.empty();
        }
        return Optional.of("this is a pretraining model with a decoder, not a student; distil one from it"
                + " with `tessera distill --teachers rgb=" + file
                + "`, or make a student of its encoder alone with"
                + " `tessera import --checkpoint " + file + " --out STUDENT`");
    }

    @Override
    public VideoMaeConfig config(Map<String, String> metadata) {
        return VideoMaeConfig.fromMetadata(metadata);
    }

    @Override
    public Map<String, Tensor> translate(Map<String, Tensor> weights) {
        return VideoMaeNames.translate(weights);
    }

    /** A pretraining model opens as MM-CDFSL opens it: with other epsilons and a fresh feature norm. */
    @Override
    public Opening opening(Map<String, String> metadata, Set<String> names) {
        boolean pretraining = names.stream().anyMatch(name -> name.startsWith("decoder."));
        boolean normless = names.stream().noneMatch(VideoMaeArchitecture::isFeatureNorm);
        Map<String, String> entries = pretraining
                ? config(metadata)
                        .withEps(EPS_AFTER_PRETRAINING, EPS_AFTER_PRETRAINING)
                        .toMetadata()
                : metadata;
        return new Opening(entries, name -> (pretraining || normless) && isFeatureNorm(name));
    }

    private static boolean isFeatureNorm(String name) {
        return name.startsWith("fc_norm.");
    }

    @Override
    public Optional<String> patchEmbedding() {
        return Optional.of("encoder.patch_embed.proj");
    }

    @Override
    public VideoModel build(Params params, Map<String, String> metadata) {
        return new VideoMaeClassifier(params, config(metadata), 0);
    }
}
