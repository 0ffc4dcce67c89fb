package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Losses;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;

/** Losses on a GPU against the plain kernels in f64 on the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaLossesTest extends OnGpuAndInF64 {
    // ------------------------------------------------------------------------------------------------ cross-entropy

    @Test
    void anImpossibleClassHasNoGradient() {
        double none = Double.NEGATIVE_INFINITY;
        check((kernels, memory) -> {
            Buffer logits = memory.values(none, 1, 2, none, .5, none);
            kernels.losses()
                    .crossEntropy(
                            new RowShape(0, 6),
                            logits,
                            memory.indices(1, 1),
                            0,
                            memory.masterOutput(1),
                            memory.output(0));
            Buffer labels = memory.upload(DType.I32, 2);
            kernels.losses()
                    .crossEntropy(new RowShape(1, 6), logits, labels, 0, memory.masterOutput(1), memory.output(6));
            Buffer weights = memory.upload(memory.master, 1);
            kernels.losses()
                    .distillationLoss(
                            new RowShape(1, 6),
                            memory.values(0, 1, 2, 3, 4, 5),
                            new Ensemble(new Buffer[] {logits}, weights, false, 2, 1, 0),
                            null,
                            memory.masterOutput(1),
                            memory.output(6));
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 5, Integer.MAX_VALUE})
    void aLabelOutOfRangeMakesTheLossNotANumber(int label) {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0);
        Buffer logits = memory.normal(10);
        Buffer labels = memory.upload(DType.I32, 1, label);
        Buffer gradient = memory.output(10);
        gpu.kernels().losses().crossEntropy(new RowShape(2, 5), logits, labels, .1, memory.masterOutput(1), gradient);
        gpu.kernels()
                .losses()
                .distillationLoss(
                        new RowShape(2, 5),
                        logits,
                        new Ensemble(new Buffer[] {logits}, memory.upload(DType.F32, 1), false, 1, 1, 1),
                        labels,
                        memory.masterOutput(1),
                        null);
        List<double[]> results = memory.results();
        assertTrue(Double.isNaN(results.get(1)[0]), "cross-entropy");
        assertTrue(Double.isNaN(results.get(2)[0]), "distillation");
        assertTrue(Double.isFinite(values(gradient)[4]) && Double.isNaN(values(gradient)[5]), "gradient by rows");
    }

    // -------------------------------------------------------------------------------------------------- distillation

    @Test
    void tooManyTeachersAreRefused() {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0);
        Buffer x = memory.normal(4);
        Buffer[] nine = {x, x, x, x, x, x, x, x, x};
        Buffer loss = memory.masterOutput(1);
        IllegalArgumentException refusal = assertThrows(
                IllegalArgumentException.class,
                () -> gpu.kernels()
                        .losses()
                        .distillationLoss(
                                new RowShape(2, 2), x, new Ensemble(nine, x, false, 1, 1, 0), null, loss, null));
        assertEquals(
                "distillation_loss: 9 teachers were given but at most 8 fit into one launch; combine some of them"
                        + " first",
                refusal.getMessage());
        Memory wide = new Memory(gpu, DType.F64, DType.F64, DType.F64, 0);
        Buffer y = gpu.allocate(DType.F64, 4);
        IllegalArgumentException type = assertThrows(
                IllegalArgumentException.class,
                () -> gpu.kernels().losses().crossEntropy(new RowShape(2, 2), y, memory.indices(2, 2), 0, loss, null));
        assertTrue(String.valueOf(type.getMessage()).contains("f32 or bf16 but was given f64"), type.getMessage());
        assertTrue(wide.results().isEmpty());
    }

    @Test
    void otherTypesOfLabelsWeightsAndLossesAreRefused() {
        Device gpu = Device.cuda(0);
        Losses losses = gpu.kernels().losses();
        Memory memory = new Memory(gpu, DType.BF16, DType.F32, DType.BF16, 0);
        RowShape shape = new RowShape(2, 2);
        Buffer x = memory.normal(4);
        Buffer[] one = {x};
        Buffer labels = memory.indices(2, 2);
        Buffer loss = memory.masterOutput(1);
        Buffer half = memory.output(1);
        refused("bf16 where f32 is needed", () -> losses.crossEntropy(shape, x, labels, 0, half, null));
        refused("f32 where i32 is needed", () -> losses.crossEntropy(shape, x, memory.master(2), 0, loss, null));
        refused("mean_squared_error on cuda:0 was given bf16", () -> losses.meanSquaredError(x, x, half, null));
        refused(
                "feature_loss on cuda:0 was given bf16",
                () -> losses.featureLoss(one, one, new double[] {1}, half, loss, null));
        Ensemble rounded = new Ensemble(one, half, false, 1, 1, 0);
        refused(
                "distillation_loss on cuda:0 was given bf16",
                () -> losses.distillationLoss(shape, x, rounded, null, loss, null));
        PatchTarget target = new PatchTarget(geometry(1, 1, 1, 2, false), 1, 0, false);
        refused(
                "reconstruction_loss on cuda:0 was given bf16",
                () -> gpu.kernels()
                        .patches()
                        .reconstructionLoss(target, memory.bytes(24), memory.indices(1, 1), x, half, null));
    }

    @Test
    void nothingHasTheLossZero() {
        check((kernels, memory) -> {
            Buffer none = memory.normal(0);
            Buffer labels = memory.indices(0, 1);
            kernels.losses().crossEntropy(new RowShape(0, 5), none, labels, .1, memory.masterOutput(1), none);
            Buffer weights = memory.positive(0);
            kernels.losses()
                    .distillationLoss(
                            new RowShape(0, 5),
                            none,
                            new Ensemble(new Buffer[] {none}, weights, true, 2, 1, 1),
                            labels,
                            memory.masterOutput(1),
                            none);
            kernels.losses()
                    .featureLoss(
                            new Buffer[0],
                            new Buffer[0],
                            new double[0],
                            weights,
                            memory.masterOutput(1),
                            new Buffer[0]);
            kernels.patches()
                    .reconstructionLoss(
                            new PatchTarget(geometry(2, 3, 2, 4, false), 0, 1e-6, true),
                            memory.bytes(0),
                            labels,
                            none,
                            memory.masterOutput(1),
                            none);
        });
    }

    // ------------------------------------------------------------------------------------------------ reconstruction

    private static PatchGeometry geometry(long batch, int channels, int tubelet, int patch, boolean channelFirst) {
        int frames = 2 * tubelet;
        int height = 3 * patch;
        int width = 2 * patch;
        long plane = (long) height * width;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        java.util.Arrays.fill(std, .5);
        return channelFirst
                ? new PatchGeometry(
                        batch,
                        frames,
                        height,
                        width,
                        channels,
                        tubelet,
                        patch,
                        (long) channels * frames * plane,
                        plane,
                        width,
                        1,
                        frames * plane,
                        1 / 255.0,
                        mean,
                        std)
                : new PatchGeometry(
                        batch,
                        frames,
                        height,
                        width,
                        channels,
                        tubelet,
                        patch,
                        (long) channels * frames * plane,
                        channels * plane,
                        (long) channels * width,
                        channels,
                        1,
                        1 / 255.0,
                        mean,
                        std);
    }

    @Test
    void aConstantPatchHasTheTargetZero() {
        PatchGeometry geometry = geometry(1, 3, 2, 16, false);
        int pixels = geometry.patches() * geometry.patchLength();
        double[] grey = new double[pixels];
        java.util.Arrays.fill(grey, 77);
        check((kernels, memory) -> kernels.patches()
                .reconstructionLoss(
                        new PatchTarget(geometry, 1, 1e-6, true),
                        memory.upload(DType.U8, grey),
                        memory.upload(DType.I32, 4),
                        memory.normal(geometry.patchLength()),
                        memory.masterOutput(1),
                        memory.output(geometry.patchLength())));
    }
}
