package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.videomae.VideoMaePretraining;

class MotionGainTest {
    private static final RunContext CONTEXT = new RunContext(ProgressListener.NONE, new StopSignal());

    @TempDir
    Path folder;

    private static Pretraining stage(double gain, double rate) {
        return new Pretraining(
                        Modality.RGB,
                        true,
                        1,
                        0,
                        Pretraining.defaults(Modality.RGB)
                                .recipe()
                                .over(4, rate)
                                .withBatch(2)
                                .withMaskRatio(.5))
                .withMotionGain(gain);
    }

    private Path run(Pretraining stage, @Nullable Path start, String name) {
        try (ClipSet clips = SmallNetworks.clips()) {
            return stage.run(SmallNetworks.config(Modality.RGB), clips, clips, start, folder.resolve(name), CONTEXT);
        }
    }

    private static float[] embedding(Path model) {
        try (Checkpoint checkpoint = Checkpoint.read(model)) {
            return requireNonNull(checkpoint.tensors().get(VideoMaePretraining.EMBEDDING))
                    .toFloats();
        }
    }

    /** Files are of pixels: what is read from one and hardly trained is written as it was, whatever the gain. */
    @Test
    void weightsComeAndGoAsPixels() {
        Path first = run(stage(4, 1e-3), null, "first");
        Path same = run(stage(4, 1e-12), first, "same");
        Path plain = run(stage(1, 1e-12), first, "plain");
        Close.relative(embedding(same), embedding(first), 1e-5, "through the basis");
        Close.relative(embedding(same), embedding(plain), 1e-5, "the same as without");
        assertFalse(Arrays.equals(embedding(first), embedding(run(stage(1, 1e-3), null, "other"))));
    }

    @Test
    void aRunGoesOnWithItsGainAlone() throws Exception {
        run(stage(4, 1e-3), null, "run");
        CheckpointException refused = assertThrows(CheckpointException.class, () -> run(stage(2, 1e-3), null, "run"));
        assertTrue(String.valueOf(refused.getMessage()).contains("motionGain was 4"), refused.getMessage());
        assertTrue(Files.exists(folder.resolve("run").resolve(Pretraining.MODEL)));
    }

    /** A run made before there was a gain goes on: its settings lack it and stand for 1. */
    @Test
    void olderRunsHaveNoGain() {
        Settings now = Pretraining.defaults(Modality.RGB).settings();
        Settings older = Settings.parse(now.json().replaceFirst(",?\"motionGain\":1(\\.0)?", ""));
        assertFalse(older.values().containsKey("motionGain"));
        assertTrue(older.differences(now, now).isEmpty());
    }

    @Test
    void impossibleSettingsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> stage(0, 1e-3));
    }
}
