package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.nn.Checkpoint;
import tessera.nn.MaskStrategy;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.TestDevices;

/** Two devices that share each batch train what one device does. */
@Tag(FakeCuda.TAG)
class CudaReplicasTest {
    private static final VideoMaeConfig CONFIG = Lessons.config(Modality.RGB, 16);

    @TempDir
    private Path folder;

    private List<Device> two = List.of();
    private List<Device> one = List.of();

    @BeforeEach
    void start() {
        two = TestDevices.two();
        one = two.subList(0, 1);
    }

    @AfterEach
    void end() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    private static Supervised stage(int batch, int accumulate, double dropPath) {
        return Supervised.defaults(Modality.RGB)
                .withRecipe(Lessons.recipe()
                        .withBatch(batch)
                        .withAccumulate(accumulate)
                        .withClipNorm(.5)
                        .withDropPath(dropPath));
    }

    private static RunContext context(List<Device> devices, DType compute, long last) {
        StopSignal stop = new StopSignal();
        ProgressListener watching = event -> {
            if (event instanceof ProgressEvent.Advanced advanced && advanced.done() == last) {
                stop.request();
            }
        };
        return new RunContext(watching, stop, devices.getFirst(), compute)
                .sharedWith(devices.subList(1, devices.size()));
    }

    private Path train(String name, Supervised stage, RunContext context) {
        try (ClipSet clips = Lessons.clips(1)) {
            return stage.run(CONFIG, clips, null, folder.resolve(name), context);
        }
    }

    private void pretrain(String name, Pretraining stage, List<Device> devices) {
        try (ClipSet clips = Lessons.clips(1)) {
            stage.run(
                    SmallNetworks.config(Modality.RGB),
                    clips,
                    clips,
                    null,
                    folder.resolve(name),
                    context(devices, DType.F32, 0));
        }
    }

    private double[] metrics(String name, Metric metric) {
        return MetricsLog.read(folder.resolve(name).resolve(Trainer.METRICS)).stream()
                .mapToDouble(line -> line.values().getOrDefault(metric, Double.NaN))
                .toArray();
    }

