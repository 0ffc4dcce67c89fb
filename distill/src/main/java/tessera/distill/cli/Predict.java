package tessera.distill.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.video.Video;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;

/** {@code tessera predict}: what a video shows. */
@Command(
        name = "predict",
        description = {
            "Recognise a video with a head that learn wrote: probabilities of each clip, and their mean.",
            "Each clip is seen through several masks whose probabilities are averaged."
        })
final class Predict extends ToolCommand {
    private static final int SHOWN = 3;

    @Mixin
    private StudentOptions student;

    @Mixin
    private CutOptions cutting;

    @Option(
            names = "--head",
            required = true,
            paramLabel = "HEAD",
            description = "The head that learn wrote with this student.")
    private Path head = Path.of("");

    @Option(names = "--video", required = true, paramLabel = "FILE", description = "Any video FFmpeg can decode.")
    private Path video = Path.of("");

    @Override
    void run() {
        cutting.check();
        try (Predictor predictor = student.open(head)) {
            List<VideoClip> clips =
                    Video.cut(video, cutting.cut(predictor.student().config().input()));
            print(predictor.predictAll(clips));
        }
    }

    private void print(List<Prediction> clips) {
        Prediction mean = Prediction.mean(clips);
        List<Map<String, Double>> each = clips.stream().map(Predict::named).toList();
        print(new Answer(video, mean.label(), named(mean), each), out -> {
            out.printf("%s: %s%n", video, top(mean));
            for (int i = 0; i < clips.size(); i++) {
                out.printf("  clip %d: %s%n", i + 1, top(clips.get(i)));
            }
        });
    }

    private record Answer(
            Path video, String label, Map<String, Double> probabilities, List<Map<String, Double>> clips) {}

    private static Map<String, Double> named(Prediction prediction) {
        Map<String, Double> named = new LinkedHashMap<>();
        prediction.answers().getFirst().scores().forEach(score -> named.put(score.label(), score.probability()));
        return named;
    }

    private static String top(Prediction prediction) {
        return prediction.top(SHOWN).stream()
                .map(score -> String.format(Locale.ROOT, "%s %.1f %%", score.label(), 100 * score.probability()))
                .collect(Collectors.joining(", "));
    }
}
