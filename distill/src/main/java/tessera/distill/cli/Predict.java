package tessera.distill.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
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
            "Recognise a video with a head that learn wrote, or with those of the student's own file, as train and distill"
                    + " write them: probabilities of each clip, and their mean.",
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
            paramLabel = "HEAD",
            description = "The head that learn wrote with this student. Default: those in the student's file")
    private @Nullable Path head;

    @Option(names = "--video", required = true, paramLabel = "FILE", description = "Any video FFmpeg can decode.")
    private Path video = Path.of("");

    @Override
    void run() {
        cutting.check();
        Path[] heads = head == null ? new Path[0] : new Path[] {head};
        try (Predictor predictor = student.open(heads)) {
            if (predictor.student().heads().isEmpty()) {
                throw new IllegalArgumentException(
                        student.file() + " has no head of its own; pass --head HEAD, one that learn wrote with it");
            }
            Clips.requireRgb(predictor.student().config().input(), student.file());
            List<VideoClip> clips =
                    Video.cut(video, cutting.cut(predictor.student().config().input()));
            print(predictor.predictAll(clips));
        }
    }

    private void print(List<Prediction> clips) {
        Prediction mean = Prediction.mean(clips);
        Map<String, Object> answer = new LinkedHashMap<>();
        answer.put("video", video);
        answer.put("label", mean.label());
        answer.put("probabilities", named(mean.answers().getFirst()));
        answer.put(
                "clips",
                clips.stream().map(clip -> named(clip.answers().getFirst())).toList());
        if (mean.answers().size() > 1) {
            Map<String, Object> heads = new LinkedHashMap<>();
            mean.answers().forEach(each -> heads.put(each.head(), named(each)));
            answer.put("heads", heads);
        }
        print(answer, out -> {
            out.printf("%s: %s%n", video, top(mean));
            for (int i = 0; i < clips.size(); i++) {
                out.printf("  clip %d: %s%n", i + 1, top(clips.get(i)));
            }
        });
    }

    private static Map<String, Double> named(Prediction.Answer answer) {
        Map<String, Double> named = new LinkedHashMap<>();
        answer.scores().forEach(score -> named.put(score.label(), score.probability()));
        return named;
    }

    /** The likeliest labels, of several heads one head after the other. */
    private static String top(Prediction prediction) {
        boolean several = prediction.answers().size() > 1;
        return prediction.answers().stream()
                .map(answer -> (several ? answer.head() + " " : "") + top(answer))
                .collect(Collectors.joining("; "));
    }

    private static String top(Prediction.Answer answer) {
        return answer.top(SHOWN).stream()
                .map(score -> String.format(Locale.ROOT, "%s %.1f %%", score.label(), 100 * score.probability()))
                .collect(Collectors.joining(", "));
    }
}