    private static Map<String, float[]> weights(Path file) {
        Map<String, float[]> weights = new TreeMap<>();
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            checkpoint.tensors().forEach((name, weight) -> weights.put(name, weight.toFloats()));
        }
        return weights;
    }

    private static void assertSame(Path expected, Path actual) {
        Map<String, float[]> wanted = weights(expected);
        Map<String, float[]> got = weights(actual);
        assertEquals(wanted.keySet(), got.keySet());
        wanted.forEach((name, weight) -> assertArrayEquals(weight, got.get(name), name));
    }

    /** A sum of two is the same whoever adds: all draws, all bits of weights and metrics. */
    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void theyAreOneDeviceThatAccumulatesTheirShares(DType compute) throws Exception {
        Path shared = train("shared", stage(4, 1, .3), context(two, compute, 0));
        assertTrue(FakeCuda.calls("ncclAllReduce") >= 2 * 2, "nothing was added up");
        Path alone = train("alone", stage(2, 2, .3), context(one, compute, 0));
        assertSame(alone, shared);
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("alone").resolve(Trainer.METRICS)),
                Files.readAllBytes(folder.resolve("shared").resolve(Trainer.METRICS)));
    }

    /** With several batches a step and masks that look at clips, sums have other orders, which rounding alone tells apart. */
    @Test
    void partsAndBatchesOfAStepAreShared() {
        Pretraining standard = Pretraining.defaults(Modality.RGB).withLambda(1);
        Recipe recipe = standard.recipe()
                .withBatch(4)
                .over(Lessons.STEPS, 1e-3)
                .withMaskRatio(.5)
                .withClipNorm(.5)
                .withStrategy(MaskStrategy.of("motion"));
        pretrain("shared", standard.withRecipe(recipe.withAccumulate(2)), two);
        pretrain("alone", standard.withRecipe(recipe.withBatch(2).withAccumulate(4)), one);
        for (Metric metric : List.of(Metric.LOSS, Metric.GRADIENT_NORM)) {
            Close.relative(metrics("shared", metric), metrics("alone", metric), 1e-3, metric.id());
        }
    }

    /** A whole batch on one device has other sums; a run may go from one number of devices to another. */
    @Test
    void runsGoOnWithAnotherNumberOfDevices() throws Exception {
        Supervised stage = stage(4, 1, 0);
        Path whole = train("two", stage, context(two, DType.F32, 0));
        train("one", stage, context(one, DType.F32, 0));
        assertThrows(StopSignal.Stopped.class, () -> train("again", stage, context(two, DType.F32, 3)));
        assertSame(whole, train("again", stage, context(two, DType.F32, 0)));
        assertThrows(StopSignal.Stopped.class, () -> train("fewer", stage, context(two, DType.F32, 3)));
        train("fewer", stage, context(one, DType.F32, 0));
        assertThrows(StopSignal.Stopped.class, () -> train("more", stage, context(one, DType.F32, 2)));
        train("more", stage, context(two, DType.F32, 0));
        for (String name : List.of("two", "fewer", "more")) {
            Close.relative(metrics(name, Metric.LOSS), metrics("one", Metric.LOSS), 1e-3, name);
            Close.relative(metrics(name, Metric.GRADIENT_NORM), metrics("one", Metric.GRADIENT_NORM), 1e-2, name);
        }
    }

    /** A stage like another whose objective fails on the second device. */
    private static Stage failing(Stage stage, Device where) {
        return new Stage(
                stage.name(),
                stage.recipe(),
                stage.settings(),
                stage.defaults(),
                context -> {
                    Stage.Setup setup = stage.build().apply(context);
                    if (!context.device().equals(where)) {
                        return setup;
                    }
                    Stage.Part part = setup.parts().getFirst();
                    Objective fails = look -> {
                        throw new UnsupportedOperationException("this device has had enough");
                    };
                    return new Stage.Setup(
                            setup.trained(),
                            setup.sees(),
                            setup.student(),
                            setup.teachers(),
                            List.of(new Stage.Part(part.batches(), fails, part.stream())),
                            setup.masks(),
                            setup.maskStream());
                },
                stage.export());
    }

    private List<Long> liveBuffers() {
        return two.stream().map(device -> device.memory().liveBuffers()).toList();
    }

    @Test
    void whatFailsOnOneEndsTheRun() {
        train("warm", stage(4, 1, 0), context(two, DType.F32, 0));
        long handles = FakeCuda.liveHandles();
        List<Long> buffers = liveBuffers();
        try (ClipSet clips = Lessons.clips(1)) {
            Stage whole = stage(4, 1, 0).stage(CONFIG, clips, null);
            for (Device device : two) {
                Exception e = assertThrows(
                        UnsupportedOperationException.class,
                        () -> Trainer.run(
                                failing(whole, device), folder.resolve("failing"), context(two, DType.F32, 0)));
                assertEquals("this device has had enough", e.getMessage());
            }
        }
        for (int call : new int[] {2, 3}) { // one of the first step, one that is being recorded
            FakeCuda.fail("ncclAllReduce", call, 2);
            DeviceException e = assertThrows(
                    DeviceException.class, () -> train("failed", stage(4, 1, 0), context(two, DType.F32, 0)));
            assertTrue(
                    String.valueOf(e.getMessage()).startsWith("ncclAllReduce failed: ncclSystemError (2)"),
                    e.getMessage());
        }
        assertEquals(handles, FakeCuda.liveHandles());
        assertEquals(buffers, liveBuffers());
        train("failed", stage(4, 1, 0), context(two, DType.F32, 0));
    }

    @Test
    void batchesThatCannotBeSharedAreRefused() {
        Exception odd = assertThrows(
                IllegalArgumentException.class, () -> train("odd", stage(3, 1, 0), context(two, DType.F32, 0)));
        assertEquals(
                "batches of 3 clips cannot be shared evenly by 2 devices; use batches of a multiple of 2 clips, or fewer"
                        + " devices",
                odd.getMessage());
        Exception many = assertThrows(
                IllegalArgumentException.class, () -> train("many", stage(4, 256, 0), context(two, DType.F32, 0)));
        assertTrue(
                String.valueOf(many.getMessage()).endsWith("more than 256 parts; accumulate fewer batches"),
                many.getMessage());
    }
}
