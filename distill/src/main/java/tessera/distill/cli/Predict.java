package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tessera.distill.video.Video;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;

/** {@code tessera predict}: what a video shows. */
@Command(
        name = "predict",
        mixinStandardHelpOptions = true,
        description = {
            "Recognise a video with a head that learn wrote: probabilities of each clip, and their mean.",
            "Each clip is seen through several masks whose probabilities are averaged."
        })
final class Predict implements Callable<Integer> {
    private static final int SHOWN = 3;

    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonOption json;

    @Mixin
    private StudentOptions student;

    @Mixin
    private MaskOptions masks;

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
    public Integer call() {
        Predictor.Options options =
                new Predictor.Options(student.device(), student.precision(), masks.masking(), masks.seed());
        cutting.check();
        try (Predictor predictor = Predictor.open(options, student.file(), head)) {
            masks.check(predictor.student());
            List<VideoClip> clips =
                    Video.cut(video, cutting.cut(predictor.student().config().input()));
            print(predictor.predictAll(clips));
        }
        return ExitCode.OK;
    }

    private void print(List<Prediction> clips) {
        PrintWriter out = spec.commandLine().getOut();
        Prediction mean = Prediction.mean(clips);
        if (json.wanted()) {
            Map<String, Object> result = new LinkedHashMap<>();
            result.put("video", video);
            result.put("label", mean.label());
            result.put("probabilities", named(mean));
            result.put("clips", clips.stream().map(Predict::named).toList());
            JsonOption.print(out, result);
            return;
        }
        out.printf("%s: %s%n", video, top(mean));
        for (int i = 0; i < clips.size(); i++) {
            out.printf("  clip %d: %s%n", i + 1, top(clips.get(i)));
        }
    }

    private static Map<String, Double> named(Prediction prediction) {
        Map<String, Double> named = new LinkedHashMap<>();
        prediction.answers().getFirst().scores().forEach(score -> named.put(score.label(), score.probability()));
        return named;
    }

    private static String top(Prediction prediction) {
        return String.join(
                ", ",
                prediction.top(SHOWN).stream()
                        .map(score ->
                                String.format(Locale.ROOT, "%s %.1f %%", score.label(), 100 * score.probability()))
                        .toList());
    }
}
