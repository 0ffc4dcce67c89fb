package tessera.nn.videomae;

import java.util.List;
import java.util.Map;
import tessera.nn.Architecture;
import tessera.nn.Params;
import tessera.nn.VideoModel;

/** VideoMAE's entry in the registry; {@link VideoMaeConfig} says what the metadata mean. */
public final class VideoMaeArchitecture implements Architecture {
    static final String NAME = Architecture.FIRST;

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
    public VideoModel build(Params params, Map<String, String> metadata) {
        return new VideoMaeClassifier(params, VideoMaeConfig.fromMetadata(metadata), 0);
    }
}
