package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;
import static tessera.distill.cli.Shell.refuse;
import static tessera.distill.cli.Shell.succeed;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.report.Json;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** The words of mask strategies in every command that takes them, and the published protocol of few-shot episodes. */
class StrategiesTest {
    /** 2 slots of 4 x 4 cells. */
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            16,
            2,
            2,
            16,
            1,
            2,
            1e-6,
            1e-6,
            true,
            false);

    private static final int WAYS = 3;
    private static final int SHOTS = 2;
    private static final int QUERIES = 3;
    private static final int EPISODES = 4;

    @TempDir
    private static Path folder;

    private static Path data;
    private static Path student;

    /** Writes a student whose feature norm is not the one it would start with. */
    @BeforeAll
    static void write() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 6, "dark", "grey", "bright");
        student = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Student.save(student, weights(), CONFIG, Map.of());
        }
    }

    private static Map<String, Tensor> weights() {
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        new VideoMaeClassifier(params, CONFIG, 0).close();
        Map<String, Tensor> weights = new LinkedHashMap<>(params.all());
        weights.put("fc_norm.weight", Tensor.uniform(Device.cpu(), DType.F32, Shape.of(16), 7, 0, .2, 3));
        weights.put("fc_norm.bias", Tensor.uniform(Device.cpu(), DType.F32, Shape.of(16), 8, 0, -2, 2));
        return weights;
    }

    private static Object[] fewshot(Object... more) {
        List<Object> words =
                new ArrayList<>(List.of("fewshot", "--student", student, "--clips", data, "--quiet", "--json"));
        words.addAll(List.of("--ways", WAYS, "--shots", SHOTS, "--queries", QUERIES, "--episodes", EPISODES));
        words.addAll(List.of(more));
        return words.toArray();
    }

    /** What the published protocol gives, from one clip's feature at a time, a head by plain descent, and sums. */
    @Test
    void thePaperIsWhatPlainLoopsGive() throws IOException {
        Map<String, @Nullable Object> answer = Json.object(succeed(fewshot("--protocol=paper", "--seed=3")));
        assertEquals("paper", answer.get("protocol"));
        assertEquals("tube", answer.get("strategy"));
        assertEquals("mean", answer.get("pooling"));
        Close.within(number(answer, "supportViews"), 1, 0, "support views");
        double right = 0;
        try (Scope scope = Scope.open();
                ClipSet clips =
                        ModalityFolders.open(data, Set.of(Modality.RGB), null).load(done -> {})) {
            Map<String, Tensor> weights = weights();
            weights.put("fc_norm.weight", Tensor.ones(16));
            weights.put("fc_norm.bias", Tensor.zeros(16));
            List<Episode> episodes = new EpisodeSampler(clips.labels(), WAYS, SHOTS, QUERIES, 3).draw(EPISODES);
            try (Student model = Student.of(weights, CONFIG.withEps(1e-5, 1e-5), Device.cpu())) {
                for (int number = 0; number < EPISODES; number++) {
                    right += accuracy(model, clips, episodes.get(number), number);
                }
            }
        }
        Close.within(number(answer, "accuracy"), right / EPISODES, 1e-9, "accuracy");
    }

    private static double accuracy(Student model, ClipSet clips, Episode episode, int number) {
        int[] support = episode.support();
        int[] queries = episode.queries();
        int count = support.length + queries.length;
        int[][] masks = new int[count][8];
        int[] drawn = TokenMask.tubes(Device.cpu(), count, 2, 16, .75, 3, number)
                .visible()
                .toInts();
        for (int i = 0; i < count; i++) {
            masks[i] = Arrays.copyOfRange(drawn, 8 * i, 8 * i + 8);
        }
        double[][] rows = new double[support.length][];
        for (int i = 0; i < support.length; i++) {
            rows[i] = feature(model, clips, support[i], masks[i]);
        }
        double[][] head = descend(rows, episode.supportLabels());
        int right = 0;
        for (int j = 0; j < queries.length; j++) {
            double[] first = probabilities(head, feature(model, clips, queries[j], masks[support.length + j]));
            double[] second =
                    probabilities(head, feature(model, clips, queries[j], masks[(support.length + j + 1) % count]));
            int best = 0;
            for (int k = 1; k < WAYS; k++) {
                best = first[k] + second[k] > first[best] + second[best] ? k : best;
            }
            right += best == episode.queryLabels()[j] ? 1 : 0;
        }
        return right / (double) queries.length;
    }

    private static double[] feature(Student model, ClipSet clips, int clip, int[] visible) {
        Masking one = Masking.of(.75, 1).withStrategy(c -> {
            Tensor tokens = Tensor.of(visible, 1, visible.length);
            return new TokenMask(tokens, tokens);
        });
        return model.features(clips.batch(Modality.RGB, new int[] {clip}), one, 0)
                .toDoubles();
    }

    /** Minimises the sum of the cross-entropies and half the squared weights; each row ends in an intercept. */
    private static double[][] descend(double[][] rows, int[] labels) {
        int width = rows[0].length;
        double[][] head = new double[WAYS][width + 1];
        for (int step = 0; step < 20_000; step++) {
            double[][] gradient = new double[WAYS][width + 1];
            for (int i = 0; i < rows.length; i++) {
                double[] p = probabilities(head, rows[i]);
                for (int k = 0; k < WAYS; k++) {
                    double error = p[k] - (labels[i] == k ? 1 : 0);
                    for (int j = 0; j < width; j++) {
                        gradient[k][j] += error * rows[i][j];
                    }
                    gradient[k][width] += error;
                }
            }
            for (int k = 0; k < WAYS; k++) {
                for (int j = 0; j <= width; j++) {
                    head[k][j] -= .01 * (gradient[k][j] + (j < width ? head[k][j] : 0));
                }
            }
        }
        return head;
    }

    private static double[] probabilities(double[][] head, double[] row) {
        double[] p = new double[head.length];
        double sum = 0;
        for (int k = 0; k < p.length; k++) {
            double score = head[k][row.length];
            for (int j = 0; j < row.length; j++) {
                score += head[k][j] * row[j];
            }
            p[k] = Math.exp(score);
            sum += p[k];
        }
        for (int k = 0; k < p.length; k++) {
            p[k] /= sum;
        }
        return p;
    }

    /** All switches together are the protocol; without one of them the answer is another or, at least, says so. */
    @Test
    void theProtocolIsItsSwitches() {
        Map<String, @Nullable Object> paper = Json.object(succeed(fewshot("--protocol=paper")));
        Object[] switches = {
            "--strategy=tube",
            "--support-views=1",
            "--redraw",
            "--pooling=mean",
            "--fit=plain",
            "--feature-norm=reset",
            "--eps=1e-5"
        };
        Map<String, @Nullable Object> own = new LinkedHashMap<>(Json.object(succeed(fewshot(switches))));
        assertEquals("own", own.put("protocol", "paper"));
        assertEquals(paper, own);
        assertEquals(
                paper, Json.object(succeed(fewshot(append(switches, "--protocol=paper")))), "what agrees may be named");
        for (int i = 0; i < switches.length; i++) {
            Object[] others = switches.clone();
            others[i] = "--seed=1";
            Map<String, @Nullable Object> departed = Json.object(succeed(fewshot(others)));
            double accuracy = number(departed, "accuracy");
            assertTrue(accuracy >= 0 && accuracy <= 1, switches[i] + ": " + accuracy);
        }
    }

    private static Object[] append(Object[] words, Object... more) {
        Object[] all = Arrays.copyOf(words, words.length + more.length);
        System.arraycopy(more, 0, all, words.length, more.length);
        return all;
    }

    @Test
    void supportViewsMasksAndNormsAreToldApart() {
        Set<Object> errors = new HashSet<>();
        for (Object[] words : new Object[][] {
            {"--support-views=1"},
            {"--support-views=2"},
            {"--support-views=1", "--strategy=tube"},
            {"--support-views=2", "--strategy=tube"},
            {"--support-views=2", "--strategy=tube", "--redraw"},
            {"--support-views=2", "--strategy=tube", "--feature-norm=reset"}
        }) {
            Map<String, @Nullable Object> answer = Json.object(succeed(fewshot(append(words, "--fit=plain"))));
            assertTrue(errors.add(requireNonNull(answer.get("calibrationError"))), Arrays.toString(words));
        }
        Map<String, @Nullable Object> parts = Json.object(succeed(fewshot("--strategy=partition", "--ensemble=4")));
        assertEquals("partition", parts.get("strategy"));
        Close.within(number(parts, "supportViews"), 4, 0, "support views");
        refuse(
                List.of("5 masks of 4 of 16 cells cannot but share some"),
                fewshot("--strategy=partition", "--ensemble=5"));
    }

    @Test
    void whatContradictsTheProtocolIsRefused() {
        String[][] wrong = {
            {"--strategy=pairs", "--strategy is pairs but --protocol paper has tube; leave one of them away"},
            {"--support-views=2", "--support-views is 2 but --protocol paper has 1"},
            {"--pooling=auto", "--pooling is auto but --protocol paper has mean"},
            {"--fit=tuned", "--fit is tuned but --protocol paper has plain"},
            {"--feature-norm=own", "--feature-norm is own but --protocol paper has reset"},
            {"--eps=1e-6", "--eps is 1.0E-6 but --protocol paper has 1.0E-5"},
            {"--groups=prefix", "--groups takes support and queries from different groups"}
        };
        for (String[] one : wrong) {
            refuse(List.of(one[1]), fewshot("--protocol=paper", one[0]));
        }
        refuse(
                List.of("--support-views is 3 but clips are seen through 2 masks; pass 1 to 2"),
                fewshot("--support-views=3"));
        refuse(List.of("--support-views is 0"), fewshot("--support-views=0"));
        refuse(List.of("norms: 2.0 cannot be added to variances"), fewshot("--eps=2"));
    }

    @Test
    void wordsThatNameNoStrategyAreRefusedBeforeAnyWork() {
        refuse(List.of("mask strategy 'moton' is none; pass tube, pairs, partition"), fewshot("--strategy=moton"));
        refuse(List.of("--strategy is motion but --mask-ratio is 0"), fewshot("--strategy=motion", "--mask-ratio=0"));
        refuse(
                List.of("pooling motion:2 compares the same cells from slot to slot"),
                fewshot("--strategy=running", "--pooling=motion:2"));
        Path out = folder.resolve("refused");
        refuse(List.of("mask strategy 'moton' is none"), OwnClips.pretraining("rgb", data, out, 1, "--strategy=moton"));
        refuse(
                List.of("--strategy is motion but the mask ratio is 0, so no token is masked"),
                "train",
                "--modality=rgb",
                "--clips",
                data,
                "--strategy=motion",
                "--steps=1",
                "--quiet",
                "--out",
                out);
        assertFalse(Files.exists(out));
    }

    /** Features of every strategy are those that the library gives under the same word. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "tube",
                "pairs",
                "partition",
                "per-slot",
                "running",
                "motion",
                "saliency",
                "tessera.nn.Checkerboard",
                "tessera.nn.Checkerboard:1"
            })
    void everyWordWorksInInference(String word) throws IOException {
        Path clips = folder.resolve("clips.npy");
        byte[] pixels = new byte[3 * 4 * 16 * 16 * 3];
        new Random(5).nextBytes(pixels);
        Npy.write(clips, ArrayData.of("clips", pixels, 3, 4, 16, 16, 3));
        Path out = folder.resolve("features.safetensors");
        succeed(
                "features",
                "--student",
                student,
                "--clips",
                clips,
                "--mask-ratio=0.5",
                "--ensemble=2",
                "--seed=7",
                "--strategy",
                word,
                "--quiet",
                "--out",
                out);
        try (Student loaded = Student.load(student, Device.cpu());
                Scope scope = Scope.open();
                SafetensorsFile file = Safetensors.open(out)) {
            Masking masking = Masking.of(.5, 2).withStrategy(MaskStrategy.of(word));
            Close.relative(
                    file.floats("features"),
                    loaded.features(Tensor.of(pixels, 3, 4, 16, 16, 3), masking, 7)
                            .toFloats(),
                    1e-5,
                    word);
        }
        Map<String, @Nullable Object> answer = Json.object(succeed(fewshot("--mask-ratio=0.5", "--strategy", word)));
        assertEquals(word, answer.get("strategy"));
    }

    /** A run trains with the word's masks, keeps it in its settings, and is resumed with no other. */
    @ParameterizedTest
    @ValueSource(strings = {"tube", "per-slot", "running", "motion", "saliency", "tessera.nn.Checkerboard"})
    void everyWordWorksInTraining(String word) throws IOException {
        Path out = folder.resolve("trained-" + word);
        Object[] words = OwnClips.pretraining("rgb", data, out, 2, "--grid=4", "--strategy", word);
        words = Arrays.stream(words).filter(w -> !w.equals("--grid=2")).toArray();
        succeed(words);
        Path model = out.resolve("model.safetensors");
        byte[] bytes = Files.readAllBytes(model);
        try (SafetensorsFile file = Safetensors.open(model)) {
            String settings = String.valueOf(file.metadata().get("tessera.settings"));
            assertTrue(settings.contains("\"maskStrategy\":\"" + word + "\""), settings);
        }
        succeed(words);
        assertArrayEquals(bytes, Files.readAllBytes(model), "a finished run is not trained again");
        String other = word.equals("per-slot") ? "tube" : "per-slot";
        words[words.length - 1] = other;
        refuse(List.of("maskStrategy was " + word + ", is " + other), words);
    }

    @Test
    void studentsAreDistilledLearnedWithAndAskedThroughOtherMasks() throws Exception {
        Path teacher = folder.resolve("teacher");
        succeed(OwnClips.pretraining("rgb", data, teacher, 1));
        Path out = folder.resolve("distilled");
        succeed(
                "distill",
                "--teachers=rgb=" + teacher,
                "--target",
                data,
                "--batch=4",
                "--steps=2",
                "--mask-ratio=0.5",
                "--strategy=motion",
                "--quiet",
                "--out",
                out);
        Path made = out.resolve("student.safetensors");
        Path videos = Files.createDirectories(folder.resolve("videos"));
        Path video = Path.of(requireNonNull(StrategiesTest.class.getResource("/video/ramp.mp4"))
                .toURI());
        Files.copy(video, videos.resolve("one.mp4"));
        Files.copy(video, videos.resolve("two.mp4"));
        Path head = folder.resolve("head.safetensors");
        for (String strategy : List.of("motion", "saliency", "running")) {
            Object[] masks = {"--student", made, "--mask-ratio=0.5", "--strategy", strategy};
            succeed(append(append(new Object[] {"learn", "--quiet"}, masks), "--clips", videos, "--out", head));
            Object[] predict = append(append(new Object[] {"predict"}, masks), "--head", head, "--video", video);
            String line = succeed(predict);
            assertTrue(line.startsWith(video + ": "), line);
        }
    }
}
