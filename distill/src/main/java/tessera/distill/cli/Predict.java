package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;
import tessera.tensor.io.Printable;

/** {@code tessera predict}: what a video shows. */
@Command(
        name = "predict",
        description = {
            "Recognise a video with heads that learn wrote, or with those in the student's file, as train and distill write"
                    + " them: probabilities of each clip, and their mean.",
            "Each clip is seen through several masks whose probabilities are averaged; with --adaptive only through as many as it"
                    + " takes to be sure."
        })
final class Predict extends ToolCommand {
    private static final int SHOWN = 3;

    @Mixin
    private StudentOptions student;

    @Mixin
    private CutOptions cutting;

    @Option(
            names = "--head",
            split = ",",
            paramLabel = "HEAD",
            description =
                    "Heads that learn wrote with this student, of different names (learn --name); the first is the main"
                            + " one. Default: those in the student's file")
    private List<Path> heads = List.of();

    @Option(names = "--video", required = true, paramLabel = "FILE", description = "Any video FFmpeg can decode.")
    private Path video = Path.of("");

    @Mixin
    private AdaptiveOptions adaptive;

    @Override
    void run() {
        cutting.check();
        adaptive.check(student.masks().masking());
        try (Predictor predictor = student.open(adaptive.stopping(), heads.toArray(Path[]::new))) {
            adaptive.check(predictor.masking());
            if (predictor.student().heads().isEmpty()) {
                throw new IllegalArgumentException(student.file()
                        + " has no head of its own; pass --head with one that `tessera learn` made with this student");
            }
            Clips.requireRgb(predictor.student().config().input(), student.file());
            ClipCut cut = cutting.cut(predictor.student().config().input());
            List<Prediction> predictions = new ArrayList<>();
            try (Stream<VideoClip> clips = Video.clips(
                    video,
                    cut,
                    note -> spec().commandLine()
                            .getErr()
                            .println("tessera: " + Printable.line(note) + " (--clip-seconds makes clips shorter)"))) {
                predictor.predictAll(clips, predictions::add);
            }
            print(predictions);
        }
    }

    private void print(List<Prediction> clips) {
        Prediction mean = Prediction.mean(clips);
        Map<String, HeadAnswer> each = new LinkedHashMap<>();
        for (Prediction.Answer answer : mean.answers()) {
            each.put(
                    answer.head(),
                    new HeadAnswer(
                            answer.label(),
                            named(answer),
                            clips.stream()
                                    .map(clip -> named(clip.answer(answer.head())))
                                    .toList()));
        }
        HeadAnswer main = each.values().iterator().next();
        print(new Answer(video, main.label(), main.probabilities(), main.clips(), mean.passes(), each), out -> {
            out.printf(
                    Locale.ROOT,
                    "%s: %s%s%n",
                    video,
                    top(mean),
                    adaptive.wanted() ? ", %.2f masks a clip".formatted(mean.passes()) : "");
            for (int i = 0; i < clips.size(); i++) {
                Prediction clip = clips.get(i);
                out.printf(
                        "  clip %d: %s%s%n",
                        i + 1,
                        top(clip),
                        !adaptive.wanted()
                                ? ""
                                : ", %.0f mask%s".formatted(clip.passes(), clip.passes() == 1 ? "" : "s"));
            }
        });
    }

    /**
     * What all heads say; what the main one says stands outside {@code heads} too.
     *
     * @param meanPasses masks that a clip was looked at through
     */
    private record Answer(
            Path video,
            String label,
            Map<String, Double> probabilities,
            List<Map<String, Double>> clips,
            double meanPasses,
            Map<String, HeadAnswer> heads) {}

    private record HeadAnswer(String label, Map<String, Double> probabilities, List<Map<String, Double>> clips) {}

    private static Map<String, Double> named(Prediction.Answer answer) {
        Map<String, Double> named = new LinkedHashMap<>();
        answer.scores().forEach(score -> named.put(score.label(), score.probability()));
        return named;
    }

    /** The likeliest labels: of one head alone, or behind the name of each. */
    private static String top(Prediction prediction) {
        boolean several = prediction.answers().size() > 1;
        return prediction.answers().stream()
                .map(answer -> (several ? Printable.line(answer.head()) + ": " : "") + top(answer))
                .collect(Collectors.joining("; "));
    }

    private static String top(Prediction.Answer answer) {
        return answer.top(SHOWN).stream()
                .map(score -> String.format(
                        Locale.ROOT, "%s %.1f %%", Printable.line(score.label()), 100 * score.probability()))
                .collect(Collectors.joining(", "));
    }
}
