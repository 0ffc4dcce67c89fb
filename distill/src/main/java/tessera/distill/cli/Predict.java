package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.video.Video;
import tessera.distill.video.VideoClip;
import tessera.nn.Head;
import tessera.nn.Student;

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
    private ComputeOptions compute;

    @Mixin
    private MaskOptions masks;

    @Mixin
    private CutOptions cutting;

    @Option(names = "--student", required = true, paramLabel = "FILE", description = "The student's safetensors file.")
    private Path student = Path.of("");

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
        masks.check();
        cutting.check();
        try (Student model = Student.load(student, compute.device(), compute.precision());
                Head learned = Head.load(head)) {
            Clips.requireRgb(model.config(), student);
            masks.check(model);
            LinearClassifier classifier = classifier(learned, model.config().embedDim());
            List<VideoClip> clips = Video.cut(video, cutting.cut(model.config()));
            List<double[]> probabilities = new ArrayList<>();
            for (double[][] views : VideoFeatures.of(model, clips, masks, 0)) {
                probabilities.add(classifier.ensemble(views));
            }
            print(learned.labels(), probabilities);
        }
        return ExitCode.OK;
    }

    private LinearClassifier classifier(Head learned, int width) {
        int classes = learned.labels().size();
        if (learned.weight().size(1) != width) {
            throw new IllegalArgumentException(
                    head + " was learned on features of " + learned.weight().size(1) + " values but " + student
                            + " gives " + width + "; pass the student it was learned with");
        }
        double[] weight = learned.weight().toDoubles();
        double[][] coefficients = new double[classes][width];
        for (int c = 0; c < classes; c++) {
            System.arraycopy(weight, c * width, coefficients[c], 0, width);
        }
        return new LinearClassifier(coefficients, learned.bias().toDoubles());
    }

    private void print(List<String> labels, List<double[]> clips) {
        PrintWriter out = spec.commandLine().getOut();
        double[] mean = Clips.mean(clips.toArray(double[][]::new));
        if (json.wanted()) {
            Map<String, Object> result = new LinkedHashMap<>();
            result.put("video", video);
            result.put("label", labels.get(Clips.largest(mean)));
            result.put("probabilities", named(labels, mean));
            result.put("clips", clips.stream().map(clip -> named(labels, clip)).toList());
            JsonOption.print(out, result);
            return;
        }
        out.printf("%s: %s%n", video, top(labels, mean));
        for (int i = 0; i < clips.size(); i++) {
            out.printf("  clip %d: %s%n", i + 1, top(labels, clips.get(i)));
        }
    }

    private static Map<String, Double> named(List<String> labels, double[] probabilities) {
        Map<String, Double> named = new LinkedHashMap<>();
        for (int c = 0; c < labels.size(); c++) {
            named.put(labels.get(c), probabilities[c]);
        }
        return named;
    }

    private static String top(List<String> labels, double[] probabilities) {
        return String.join(
                ", ",
                IntStream.range(0, probabilities.length)
                        .boxed()
                        .sorted(Comparator.comparingDouble(c -> -probabilities[c]))
                        .limit(SHOWN)
                        .map(c -> String.format(Locale.ROOT, "%s %.1f %%", labels.get(c), 100 * probabilities[c]))
                        .toList());
    }
}
