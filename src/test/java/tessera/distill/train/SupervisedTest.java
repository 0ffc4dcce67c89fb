package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Schedule;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A model learns the labels of its clips, and its file is a student with the head. */
class SupervisedTest {
    private static final VideoMaeConfig CONFIG = Lessons.config(Modality.POSE, 16);
    private static final Supervised STAGE =
            Supervised.defaults(Modality.POSE).withRecipe(Lessons.recipe().withDropPath(.2));

    private static ClipSet clips;

    @TempDir
    private Path folder;

    @BeforeAll
    static void render() {
        clips = Lessons.clips(2);
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private Path run(String name, Supervised stage) {
        return stage.run(CONFIG, clips, null, folder.resolve(name), Lessons.context());
    }

    @Test
    void theFinishedModelIsAStudentWithItsHead() throws IOException {
        Path file =
                run("run", STAGE.withRecipe(Lessons.recipe().withAugment(false).over(200, 1e-2)));
        assertEquals("model.safetensors", file.getFileName().toString());
        try (Scope scope = Scope.open();
                Student student = Student.load(file, Device.cpu())) {
            assertEquals(clips.classes(), student.labels());
            assertEquals("action", student.heads().getFirst().name());
            int[] all = IntStream.range(0, clips.size()).toArray();
            float[] probabilities = student.predict(clips.batch(Modality.POSE, all), Masking.none(), 1)
                    .toFloats();
            int classes = clips.classes().size();
            double right = 0;
            for (int i = 0; i < all.length; i++) {
                right += probabilities[i * classes + clips.label(i)];
            }
            assertTrue(right / all.length > 2.0 / classes, "mean probability of the label is " + right / all.length);
        }
        List<MetricsLog.Line> lines = MetricsLog.read(folder.resolve("run").resolve("metrics.jsonl"));
        Map<Metric, Double> first = lines.getFirst().values();
        assertEquals(
                List.of("cross_entropy_action", "loss", "gradient_norm", "lr"),
                first.keySet().stream().map(Metric::id).toList());
        assertEquals(first.get(new Metric("cross_entropy_action")), first.get(Metric.LOSS));
        assertEquals(0.0, first.get(Metric.LEARNING_RATE), "the rate begins at 0");
    }

    /** Spec 3.5: betas, decay of every weight, clipping, and a rate in straight lines from 0 to 0. */
    @Test
    void theRecipeIsThePublishedOne() {
        Recipe recipe = Supervised.defaults(Modality.RGB).recipe();
        assertEquals(new Optimiser(.9, .999, 1e-8, .02, Optimiser.Decays.ALL, 5), recipe.optimiser());
        assertEquals(0, recipe.maskRatio());
        Schedule schedule =
                recipe.withRate(300, LearningRate.linear(300, 1e-4)).rate().schedule();
        Close.relative(
                new double[] {schedule.at(0), schedule.at(15), schedule.at(30), schedule.at(165), schedule.at(300)},
                new double[] {0, .5e-4, 1e-4, .5e-4, 0},
                1e-12,
                "warm-up over a tenth and decay to 0");
        assertEquals(LearningRate.Shape.LINEAR, recipe.over(10, 1).rate().shape(), "over keeps the shape");
    }

    @Test
    void runsResumeBitForBit() throws IOException {
        byte[] whole = Files.readAllBytes(run("whole", STAGE));
        Path cut = folder.resolve("cut");
        Lessons.cut(() -> STAGE.run(CONFIG, clips, null, cut, Lessons.stoppedAfterTwoSteps()));
        assertTrue(Files.exists(cut.resolve("checkpoint.safetensors")));
        assertFalse(Files.exists(cut.resolve("model.safetensors")));
        assertArrayEquals(whole, Files.readAllBytes(run("cut", STAGE)));
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("whole").resolve("metrics.jsonl")),
                Files.readAllBytes(cut.resolve("metrics.jsonl")));
    }

    @Test
    void theRefusalNamesTheSetting() {
        Path file = run("other", STAGE);
        refused(STAGE.withHeads(Map.of("action", .5)), file, "heads.action was 1.0, is 0.5");
        refused(STAGE.withHeldOut(HeldOut.of(.2)), file, "heldOut was 0.0, is 0.2");
        refused(STAGE.withViewCount(3), file, "viewCount was 0, is 3");
        refused(STAGE.withRecipe(STAGE.recipe().withClipNorm(1)), file, "clipNorm was 5.0, is 1.0");
    }

    private void refused(Supervised stage, Path file, String difference) {
        Exception refused = assertThrows(CheckpointException.class, () -> run("other", stage));
        assertEquals(
                file + " was trained with other settings (" + difference
                        + "); use another folder, or delete this one to start again",
                refused.getMessage());
    }

    @Test
    void aLossThatIsNotFiniteStopsTheRunAndKeepsItsCheckpoint() throws IOException {
        Supervised spoilt = STAGE.withRecipe(Lessons.recipe().over(Lessons.STEPS, 1e30));
        Path cut = folder.resolve("spoilt");
        StopSignal stop = new StopSignal();
        stop.request();
        Lessons.cut(() -> spoilt.run(CONFIG, clips, null, cut, new RunContext(ProgressListener.NONE, stop)));
        byte[] checkpoint = Files.readAllBytes(cut.resolve("checkpoint.safetensors"));
        Exception ended = assertThrows(IllegalStateException.class, () -> run("spoilt", spoilt));
        assertTrue(String.valueOf(ended.getMessage()).contains("the last checkpoint in " + cut + " is kept"));
        assertArrayEquals(checkpoint, Files.readAllBytes(cut.resolve("checkpoint.safetensors")));
        assertFalse(Files.exists(cut.resolve("model.safetensors")));
    }

    /** A start gives its weights and its head; of other labels it starts afresh. */
    @Test
    void aRunStartsFromAFile() {
        Path first = run("first", STAGE);
        Supervised still = STAGE.withRecipe(Lessons.recipe().withRate(1, LearningRate.linear(1, 0)));
        Path second = still.run(CONFIG, clips, first, folder.resolve("second"), Lessons.context());
        try (Scope scope = Scope.open();
                Checkpoint before = Checkpoint.read(first);
                Checkpoint after = Checkpoint.read(second)) {
            before.tensors()
                    .forEach((name, tensor) ->
                            assertArrayEquals(tensor.toFloats(), of(after, name).toFloats(), name));
        }
        Path wrong = folder.resolve("wrong.safetensors");
        try (Scope scope = Scope.open()) {
            Checkpoint.write(
                    wrong, Map.of("decoder.weight", Tensor.zeros(3, 3)), Map.of("tessera.architecture", "mean-colour"));
        }
        Exception refused = assertThrows(
                CheckpointException.class,
                () -> still.run(CONFIG, clips, wrong, folder.resolve("third"), Lessons.context()));
        assertTrue(
                String.valueOf(refused.getMessage())
                        .startsWith(wrong + ": the file holds a model of architecture 'mean-colour'"),
                refused.getMessage());
    }

    private static Tensor of(Checkpoint checkpoint, String name) {
        return Objects.requireNonNull(checkpoint.tensors().get(name), name);
    }

    /** Autoencoders of MM-CDFSL are starts too: of their encoder, with other norms after it. */
    @Test
    void aRunStartsFromAnAutoencoder() {
        Pretraining pretraining = Pretraining.defaults(Modality.POSE);
        Path autoencoder = pretraining
                .withRecipe(pretraining.recipe().withBatch(4).over(1, 0).withMaskRatio(.5))
                .run(CONFIG, clips, clips, null, folder.resolve("autoencoder"), Lessons.context());
        Supervised still = STAGE.withRecipe(Lessons.recipe().withRate(1, LearningRate.linear(1, 0)));
        Path model = still.run(CONFIG, clips, autoencoder, folder.resolve("model"), Lessons.context());
        try (Scope scope = Scope.open();
                Checkpoint before = Checkpoint.read(autoencoder);
                Checkpoint after = Checkpoint.read(model)) {
            String name = "encoder.blocks.1.mlp.fc1.weight";
            assertArrayEquals(of(before, name).toFloats(), of(after, name).toFloats());
            assertFalse(after.tensors().keySet().stream().anyMatch(weight -> weight.startsWith("decoder.")));
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        for (Map.Entry<Supervised, String> each : Map.of(
                        STAGE.withHeads("action", "mood"), "mood",
                        Supervised.defaults(Modality.RGB), "a model takes clips [4, 4, 4, 21] but those of rgb")
                .entrySet()) {
            Exception refused = assertThrows(IllegalArgumentException.class, () -> run("never", each.getKey()));
            assertTrue(String.valueOf(refused.getMessage()).contains(each.getValue()), refused.getMessage());
        }
        assertThrows(IllegalArgumentException.class, () -> STAGE.withHeads());
        assertThrows(IllegalArgumentException.class, () -> STAGE.withHeads(Map.of("action", -1.0)));
        assertThrows(IllegalArgumentException.class, () -> STAGE.withViewCount(-1));
        assertFalse(Files.exists(folder.resolve("never")));
    }

    @Test
    void heldOutClipsAreAShareOfEveryClassAndNeverTrainedOn() {
        int[] labels = {0, 1, 0, 1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0};
        HeldOut share = HeldOut.of(.3);
        int[] held;
        int[] rest;
        int[] otherwise;
        try (ClipSet set = Lessons.poses(labels)) {
            held = share.held(set);
            rest = share.rest(set);
            otherwise = new HeldOut(.3, 2).held(set);
        }
        assertEquals(
                List.of(3L, 1L, 0L),
                IntStream.range(0, 3)
                        .mapToObj(label -> Arrays.stream(held)
                                .filter(clip -> labels[clip] == label)
                                .count())
                        .toList());
        assertEquals(
                IntStream.range(0, labels.length).boxed().toList(),
                IntStream.concat(Arrays.stream(held), Arrays.stream(rest))
                        .sorted()
                        .boxed()
                        .toList());
        assertNotEquals(Arrays.toString(held), Arrays.toString(otherwise), "the seed chooses them");
        assertThrows(IllegalArgumentException.class, () -> HeldOut.of(1));
        ClipViews views = new ClipViews(
                clips,
                clips.geometry(),
                HeldOut.of(.5).rest(clips),
                Set.of(Modality.POSE),
                List.of(),
                Lessons.recipe(),
                0);
        int[] never = HeldOut.of(.5).held(clips);
        assertTrue(views.all(40).stream().noneMatch(view -> Arrays.binarySearch(never, view.clip()) >= 0));
        assertEquals(
                clips.size() - never.length,
                views.all(40).stream().map(ClipViews.View::clip).distinct().count());
    }
}
