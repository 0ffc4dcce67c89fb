package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.fewshot.AttentiveClassifier;
import tessera.distill.fewshot.AttentiveFit;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.kernels.Device;
import tessera.nn.Pooling;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** What learns from examples, by name, and self-training, as users ask for them. */
class HeadCommandsTest {
    @TempDir
    private static Path folder;

    private static Path data;
    private static Path model;
    private static Path student;

    @BeforeAll
    static void train() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 6, "dark", "grey", "bright");
        model = folder.resolve("rgb").resolve("model.safetensors");
        Shell.succeed(OwnClips.pretraining("rgb", data, folder.resolve("rgb"), 3));
        student = folder.resolve("student.safetensors");
        Distillation.saveUndistilled(model, student);
    }

    private static Object[] fewshot(Object... more) {
        List<Object> words = new ArrayList<>(List.of("fewshot", "--student", student, "--clips", data));
        words.addAll(List.of("--ways=3", "--shots=2", "--queries=4", "--mask-ratio=0.5", "--threads=1"));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static Map<String, @Nullable Object> answer(Object... more) {
        List<Object> words = new ArrayList<>(List.of(more));
        words.addAll(List.of("--json", "--quiet"));
        return Json.object(Shell.succeed(fewshot(words.toArray())));
    }

    @Test
    void headsAreComparedOnTheSameEpisodes() {
        Object errors = null;
        for (String head : List.of("logistic", "prototype", "cosine")) {
            Map<String, @Nullable Object> answer = answer("--episodes=20", "--head=" + head);
            assertEquals(head, answer.get("head"));
            assertEquals(head.equals("logistic") ? "auto" : "mean", answer.get("pooling"));
            assertTrue(((Number) number(answer, "accuracy")).doubleValue() > .6, head + ": brightness is seen");
            Object error = number(answer, "calibrationError");
            assertFalse(error.equals(errors), head + " is sure of other things");
            errors = error;
        }
        assertEquals(
                "motion:1@1",
                answer("--episodes=2", "--head=cosine", "--pooling=motion:1@1").get("pooling"));
        String text = Shell.succeed(fewshot("--episodes=2", "--head=prototype", "--quiet"));
        assertTrue(text.contains("over 2 episodes (head prototype, mask ratio 0.5, ensemble 2, pooling mean)"), text);
    }

    private static Object number(Map<String, @Nullable Object> answer, String name) {
        Object number = answer.get(name);
        return number == null ? Double.NaN : number;
    }

    @Test
    void aStudentIsTunedToEveryEpisode() {
        Object[] tuned = {"--episodes=2", "--head=finetune", "--tune-steps=3", "--tune-lr=0.01", "--tune-augment"};
        Map<String, @Nullable Object> answer = answer(tuned);
        assertEquals("finetune", answer.get("head"));
        assertEquals(answer, answer(tuned), "the same from the same seed");
    }

    @Test
    void whatDoesNotGoTogetherIsRefused() {
        String usage = Shell.run(fewshot("--head=best")).err();
        assertTrue(usage.contains("--head is 'best'; pass one of logistic, prototype, cosine, finetune"), usage);
        Shell.refuse(
                List.of("--fit says how a logistic regression is fitted but --head is cosine"),
                fewshot("--head=cosine", "--fit=plain"));
        Shell.refuse(
                List.of("which --head prototype does not do; pass another pooling such as mean"),
                fewshot("--head=prototype", "--pooling=auto"));
        Shell.refuse(
                List.of("--pooling is grid:2 but --head finetune trains the student's own feature, mean"),
                fewshot("--head=finetune", "--pooling=grid:2"));
        Shell.refuse(
                List.of("leave --support-views, --feature-norm and --eps away"),
                fewshot("--head=finetune", "--support-views=1"));
        Shell.refuse(
                List.of("both --egosim and the clips " + data + " are given; pass one of them"), fewshot("--egosim"));
        Shell.refuse(List.of("for one that is trained; leave one"), fewshot("--head=finetune", "--merge=1"));
        Shell.refuse(
                List.of("which --head finetune does not do; pass a threshold"),
                fewshot("--head=finetune", "--adaptive"));
        Shell.refuse(List.of("--tune-steps is 0; pass 1"), fewshot("--head=finetune", "--tune-steps=0"));
        Shell.refuse(List.of("--tune-lr is -1.0; pass a positive"), fewshot("--head=finetune", "--tune-lr=-1"));
        Shell.refuse(List.of("--tune-steps is for --head finetune but --head is logistic"), fewshot("--tune-steps=5"));
        Shell.refuse(
                List.of("--head is cosine but --protocol paper has logistic"),
                fewshot("--head=cosine", "--protocol=paper"));
    }

    @Test
    void aPrototypeIsLearnedAndACosineIsNot() throws Exception {
        Path videos = Files.createDirectories(folder.resolve("videos"));
        Path video =
                Path.of(HeadCommandsTest.class.getResource("/video/ramp.mp4").toURI());
        Files.copy(video, videos.resolve("one.mp4"));
        Files.copy(video, videos.resolve("two.mp4"));
        Path head = folder.resolve("head.safetensors");
        Object[] learn = {
            "learn", "--student", student, "--clips", videos, "--quiet", "--json", "--out", head, "--head=prototype"
        };
        Map<String, @Nullable Object> learned = Json.object(Shell.succeed(learn));
        assertEquals("mean", learned.get("pooling"));
        assertFalse(learned.containsKey("c"), learned.toString());
        assertArrayEquals(new Object[] {"one", "two"}, Head.load(head).labels().toArray());
        String told = Shell.succeed("predict", "--student", student, "--head", head, "--video", video);
        assertTrue(told.startsWith(video + ": "), told);
        for (String other : List.of("cosine", "finetune")) {
            learn[learn.length - 1] = "--head=" + other;
            Shell.refuse(List.of("a head's file holds a linear map of features; pass logistic or prototype"), learn);
        }
    }

    /** What learn and predict do by the command line is what is judged by fewshot: a fit on the tokens, and its mean over masks and clips. */
    @Test
    void attentionIsLearnedAndPredicts() throws Exception {
        Path videos = Files.createDirectories(folder.resolve("attended"));
        for (String name : List.of("ramp", "turned")) {
            Files.copy(
                    Path.of(requireNonNull(HeadCommandsTest.class.getResource("/video/" + name + ".mp4"))
                            .toURI()),
                    videos.resolve(name + ".mp4"));
        }
        Path file = folder.resolve("attentive.safetensors");
        Object[] learn = {
            "learn",
            "--student",
            student,
            "--clips",
            videos,
            "--quiet",
            "--json",
            "--out",
            file,
            "--mask-ratio=0.5",
            "--ensemble=2",
            "--seed=3",
            "--clip-seconds=0.2",
            "--pooling=attentive@0"
        };
        Map<String, @Nullable Object> learned = Json.object(Shell.succeed(learn));
        assertEquals("attentive@0", learned.get("pooling"));
        Head head = Head.load(file);
        float[] query = requireNonNull(head.pooling().query());
        assertEquals(!Arrays.equals(query, new float[16]), learned.get("attends"));
        String text = Shell.succeed(
                Stream.of(learn).filter(word -> !word.equals("--json")).toArray());
        assertTrue(text.contains("  pooling attentive@0"), text);
        try (Student opened = Student.load(student, Device.cpu());
                Student tokens = opened.pooled(Pooling.of("attentive@0"))) {
            List<double[][]> seen = new ArrayList<>();
            List<Integer> labels = new ArrayList<>();
            for (int label = 0; label < 2; label++) {
                Path video = videos.resolve(head.labels().get(label) + ".mp4");
                double[][][] views = tokens(tokens, video, 3 + labels.size());
                for (int clip = 0; clip < views[0].length; clip++) {
                    seen.add(new double[][] {views[0][clip], views[1][clip]});
                    labels.add(label);
                }
            }
            double[][][] passes = new double[2][][];
            Arrays.setAll(passes, p -> seen.stream().map(view -> view[p]).toArray(double[][]::new));
            int[] labelOf = labels.stream().mapToInt(label -> label).toArray();
            AttentiveClassifier judged =
                    new AttentiveFit(16).fit(passes, labelOf, 2, labelOf).classifier();
            Path video = videos.resolve("turned.mp4");
            double[][][] asked = tokens(tokens, video, 3);
            Close.relative(predicted(file, video), said(judged, asked), 1e-4, "as learned");
            Random random = new Random(6);
            double[] other = random.doubles(16, -30, 30).toArray();
            AttentiveClassifier attending = new AttentiveClassifier(
                    other,
                    new LinearClassifier(
                            new double[][] {random.doubles(16, -2, 2).toArray(), new double[16]}, new double[2]));
            float[] rounded = new float[16];
            for (int j = 0; j < rounded.length; j++) {
                rounded[j] = (float) other[j];
            }
            Head.of(attending.linear().coefficients(), attending.linear().intercepts(), head.labels())
                    .on(head.pooling().withQuery(rounded))
                    .fittedOn(opened.checksum())
                    .save(file);
            Close.relative(predicted(file, video), said(attending, asked), 1e-4, "by a query that is far from 0");
        }
        for (String format : List.of("onnx", "hf")) {
            Shell.refuse(
                    List.of(
                            "head 'action' looks at features by attentive@0, and an export has the student's own alone"),
                    "export",
                    "--student",
                    student,
                    "--head",
                    file,
                    "--format",
                    format,
                    "--out",
                    folder.resolve("exported." + format));
        }
    }

    /** Tokens of a video's clips, {@code [2][clips][n * 16]}. */
    private static double[][][] tokens(Student tokens, Path video, long seed) {
        try (Predictor predictor = Predictor.of(tokens, Masking.of(.5, 2), seed);
                Stream<VideoClip> clips = Video.clips(video, ClipCut.every(.2, 4, 16, 16));
                Scope scope = Scope.open()) {
            Tensor features = predictor.features(clips.toList());
            double[][][] rows = new double[2][Math.toIntExact(features.size(1))][];
            for (int p = 0; p < 2; p++) {
                for (int clip = 0; clip < rows[p].length; clip++) {
                    rows[p][clip] = features.slice(0, p, p + 1)
                            .slice(1, clip, clip + 1)
                            .contiguous()
                            .toDoubles();
                }
            }
            return rows;
        }
    }

    private static double[] said(AttentiveClassifier classifier, double[][][] views) {
        double[] mean = new double[2];
        for (double[][] view : views) {
            for (double[] row : view) {
                double[] said = classifier.probabilities(row);
                mean[0] += said[0] / views.length / view.length;
                mean[1] += said[1] / views.length / view.length;
            }
        }
        return mean;
    }

    private static double[] predicted(Path head, Path video) {
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(
                "predict",
                "--student",
                student,
                "--head",
                head,
                "--video",
                video,
                "--mask-ratio=0.5",
                "--ensemble=2",
                "--seed=3",
                "--clip-seconds=0.2",
                "--json"));
        Map<?, ?> probabilities = (Map<?, ?>) requireNonNull(answer.get("probabilities"));
        return new double[] {Shell.number(probabilities, "ramp"), Shell.number(probabilities, "turned")};
    }

    @Test
    void attentionIsJudged() {
        Object[] words = {"--episodes=4", "--pooling=attentive@1", "--ensemble=2"};
        Map<String, @Nullable Object> answer = answer(words);
        assertEquals("attentive@1", answer.get("pooling"));
        assertEquals(answer, answer(words), "the same every time");
        assertTrue(((Number) number(answer, "accuracy")).doubleValue() > .6, "brightness is seen");
        assertEquals(
                "attentive",
                answer("--episodes=2", "--pooling=attentive", "--redraw", "--support-views=1")
                        .get("pooling"));
        assertTrue(answer("--episodes=2", "--pooling=attentive", "--ensemble=2", "--adaptive")
                .containsKey("ensembles"));
        Shell.refuse(
                List.of("--pooling attentive fits a query and a head on standardised tokens, which --fit plain does not"
                        + " do; pass --fit tuned"),
                fewshot("--pooling=attentive", "--fit=plain"));
        for (String head : List.of("prototype", "cosine", "finetune")) {
            Shell.refuse(
                    List.of("which --head " + head + " does not do; pass another pooling such as mean"),
                    fewshot("--pooling=attentive@1", "--head=" + head));
        }
        Shell.refuse(
                List.of("--pooling: pooling 'mean+attentive' has others beside attentive"),
                fewshot("--pooling=mean+attentive"));
        Shell.refuse(
                List.of("--pooling: merging 1 forgets where tokens lie, which the pooling attentive asks for"),
                fewshot("--pooling=attentive", "--merge=1"));
        Shell.refuse(
                List.of("--pooling attentive keeps all tokens of the clips, which learn and fewshot do"),
                "sweep",
                "--student",
                student,
                "--clips",
                data,
                "--pooling=attentive",
                "--out",
                folder.resolve("sweep"));
        Shell.refuse(
                List.of(
                        "--pooling attentive@1 has a query that is fitted with a head, and features fits none; pass mean"),
                "features",
                "--student",
                student,
                "--clips",
                folder.resolve("none.npy"),
                "--pooling=attentive@1",
                "--out",
                folder.resolve("features.npy"));
    }

    @Test
    void aModelTeachesItselfTheTarget() throws Exception {
        Path out = folder.resolve("self");
        Shell.succeed(OwnClips.pretraining("rgb", data, out, 2, "--self-train", model));
        String first = Files.readAllLines(out.resolve("metrics.jsonl")).getFirst();
        for (String metric : List.of("cross_entropy", "soft_labels", "reconstruction_target")) {
            assertTrue(first.contains("\"" + metric + "\":"), first);
        }
        assertFalse(first.contains("reconstruction_source"), first);
        Shell.refuse(
                List.of("softLabels was 1.0, is 2.0"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train", model, "--self-train-weight=2"));
        Shell.refuse(
                List.of("pass --self-train MODEL too"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train-weight=2"));
        Shell.refuse(
                List.of("--self-train begins with its model's weights and --start names others"),
                OwnClips.pretraining("rgb", data, out, 2, "--self-train", model, "--start", model));
        Path nowhere = folder.resolve("nowhere.safetensors");
        Shell.refuse(
                List.of("--self-train " + nowhere + " is no file"),
                OwnClips.pretraining("rgb", data, folder.resolve("no"), 2, "--self-train", nowhere));
        Shell.refuse(
                List.of(student + ": it has no classifier of source classes"),
                OwnClips.pretraining("rgb", data, folder.resolve("no"), 2, "--self-train", student));
    }
}
