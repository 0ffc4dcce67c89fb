package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.Set;
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
import tessera.nn.CheckpointException;
import tessera.nn.MaskStrategy;
import tessera.tensor.Scope;
import tessera.tensor.TokenMask;

/** Several batches for a step are one batch with all of their clips, but for rounding. */
class AccumulationTest {
    private static ClipSet clips;

    @TempDir
    private Path folder;

    @BeforeAll
    static void render() {
        clips = SmallNetworks.clips();
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private static Recipe recipe(int batch, int accumulate) {
        return MixedStage.recipe().withBatch(batch).withAccumulate(accumulate);
    }

    private Path run(String name, Stage stage) {
        return Trainer.run(stage, folder.resolve(name), Lessons.context());
    }

    private double[] metric(String name, Metric metric) {
        return MetricsLog.read(folder.resolve(name).resolve(Trainer.METRICS)).stream()
                .mapToDouble(line -> Objects.requireNonNull(line.values().get(metric)))
                .toArray();
    }

    /** Masks that are drawn on the host, and those that a step draws itself. */
    @Test
    void stepsAreThoseOfOneLargeBatch() throws IOException {
        MaskStrategy own =
                c -> TokenMask.perSlot(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream());
        MixedStage mixed = new MixedStage(clips);
        for (MaskStrategy masks : List.of(MaskStrategy.tubes(), own)) {
            String kind = masks.equals(own) ? "own" : "tubes";
            run(kind + 1, mixed.stage(recipe(8, 1).withClipNorm(100), masks, 1));
            for (int parts : new int[] {2, 4}) {
                run(kind + parts, mixed.stage(recipe(8 / parts, parts).withClipNorm(100), masks, 1));
                for (Metric metric :
                        List.of(Metric.LOSS, MixedStage.FEATURES, MixedStage.LOGITS, Metric.GRADIENT_NORM)) {
                    Close.relative(metric(kind + parts, metric), metric(kind + 1, metric), 1e-3, kind + " " + metric);
                }
            }
        }
    }

    @Test
    void clipsAndTheirViewsAreThoseOfOneLargeBatch() {
        for (boolean views : new boolean[] {false, true}) {
            Recipe large =
                    views ? Lessons.recipe().withBatch(6) : MixedStage.recipe().withBatch(6);
            Recipe small = large.withBatch(2).withAccumulate(3);
            ClipBatches whole = new ClipBatches(clips, Modality.ALL, true, large, 1, 2);
            ClipBatches parts = new ClipBatches(clips, Modality.ALL, true, small, 1, 2);
            try (Scope scope = Scope.open()) {
                for (int step = 0; step < 3; step++) {
                    Batch expected = whole.at(Device.cpu(), step);
                    for (int k = 0; k < 3; k++) {
                        Batch part = parts.at(Device.cpu(), 3L * step + k);
                        for (Modality modality : Set.of(Modality.RGB, Modality.FLOW)) {
                            assertArrayEquals(
                                    expected.clips(modality)
                                            .slice(0, 2L * k, 2L * k + 2)
                                            .toDoubles(),
                                    part.clips(modality).toDoubles());
                        }
                        assertArrayEquals(
                                expected.labels(ClipBatches.ACTION)
                                        .slice(0, 2L * k, 2L * k + 2)
                                        .toInts(),
                                part.labels(ClipBatches.ACTION).toInts());
                    }
                }
            }
        }
    }

    /** With stochastic depth and dropout, which differ from batch to batch; teachers answer from a cache too. */
    @Test
    void accumulatingRunsResumeBitForBit() throws IOException {
        Recipe recipe = Lessons.recipe().withBatch(2).withAccumulate(3).withDropPath(.3);
        Supervised stage = Supervised.defaults(Modality.RGB).withRecipe(recipe);
        var config = Lessons.config(Modality.RGB, 16);
        byte[] whole = Files.readAllBytes(stage.run(config, clips, null, folder.resolve("whole"), Lessons.context()));
        Path cut = folder.resolve("cut");
        Lessons.cut(() -> stage.run(config, clips, null, cut, Lessons.stoppedAfterTwoSteps()));
        Exception other = assertThrows(
                CheckpointException.class,
                () -> stage.withRecipe(recipe.withAccumulate(1)).run(config, clips, null, cut, Lessons.context()));
        assertTrue(
                String.valueOf(other.getMessage()).contains("(accumulate was 3, is 1)"),
                String.valueOf(other.getMessage()));
        assertArrayEquals(whole, Files.readAllBytes(stage.run(config, clips, null, cut, Lessons.context())));
    }

    @Test
    void runsFromBeforeHadOneBatchAStep() {
        Settings before = Settings.parse(recipe(4, 1).settings().json().replace(",\"accumulate\":1", ""));
        assertEquals(
                List.of(),
                before.differences(recipe(4, 1).settings(), Recipe.defaults().settings()));
        assertEquals(
                List.of("accumulate was 1, is 2"),
                before.differences(recipe(4, 2).settings(), Recipe.defaults().settings()));
        for (int number : new int[] {0, 257}) {
            assertThrows(IllegalArgumentException.class, () -> recipe(4, number));
        }
    }
}
