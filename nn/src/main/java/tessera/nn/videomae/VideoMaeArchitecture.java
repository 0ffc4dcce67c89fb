package tessera.nn.videomae;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
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
    public VideoModel build(Params params, Map<String, String> metadata) {
        return new VideoMaeClassifier(params, VideoMaeConfig.fromMetadata(metadata), 0);
    }
}
