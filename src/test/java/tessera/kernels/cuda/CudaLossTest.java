package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.kernels.Kernels;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Optimiser.Clip;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.scalar.PlainDevice;

/** Losses and the optimiser on a GPU against the plain kernels in f64 on the CPU. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaLossTest {
    private static final double F32_ERROR = 3e-6;
    private static final Device PLAIN = PlainDevice.create();

    private interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /** The same values on every device: rounded to the type that the GPU gets, exact for the reference. */
    private static final class Memory {
        private final Device device;
        private final DType data;
        private final DType master;
        private final DType rounding;
        private final int offset;
        private final Random random = new Random(5);
        private final List<Buffer> outputs = new ArrayList<>();

        Memory(Device device, DType data, DType master, DType rounding, int offset) {
            this.device = device;
            this.data = data;
            this.master = master;
            this.rounding = rounding;
            this.offset = offset;
        }

        private Buffer make(DType dtype, long n) {
            return device.allocate(dtype, n + offset).slice(offset, n);
        }

        private Buffer upload(DType dtype, double... values) {
            Buffer buffer = make(dtype, values.length);
            try (Buffer host = Device.cpu().allocate(dtype, values.length)) {
                for (int i = 0; i < values.length; i++) {
                    Elements.set(host, i, values[i]);
                }
                host.copyTo(buffer);
            }
            return buffer;
        }

        private double[] draw(int n, double scale, double shift, DType type) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                float value = (float) (scale * random.nextGaussian() + shift);
                values[i] = type == DType.BF16 ? Elements.fromBf16(Elements.toBf16(value)) : value;
            }
            return values;
        }

        Buffer normal(int n, double scale, double shift) {
            return upload(data, draw(n, scale, shift, rounding));
        }

        Buffer normal(int n) {
            return normal(n, 1, 0);
        }

        Buffer master(int n) {
            return upload(master, draw(n, 1, 0, DType.F32));
        }

        Buffer positive(int n) {
            double[] values = draw(n, 1, 0, DType.F32);
            for (int i = 0; i < n; i++) {
                values[i] = (float) Math.abs(values[i]);
            }
            return upload(master, values);
        }

        Buffer values(double... values) {
            return upload(data, values);
        }

        Buffer bytes(int n) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                values[i] = random.nextInt(256);
            }
            return upload(DType.U8, values);
        }

        Buffer indices(int n, int bound) {
            double[] values = new double[n];
            for (int i = 0; i < n; i++) {
                values[i] = random.nextInt(bound);
            }
            return upload(DType.I32, values);
        }

        Buffer output(int n) {
            return written(make(data, n));
        }

        Buffer masterOutput(int n) {
            return written(make(master, n));
        }

        Buffer written(Buffer buffer) {
            outputs.add(buffer);
            return buffer;
        }

        List<double[]> results() {
            return outputs.stream().map(CudaLossTest::values).toList();
        }
    }

    private static double[] values(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
            buffer.copyTo(host);
            double[] values = new double[(int) host.length()];
            Elements.load(host, 0, values.length, values, 0);
            return values;
        }
    }

    private static List<double[]> results(DType type, int offset, Call call) {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, type, DType.F32, type, offset);
        call.run(gpu.kernels(), memory);
        return memory.results();
    }

    /** In f32 and bf16, aligned and not, three times with the same bits. */
    private static void check(Call call) {
        for (DType type : List.of(DType.F32, DType.BF16)) {
            Memory reference = new Memory(Device.cpu(), DType.F64, DType.F64, type, 0);
            call.run(Device.cpu().kernels(), reference);
            List<double[]> expected = reference.results();
            Memory plain = new Memory(PLAIN, type, DType.F32, type, 0);
            call.run(PLAIN.kernels(), plain);
            for (int offset = 0; offset < 2; offset++) {
                List<double[]> actual = results(type, offset, call);
                for (int i = 0; i < expected.size(); i++) {
                    String what = type + " output " + i + " offset " + offset;
                    double bound = type == DType.F32
                            ? F32_ERROR
                            : PlainDevice.bound(
                                    plain.outputs.get(i).dtype(), values(plain.outputs.get(i)), expected.get(i));
                    Close.relative(actual.get(i), expected.get(i), bound, what);
                }
                for (int again = 0; again < 2; again++) {
                    List<double[]> repeated = results(type, offset, call);
                    for (int i = 0; i < expected.size(); i++) {
                        assertArrayEquals(/* expected= */ actual.get(i), /* actual= */ repeated.get(i));
                    }
                }
            }
        }
    }

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
                            new Buffer[0], new Buffer[0], new double[0], none, memory.masterOutput(1), new Buffer[0]);
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

    // ---------------------------------------------------------------------------------------------------- optimiser

    @Test
    void adamWWritesShadows() {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.BF16, DType.F32, DType.BF16, 0);
        int[] sizes = {5000, 7};
        Buffer[] p = new Buffer[2];
        Buffer[] g = new Buffer[2];
        Buffer[] m = new Buffer[2];
        Buffer[] v = new Buffer[2];
        for (int i = 0; i < 2; i++) {
            p[i] = memory.master(sizes[i]);
            g[i] = i == 0 ? memory.normal(sizes[i]) : memory.master(sizes[i]);
            m[i] = memory.master(sizes[i]);
            v[i] = memory.positive(sizes[i]);
        }
        Buffer[] shadows = {memory.output(sizes[0]), null};
        gpu.kernels()
                .optimiser()
                .adamW(
                        new AdamWTensors(p, g, m, v, shadows, new double[2]),
                        new AdamWStep(1e-3, .9, .95, 1e-8, 1, null));
        double[] expected = values(p[0]);
        for (int i = 0; i < expected.length; i++) {
            expected[i] = Elements.fromBf16(Elements.toBf16(expected[i]));
        }
        assertArrayEquals(expected, memory.results().getFirst());
    }

    @Test
    void normsThatAreNotFiniteStayVisible() {
        Device gpu = Device.cuda(0);
        for (DType type : List.of(DType.F32, DType.BF16)) {
            for (double odd : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
                Memory memory = new Memory(gpu, type, DType.F32, type, 0);
                Buffer[] g = {memory.normal(5000), memory.values(1, odd, 2)};
                Buffer norm = memory.masterOutput(1);
                gpu.kernels().optimiser().globalNorm(g, norm);
                assertEquals(odd, values(norm)[0]);
                Buffer[] p = {memory.master(5000), memory.master(3)};
                Buffer[] m = {memory.master(5000), memory.master(3)};
                Buffer[] v = {memory.positive(5000), memory.positive(3)};
                gpu.kernels()
                        .optimiser()
                        .adamW(
                                new AdamWTensors(p, g, m, v, null, new double[2]),
                                new AdamWStep(1e-3, .9, .95, 1e-8, 1, new Clip(norm, 1)));
                for (double value : values(p[0])) {
                    assertEquals(Double.isNaN(odd), Double.isNaN(value), odd + " makes " + value);
                }
                assertTrue(Double.isNaN(values(p[1])[1]));
            }
        }
    }

    @Test
    void normsOfOtherTypesAreRefused() {
        Device gpu = Device.cuda(0);
        Memory memory = new Memory(gpu, DType.F32, DType.F32, DType.F32, 0);
        Buffer x = memory.master(3);
        Buffer norm = memory.masterOutput(1);
        refused(
                "global_norm on cuda:0: gradient 1 is f64; keep gradients in f32 or bf16, or compute on the cpu",
                () -> gpu.kernels().optimiser().globalNorm(new Buffer[] {x, memory.make(DType.F64, 2)}, norm));
        refused(
                "for the norm; pass one element of f32",
                () -> gpu.kernels().optimiser().globalNorm(new Buffer[] {x}, memory.masterOutput(2)));
        Buffer[] one = {x};
        refused(
                "adamw on cuda:0 was given bf16[1] on cuda:0 for the norm; pass one element of f32",
                () -> gpu.kernels()
                        .optimiser()
                        .adamW(
                                new AdamWTensors(one, one, one, one, null, new double[1]),
                                new AdamWStep(1e-3, .9, .95, 1e-8, 1, new Clip(memory.make(DType.BF16, 1), 1))));
    }

    private static void refused(String part, Runnable call) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    }

    /** Parameters with their moments, a gradient that each step replaces, and what stochastic depth makes of it. */
    private static final class Trained {
        private final Device gpu = Device.cuda(0);
        private final Memory memory = new Memory(gpu, DType.BF16, DType.F32, DType.BF16, 0);
        private final Buffer[] p = {memory.master(5000), memory.master(7)};
        private final Buffer[] m = {memory.master(5000), memory.master(7)};
        private final Buffer[] v = {memory.positive(5000), memory.positive(7)};
        private final Buffer[] g = {memory.normal(5000), memory.normal(7)};
        private final Buffer dropped = memory.output(5000);
        private final Buffer norm = memory.masterOutput(1);

        void compute(double lr, long step) {
            gpu.kernels().optimiser().globalNorm(g, norm);
            gpu.kernels()
                    .optimiser()
                    .adamW(
                            new AdamWTensors(p, g, m, v, null, new double[2]),
                            new AdamWStep(lr, .9, .95, 1e-8, step, new Clip(norm, 50)));
            gpu.kernels().random().dropPath(new RandomStream(3, 40 + step), null, g[0], .5, 50, dropped);
        }

        /** New gradients, of a norm below and above the largest in turn. */
        void renew(int step) {
            try (Buffer other = memory.normal(5000, step % 2 == 0 ? .1 : 3, 0)) {
                other.copyTo(g[0]);
            }
        }

        List<double[]> state() {
            return List.of(values(p[0]), values(p[1]), values(m[0]), values(v[0]), values(norm), values(dropped));
        }
    }

    @Test
    void aRecordedStepClipsAsOneOfItsOwn() {
        Trained direct = new Trained();
        Trained replayed = new Trained();
        replayed.compute(1e-2, 1);
        direct.compute(1e-2, 1);
        try (Graph graph = replayed.gpu.record(() -> replayed.compute(1e-2, 2))) {
            for (int step = 2; step < 6; step++) {
                direct.renew(step);
                direct.compute(1e-2 / step, step);
                replayed.renew(step);
                graph.launch(new Graph.Variables(0, step - 2, 1e-2 / step, step));
                List<double[]> expected = direct.state();
                List<double[]> actual = replayed.state();
                for (int i = 0; i < expected.size(); i++) {
                    assertArrayEquals(expected.get(i), actual.get(i), "step " + step + " state " + i);
                }
            }
        }
    }
}
