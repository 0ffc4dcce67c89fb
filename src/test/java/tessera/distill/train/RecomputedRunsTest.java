package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.TestDevices;

/** Stages whose models are recomputed give the file that they give without, and may change between both when they resume. */
class RecomputedRunsTest {
    private static final int STEPS = 5;

    @TempDir
    private Path folder;

    private Path pretrain(String name, ClipSet clips, Device device, boolean recompute, long last) {
        StopSignal stop = new StopSignal();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == last) {
                stop.request();
            }
        };
        Pretraining standard = Pretraining.defaults(Modality.RGB);
        Recipe recipe = standard.recipe()
                .withBatch(2)
                .over(STEPS, 1e-2)
                .withMaskRatio(.5)
                .withDropPath(.3)
                .withClipNorm(1);
        return standard.withRecipe(recipe)
                .run(
                        SmallNetworks.config(Modality.RGB),
                        clips,
                        clips,
                        null,
                        folder.resolve(name),
                        new RunContext(watching, stop, device, DType.F32).recomputing(recompute));
    }

    private void check(Device device) throws Exception {
        try (ClipSet clips = SmallNetworks.clips()) {
            byte[] plain = Files.readAllBytes(pretrain("plain", clips, device, false, 0));
            assertArrayEquals(plain, Files.readAllBytes(pretrain("again", clips, device, true, 0)));
            for (boolean first : List.of(true, false)) {
                String name = "first " + first;
                assertThrows(StopSignal.Stopped.class, () -> pretrain(name, clips, device, first, 3));
                assertArrayEquals(plain, Files.readAllBytes(pretrain(name, clips, device, !first, 0)), name);
            }
        }
    }

    @Test
    void onTheCpu() throws Exception {
        check(Device.cpu());
    }

    /** There the steps are recorded, and with them the blocks that are run again. */
    @Test
    @Tag(FakeCuda.TAG)
    void onAGpu() throws Exception {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        check(TestDevices.cuda().getFirst());
    }
}
