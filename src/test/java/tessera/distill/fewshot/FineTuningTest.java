package tessera.distill.fewshot;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** A student that is tuned to the support clips of episodes. */
class FineTuningTest {
    private static final int WIDTH = 16;
    private static final int PER_CLASS = 8;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            4,
            16,
            16,
            WIDTH,
            2,
            2,
            8,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    @TempDir
    private static Path folder;

    private static Path file;
    private static ClipSet clips;

    /** Clips of three classes that differ in which corner is bright. */
    @BeforeAll
    static void make() {
        file = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(file, params.all(), CONFIG, Map.of());
        }
        clips = ClipSet.load(
                new Geometry(4, 16, 4),
                List.of("a", "b", "c"),
                IntStream.range(0, 3 * PER_CLASS).map(i -> i % 3).toArray(),
                Set.of(Modality.RGB),
                i -> Map.of(Modality.RGB, MemorySegment.ofArray(clip(i))),
                done -> {});
    }

    private static byte[] clip(int number) {
        byte[] pixels = new byte[4 * 16 * 16 * 3];
        new Random(number).nextBytes(pixels);
        for (int i = 0; i < pixels.length; i++) {
            int row = i / 3 / 16 % 16;
            int column = i / 3 % 16;
            boolean bright = number % 3 == 0 ? row < 8 : number % 3 == 1 ? column < 8 : row >= 8 && column >= 8;
            pixels[i] = (byte) ((pixels[i] & 63) + (bright ? 96 : 0));
        }
        return pixels;
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private static List<Episode> episodes(int ways, int count) {
        return new EpisodeSampler(clips.labels(), ways, 3, 4, 7).draw(count);
    }

    private static FewShotEvaluation.Result evaluate(FineTuning how, Masking masking, Device device, int count) {
        try (FineTuning.Episodes tuned = how.open(file, clips, Modality.RGB, masking, device, DType.F32)) {
            return new FewShotEvaluation(tuned).evaluate(episodes(3, count), done -> {});
        }
    }

    /**
     * A head of zeros gives the student no gradient, so the first step moves the head alone, every weight by the rate: against the sign of
     * the mean of (p - y) feature.
     */
    @Test
    void theFirstStepIsTheOneByHand() {
        Episode episode = episodes(2, 1).getFirst();
        double[][] support = features(episode.support());
        double[][] queries = features(episode.queries());
        double[] first = new double[WIDTH]; // of class 0, that of class 1 is its negative
        for (int i = 0; i < support.length; i++) {
            for (int j = 0; j < WIDTH; j++) {
                first[j] += (episode.supportLabels()[i] == 0 ? 1 : -1) * support[i][j];
            }
        }
        FineTuning how = new FineTuning(1, 25, .1, .75, 0, false, 1);
        try (FineTuning.Episodes tuned = how.open(file, clips, Modality.RGB, Masking.none(), Device.cpu(), DType.F32)) {
            double[][] told = new FewShotEvaluation(tuned).evaluate(episode).probabilities();
            for (int q = 0; q < queries.length; q++) {
                double score = 0;
                for (int j = 0; j < WIDTH; j++) {
                    score += .1 * Math.signum(first[j]) * queries[q][j];
                }
                Close.within(told[q][0], 1 / (1 + Math.exp(-2 * score)), 1e-4, "query " + q);
            }
        }
    }

    private static double[][] features(int[] chosen) {
        try (Scope scope = Scope.open();
                Student student = Student.load(file, Device.cpu())) {
            double[] values = student.features(clips.batch(Modality.RGB, chosen), Masking.none(), 1)
                    .toDoubles();
            return IntStream.range(0, chosen.length)
                    .mapToObj(i -> Arrays.copyOfRange(values, i * WIDTH, (i + 1) * WIDTH))
                    .toArray(double[][]::new);
        }
    }

    @Test
    void everyEpisodeStartsFromTheFileAndLearns() throws Exception {
        byte[] before = Files.readAllBytes(file);
        FineTuning how = FineTuning.defaults().withSteps(30).withRate(1e-2);
        Device own = Device.cpu(2);
        FewShotEvaluation.Result result = evaluate(how, Masking.none(), own, 3);
        assertTrue(result.accuracy().mean() > .9, "bright corners are told apart: " + result.accuracy());
        assertEquals(0, own.memory().live(), "nothing stays in memory");
        assertArrayEquals(before, Files.readAllBytes(file));
        try (FineTuning.Episodes tuned = how.open(file, clips, Modality.RGB, Masking.none(), Device.cpu(), DType.F32)) {
            // The third episode alone: what was tuned to others is forgotten.
            double[][] alone = mean(tuned.learn(2, episodes(3, 3).getLast()).queries());
            assertArrayEquals(result.episodes().getLast().probabilities(), alone);
        }
    }

    private static double[][] mean(double[][][] passes) {
        assertEquals(1, passes.length);
        return passes[0];
    }

    @Test
    void masksAndViewsAreDrawnBySeed() {
        FineTuning how = FineTuning.defaults().withSteps(4);
        Masking masking = Masking.of(.5, 2);
        double[][] one =
                evaluate(how, masking, Device.cpu(), 1).episodes().getFirst().probabilities();
        assertArrayEquals(
                one,
                evaluate(how, masking, Device.cpu(), 1).episodes().getFirst().probabilities());
        for (FineTuning other : List.of(how.withSeed(2), how.withAugment(true), how.withRate(2e-3), how.withSteps(5))) {
            assertFalse(
                    Arrays.deepEquals(
                            one,
                            evaluate(other, masking, Device.cpu(), 1)
                                    .episodes()
                                    .getFirst()
                                    .probabilities()),
                    other.toString());
        }
        try (FineTuning.Episodes tuned = how.open(file, clips, Modality.RGB, masking, Device.cpu(), DType.F32)) {
            FewShotEvaluation.PassByPass each =
                    new FewShotEvaluation(tuned).passByPass(episodes(3, 1).getFirst());
            assertEquals(2, each.queries().passes());
            assertEquals(null, each.support());
        }
    }

    /** VideoMAE's layers: the embedding is below the first block, everything else above the last. */
    @Test
    void ratesFallFromLayerToLayer() {
        Map<String, Tensor> weights = List.of(
                        "encoder.patch_embed.proj.weight",
                        "encoder.blocks.0.norm1.weight",
                        "encoder.blocks.1.attn.qkv.weight",
                        "encoder.norm.bias",
                        "fc_norm.weight")
                .stream()
                .collect(Collectors.toMap(name -> name, name -> Tensor.zeros(1)));
        Map<Integer, Map<String, Tensor>> layers = FineTuning.Episodes.layers(weights);
        assertEquals(
                Map.of(
                        0,
                        Set.of("encoder.norm.bias", "fc_norm.weight"),
                        1,
                        Set.of("encoder.blocks.1.attn.qkv.weight"),
                        2,
                        Set.of("encoder.blocks.0.norm1.weight"),
                        3,
                        Set.of("encoder.patch_embed.proj.weight")),
                layers.entrySet().stream()
                        .collect(Collectors.toMap(
                                Map.Entry::getKey, entry -> entry.getValue().keySet())));
        assertEquals(
                Set.of(0),
                FineTuning.Episodes.layers(Map.of(
                                "layers.0.blocks.1.mlp.weight", Tensor.zeros(1), "patch_embed.x", Tensor.zeros(1)))
                        .keySet());
    }

    @Test
    void whatCannotBeTunedIsRefused() {
        refused(() -> FineTuning.defaults().withSteps(0), "0 steps of 25 clips; pass 1 or more of each");
        refused(() -> FineTuning.defaults().withRate(0), "a rate of 0.0");
        Path bytes = folder.resolve("int8.safetensors");
        try (Student student = Student.load(file, Device.cpu());
                Student int8 = student.quantize()) {
            int8.save(bytes);
        }
        refused(
                () -> FineTuning.defaults().open(bytes, clips, Modality.RGB, Masking.none(), Device.cpu(), DType.F32),
                bytes + ": ");
        FewShotEvaluation evaluation = new FewShotEvaluation(
                (number, episode) -> new FewShotEvaluation.Answers(new double[1][0][], () -> new double[0][][]));
        assertThrows(IllegalStateException.class, () -> evaluation.withSupportViews(1));
    }

    private static void refused(Executable call, String expected) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call).getMessage());
        assertTrue(message.contains(expected), message);
    }

    @Test
    @Tag(FakeCuda.TAG)
    void onAGpuItLearnsTheSame() {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        FineTuning how = FineTuning.defaults().withSteps(5);
        Masking masking = Masking.of(.5, 2);
        double[][] here =
                evaluate(how, masking, Device.cpu(), 1).episodes().getFirst().probabilities();
        double[][] there = evaluate(how, masking, TestDevices.cuda().getFirst(), 1)
                .episodes()
                .getFirst()
                .probabilities();
        for (int q = 0; q < here.length; q++) {
            for (int k = 0; k < here[q].length; k++) {
                Close.within(there[q][k], here[q][k], 1e-2, "query " + q + ", class " + k);
            }
        }
    }
}
