package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.ClipSet;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;

/** Ten thousand steps of training of small networks: what stays behind. */
class EnduranceTest {
    private static final int STEPS = 10_000;
    /** Steps after which all memory was asked for and most code is compiled. */
    private static final int WARM = STEPS / 2;
    /** What the Java heap and its compiler may grow by meanwhile; 10 000 steps that each lost a tensor of 4 KB lost 40 MB. */
    private static final long GROWTH = 96L << 20;

    private static final Path STATM = Path.of("/proc/self/statm");

    @TempDir
    private Path folder;

    private record Use(Device.MemoryUse device, long resident) {
        static Use now() {
            return new Use(Device.cpu().memory(), residentBytes());
        }
    }

    private static long residentBytes() {
        try {
            return Files.exists(STATM)
                    ? 4096 * Long.parseLong(Files.readString(STATM).split(" ", -1)[1])
                    : 0;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void memoryIsFlatOverManySteps() {
        List<Use> uses = new ArrayList<>();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced
                    && advanced.task().unit() == Task.Unit.STEPS
                    && (advanced.done() == WARM || advanced.done() == STEPS)) {
                uses.add(Use.now());
            }
        };
        try (ClipSet clips = SmallNetworks.clips()) {
            Recipe recipe = MixedStage.recipe().over(STEPS, 1e-3);
            Trainer.run(
                    new MixedStage(clips).stage(recipe, MaskStrategy.tubes(), 1),
                    folder.resolve("run"),
                    new RunContext(watching, new StopSignal(), Device.cpu(), DType.F32));
        }
        assertEquals(2, uses.size());
        Use warm = uses.getFirst();
        Use end = uses.getLast();
        // Another thread prepares the next batch meanwhile, of some buffers; a buffer lost in every step would be
        // hundreds.
        long buffers = end.device().liveBuffers() - warm.device().liveBuffers();
        assertTrue(Math.abs(buffers) <= 64, buffers + " buffers more are live");
        long bytes = end.device().live() - warm.device().live();
        assertTrue(Math.abs(bytes) <= 1 << 20, bytes + " bytes more are live");
        assertTrue(
                end.resident() - warm.resident() <= GROWTH,
                "from " + warm.resident() + " to " + end.resident() + " bytes");
    }
}
