package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;
import tessera.tensor.TestDevices;
import tessera.tensor.TokenMask;

/** A stage that mixes features and logits on a GPU, where its steps are recorded, against the same on the CPU. */
@Tag(FakeCuda.TAG)
class CudaTrainerTest {
    @TempDir
    private Path folder;

    /** Masks that cannot be recorded, as a user's may be. */
    private static final MaskStrategy OWN =
            c -> TokenMask.perSlot(c.device(), c.batch(), c.slots(), c.plane(), c.ratio(), c.seed(), c.stream());

    private Path train(String name, ClipSet clips, MaskStrategy masks, Device device, long last) {
        return train(name, clips, MixedStage.recipe(), masks, device, last);
    }

    private Path train(String name, ClipSet clips, Recipe recipe, MaskStrategy masks, Device device, long last) {
        StopSignal stop = new StopSignal();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == last) {
                stop.request();
            }
        };
        Stage stage = new MixedStage(clips).stage(recipe, masks, 1);
        return Trainer.run(stage, folder.resolve(name), new RunContext(watching, stop, device, DType.F32));
    }

    private double[] losses(String name) {
        return MetricsLog.read(folder.resolve(name).resolve("metrics.jsonl")).stream()
                .mapToDouble(line -> line.values().getOrDefault(Metric.LOSS, Double.NaN))
                .toArray();
    }

    @Test
    void recordedStepsAreThoseOfTheCpu() throws Exception {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        Device gpu = TestDevices.cuda().getFirst();
        try (ClipSet clips = SmallNetworks.clips()) {
            int which = 0;
            for (MaskStrategy masks : new MaskStrategy[] {MaskStrategy.tubes(), OWN}) {
                String name = which++ == 0 ? "tubes" : "own";
                train(name + "-cpu", clips, masks, Device.cpu(), 0);
                byte[] whole = Files.readAllBytes(train(name, clips, masks, gpu, 0));
                Close.relative(losses(name), losses(name + "-cpu"), 1e-4, name);
                assertThrows(StopSignal.Stopped.class, () -> train(name + "-cut", clips, masks, gpu, 3));
                assertArrayEquals(whole, Files.readAllBytes(train(name + "-cut", clips, masks, gpu, 0)), name);
            }
        }
    }

    @Test
    void theBatchesOfAStepAreRecordedTogether() throws Exception {
        Assumptions.assumeFalse(
                TestDevices.cuda().isEmpty(), TestDevices.absent().toString());
        Device gpu = TestDevices.cuda().getFirst();
        Recipe recipe = MixedStage.recipe().withBatch(2).withAccumulate(2);
        try (ClipSet clips = SmallNetworks.clips()) {
            for (MaskStrategy masks : new MaskStrategy[] {MaskStrategy.tubes(), OWN}) {
                String name = masks.equals(OWN) ? "own" : "tubes";
                train(name + "-cpu", clips, recipe, masks, Device.cpu(), 0);
                byte[] whole = Files.readAllBytes(train(name, clips, recipe, masks, gpu, 0));
                Close.relative(losses(name), losses(name + "-cpu"), 1e-4, name);
                assertThrows(StopSignal.Stopped.class, () -> train(name + "-cut", clips, recipe, masks, gpu, 3));
                assertArrayEquals(whole, Files.readAllBytes(train(name + "-cut", clips, recipe, masks, gpu, 0)), name);
            }
        }
    }
}
