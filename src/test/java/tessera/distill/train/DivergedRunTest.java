package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.CheckpointException;
import tessera.nn.videomae.VideoMaeConfig;

/** A run whose loss stops being finite ends there, and its last checkpoint is as good as before. */
class DivergedRunTest {
    private static final Geometry GEOMETRY = new Geometry(4, 16, 4);
    private static final int STEPS = 6;
    private static final double SANE = 1e-3;

    /** Rises from the sane rate in two steps: the first step is sound, the second spoils the weights. */
    private static final double ABSURD = 1e30;

    @TempDir
    private Path folder;

    /** A stage with a learning rate. */
    private interface Training {
        Path run(double lr, Path out, RunContext context);
    }

    @Test
    void pretraining() throws Exception {
        diverges(this::pretrain, "pretrain");
    }

    @Test
    void distillation() throws Exception {
        Path teacher = pretrain(SANE, folder.resolve("teacher"), context(false));
        byte[] before = Files.readAllBytes(teacher);
        diverges((lr, out, context) -> distil(teacher, lr, out, context), "distill");
        assertArrayEquals(before, Files.readAllBytes(teacher));
    }

    private void diverges(Training stage, String name) throws Exception {
        Path out = folder.resolve(name);
        Path checkpoint = out.resolve("checkpoint.safetensors");
        assertThrows(StopSignal.Stopped.class, () -> stage.run(ABSURD, out, context(true)));
        byte[] sound = Files.readAllBytes(checkpoint);
        for (int attempt = 0; attempt < 2; attempt++) {
            // The second attempt shows that the checkpoint is still one that resumes.
            Exception ended = assertThrows(IllegalStateException.class, () -> stage.run(ABSURD, out, context(false)));
            assertEquals(
                    "the loss of step 2 is NaN; the last checkpoint in " + out
                            + " is kept; lower the learning rate and start again",
                    ended.getMessage());
            assertArrayEquals(sound, Files.readAllBytes(checkpoint));
            assertEquals(List.of("checkpoint.safetensors", "metrics.jsonl"), names(out));
            assertEquals(2, Files.readAllLines(out.resolve("metrics.jsonl")).size(), "of the steps that were sound");
        }
        Exception other = assertThrows(CheckpointException.class, () -> stage.run(SANE, out, context(false)));
        for (String part : List.of(checkpoint + " was written with other settings", "lr", "1.0E30", "0.001")) {
            assertTrue(
                    requireNonNull(other.getMessage()).contains(part),
                    () -> "no '" + part + "' in: " + other.getMessage());
        }
        assertTrue(
                requireNonNull(other.getMessage()).endsWith("or delete this one to start again"), other.getMessage());
        assertArrayEquals(sound, Files.readAllBytes(checkpoint));
        assertTrue(Files.exists(stage.run(SANE, folder.resolve(name + "-again"), context(false))));
    }

    private static List<String> names(Path run) throws Exception {
        try (var files = Files.list(run)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    /** Of a run in silence, which may be asked to stop after its first step. */
    private static RunContext context(boolean stopping) {
        StopSignal stop = new StopSignal();
        if (stopping) {
            stop.request();
        }
        return new RunContext(event -> {}, stop, Device.cpu(1), DType.F32);
    }

    private static Recipe recipe(Recipe defaults, double lr) {
        return defaults.withBatch(4)
                .withRate(STEPS, new LearningRate(LearningRate.Shape.COSINE, lr, SANE, SANE, 2, STEPS))
                .withMaskRatio(.5)
                .withAugment(false)
                .withSeed(3);
    }

    private Path pretrain(double lr, Path out, RunContext context) {
        Pretraining stage = Pretraining.defaults(Modality.RGB).withLambda(1);
        VideoMaeConfig config = new ModalityInput(GEOMETRY, 4, ModalityInput.TUBELET, FlowStats.NONE)
                .config(Modality.RGB, new ModelSize(16, 1, 2, 8, 1, 1));
        try (ClipSet source = clips(Split.SOURCE_TRAIN, Domain.SOURCE);
                ClipSet target = clips(Split.TARGET_UNLABELLED, Domain.WORKSHOP)) {
            return stage.withRecipe(recipe(stage.recipe(), lr)).run(config, source, target, null, out, context);
        }
    }

    private Path distil(Path teacher, double lr, Path out, RunContext context) {
        Distillation stage = Distillation.defaults().withWeights(Map.of(Modality.RGB, 1.0));
        try (ClipSet target = clips(Split.TARGET_UNLABELLED, Domain.WORKSHOP)) {
            return stage.withRecipe(recipe(stage.recipe(), lr))
                    .run(Map.of(Modality.RGB, teacher), target, out, context);
        }
    }

    private static ClipSet clips(Split split, Domain domain) {
        return EgoSimClips.render(new EgoSim(GEOMETRY, 3), split, domain, 1, Set.of(Modality.RGB), i -> {});
    }
}
