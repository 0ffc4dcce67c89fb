package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.MemoryNow;
import tessera.distill.data.ClipSet;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;

/** Ten thousand steps of training of small networks: what stays behind. */
class EnduranceTest {
    private static final int STEPS = 10_000;
    /** Steps after which all memory was asked for and most code is compiled. */
    private static final int WARM = STEPS / 2;

    @TempDir
    private Path folder;

    @Test
    void memoryIsFlatOverManySteps() {
        Device device = Device.cpu(2);
        List<MemoryNow> uses = new ArrayList<>();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced
                    && advanced.task().unit() == Task.Unit.STEPS
                    && (advanced.done() == WARM || advanced.done() == STEPS)) {
                uses.add(MemoryNow.read(device));
            }
        };
        try (ClipSet clips = SmallNetworks.clips()) {
            Recipe recipe = MixedStage.recipe().over(STEPS, 1e-3);
            Trainer.run(
                    new MixedStage(clips).stage(recipe, MaskStrategy.tubes(), 1),
                    folder.resolve("run"),
                    new RunContext(watching, new StopSignal(), device, DType.F32));
        }
        assertEquals(2, uses.size());
        MemoryNow warm = uses.getFirst();
        MemoryNow end = uses.getLast();
        // Another thread prepares the next batch meanwhile, of some buffers; a buffer lost in every step would be
        // hundreds.
        long buffers = end.device().liveBuffers() - warm.device().liveBuffers();
        assertTrue(Math.abs(buffers) <= 64, buffers + " buffers more are live");
        long bytes = end.device().live() - warm.device().live();
        assertTrue(Math.abs(bytes) <= 1 << 20, bytes + " bytes more are live");
        end.requireNoGrowthSince(warm);
    }
}
