package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.KernelParity;
import tessera.kernels.Kernels;
import tessera.kernels.Losses.Ensemble;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.Tokens.TokenShape;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Erf;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.device.CpuKernels;

/** The f32 kernels against the plain ones in f64, on the same inputs. */
class VectorKernelsTest extends KernelParity {
    @BeforeAll
    static void theVectorApi() {
        RandomRuns.endFirstRuns();
    }

    private static final Device DEVICE = Device.cpu(2);
    private static final Workers TWO = new Workers(2);
    private static final Kernels FAST = CpuKernels.create(TWO, new HostMemory());
    private static final Kernels FAST_ALONE = CpuKernels.create(new Workers(1), new HostMemory());

    @AfterAll
    static void endThreads() {
        TWO.close();
    }

    /** Against f64, aligned and not; then that repetition and the number of threads do not matter. */
    @Override
    protected void check(String what, double tolerance, Call call) {
        List<double[]> expected = reference(false, call);
        for (int offset = 0; offset < 2; offset++) {
            List<double[]> actual = results(FAST, offset, call);
            for (int i = 0; i < expected.size(); i++) {
                Close.relative(actual.get(i), expected.get(i), tolerance, what + " output " + i + " offset " + offset);
            }
            checkSameBits(what + " again", actual, results(FAST, offset, call));
            checkSameBits(what + " a third time", actual, results(FAST, offset, call));
            checkSameBits(what + " on one thread", actual, results(FAST_ALONE, offset, call));
        }
    }

    private static List<double[]> results(Kernels kernels, int offset, Call call) {
        return run(kernels, DEVICE, DType.F32, false, offset, call);
    }

    private static Memory memory(int offset) {
        return new Memory(DEVICE, DType.F32, false, offset);
    }

    private static void checkSameBits(String what, List<double[]> expected, List<double[]> actual) {
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), what);
        }
    }

    @Test
    void isChosenWhereTheVectorApiIsReadable() {
        assertInstanceOf(VectorElementwise.class, DEVICE.kernels().elementwise());
        assertInstanceOf(VectorNorms.class, DEVICE.kernels().norms());
        assertInstanceOf(VectorAttention.class, DEVICE.kernels().attention());
        assertInstanceOf(VectorPatches.class, DEVICE.kernels().patches());
        assertInstanceOf(VectorTokens.class, DEVICE.kernels().tokens());
        assertInstanceOf(VectorLosses.class, DEVICE.kernels().losses());
        assertInstanceOf(VectorOptimiser.class, DEVICE.kernels().optimiser());
    }

    // ------------------------------------------------------------------------------------------------ element-wise

    @ParameterizedTest
    @EnumSource(UnaryOp.class)
    void unaryKeepsNaN(UnaryOp op) {
        Memory memory = memory(0);
        for (int n : new int[] {1, 16, 33}) {
            Buffer x = memory.normal(n);
            Elements.set(x, n - 1, Double.NaN);
            Buffer y = memory.output(n);
            FAST.elementwise().unary(op, x, y);
            assertTrue(Double.isNaN(Elements.get(y, n - 1)), op + " of NaN");
            FAST.elementwise().unaryBackward(op, memory.normal(n), x, y);
            assertTrue(Double.isNaN(Elements.get(y, n - 1)), op + " gradient of NaN");
        }
    }

    @Test
    void derivativeOfGeluOverItsWholeRange() {
        double worst = 0;
        for (int i = 0; i <= 40_000; i++) {
            float x = -8 + 16f * i / 40_000;
            float slope = VectorMath.geluSlope(VectorMath.all(x)).lane(0);
            assertEquals(slope, VectorMath.geluSlope(x), "one lane at " + x);
            double density = Math.exp(-.5 * x * x) / Math.sqrt(2 * Math.PI);
            double expected = .5 * (1 + Erf.erf(x / Math.sqrt(2))) + x * density;
            worst = Math.max(worst, Math.abs(slope - expected));
        }
        Close.within(worst, 0, 5e-7, "error of the derivative of GELU");
    }

    @Test
    void derivativeOfGeluAtExtremes() {
        Memory memory = memory(0);
        Buffer dx = memory.output(6);
        double[] ends = {Double.NEGATIVE_INFINITY, -1e30, -6.5, 6.5, 1e30, Double.POSITIVE_INFINITY};
        FAST.elementwise().unaryBackward(UnaryOp.GELU, memory.values(ends), memory.values(2, 2, 2, 2, 2, 2), dx);
        for (int i = 0; i < ends.length; i++) {
            assertEquals(i < 3 ? 0 : 2, Elements.get(dx, i), "at " + ends[i]);
        }
    }

    @Test
    void geluOfExtremes() {
        Memory memory = memory(0);
        Buffer y = memory.output(4);
        FAST.elementwise().unary(UnaryOp.GELU, memory.values(-1e30, -50, 50, 1e30), y);
        assertEquals(0, Math.abs(Elements.get(y, 0)));
        assertEquals(0, Math.abs(Elements.get(y, 1)));
        assertEquals(50, Elements.get(y, 2));
        assertEquals((float) 1e30, Elements.get(y, 3));
    }

    @Test
    void casts() {
        for (int n : sizesAnd(40_000)) {
            check(
                    "bytes to floats " + n,
                    0,
                    (kernels, memory) -> kernels.elementwise().cast(memory.bytes(n), memory.output(n)));
            Memory memory = memory(1);
            Buffer x = memory.normal(n);
            Buffer half = DEVICE.allocate(DType.BF16, n);
            Buffer expected = DEVICE.allocate(DType.BF16, n);
            FAST.elementwise().cast(x, half);
            REFERENCE.elementwise().cast(x, expected);
            assertEquals(-1, half.segment().mismatch(expected.segment()));
            Buffer wide = DEVICE.allocate(DType.F32, n);
            FAST.elementwise().cast(half, wide);
            for (int i = 0; i < n; i++) {
                assertEquals(Elements.get(half, i), Elements.get(wide, i));
            }
        }
        Memory memory = memory(0);
        Buffer special = memory.values(Double.NaN, Double.POSITIVE_INFINITY, 3.4028235e38, -0.0);
        Buffer half = DEVICE.allocate(DType.BF16, 4);
        FAST.elementwise().cast(special, half);
        assertTrue(Double.isNaN(Elements.get(half, 0)));
        assertEquals(Double.POSITIVE_INFINITY, Elements.get(half, 1));
        assertEquals(Double.POSITIVE_INFINITY, Elements.get(half, 2));
        assertEquals(-0.0, Elements.get(half, 3));
    }

    // -------------------------------------------------------------------------------------------- norm and softmax

    @Test
    void softmaxOfExtremes() {
        Memory memory = memory(0);
        Buffer y = memory.output(3);
        FAST.norms().softmax(new RowShape(1, 3), memory.values(1e4, Double.NEGATIVE_INFINITY, 1e4), false, y);
        assertEquals(0.5, Elements.get(y, 0));
        assertEquals(0, Elements.get(y, 1));
        FAST.norms().softmax(new RowShape(1, 3), memory.values(0, Double.NaN, 1), false, y);
        for (int i = 0; i < 3; i++) {
            assertTrue(Double.isNaN(Elements.get(y, i)));
        }
    }

    // --------------------------------------------------------------------------------------------------- attention

    @Test
    void exponentialsOfScores() {
        int n = 1003;
        float factor = .125f;
        double[] values = new double[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) (i * -.0951 / factor);
        }
        values[7] = Double.NEGATIVE_INFINITY;
        values[n - 1] = Double.NEGATIVE_INFINITY;
        Memory memory = memory(0);
        Buffer x = memory.values(values);
        Buffer y = memory.output(n);
        float sum = VectorRuns.exps(x.segment(), 0, n, factor, .5f, y.segment(), 0);
        double exactSum = 0;
        for (int i = 0; i < n; i++) {
            double in = values[i] * factor + .5;
            double exact = Math.exp(in);
            exactSum += exact;
            double allowed = exact < 1.2e-38 ? 1.2e-38 : exact * (3 - in) * 0x1p-23;
            Close.within(Elements.get(y, i), exact, allowed, "exp " + in);
        }
        Close.within(sum, exactSum, 1e-5 * exactSum, "sum");
        assertEquals(0, Elements.get(y, 7), "of -infinity");
        assertEquals(0, Elements.get(y, n - 1), "of -infinity in the last vector");
        assertEquals(0, Elements.get(y, n - 2), "of what is far below");
        assertEquals(1, VectorRuns.exps(memory.values(0).segment(), 0, 1, 1, 0, y.segment(), 0), "of 0");
        Buffer bad = memory.values(Double.NaN, 0);
        assertTrue(Float.isNaN(VectorRuns.exps(bad.segment(), 0, 2, 1, 0, y.segment(), 0)));
        assertTrue(Double.isNaN(Elements.get(y, 0)));
        assertEquals(1, Elements.get(y, 1));
    }

    /** So many queries that keys and values are copied; the second of two threads begins inside a head, and there are tiles of keys. */
    @Test
    void attentionOfManyQueriesOverManyKeys() {
        checkAttention(1, 3, 600, 1000, 16, 0);
        checkAttention(1, 3, 600, 1000, 24, 1);
        checkAttention(5, 1, 530, 530, 8, 1, 2); // with regions, and blocks of samples that share a bias
    }

    @Test
    void attentionWithMaskedKeys() {
        int keys = 2100;
        Strides strides = new Strides(0, 0, 4);
        AttentionShape shape = new AttentionShape(1, 1, 1, keys, 4, 1, strides, strides, strides, strides, 1);
        Memory memory = memory(0);
        double[] mask = new double[keys];
        Arrays.fill(mask, 0, keys - 1, Double.NEGATIVE_INFINITY);
        Buffer v = memory.normal(4L * keys);
        Buffer y = memory.output(4);
        FAST.attention()
                .attention(
                        shape,
                        new AttentionTensors(memory.normal(4), memory.normal(4L * keys), v, memory.values(mask)),
                        y,
                        null);
        for (int i = 0; i < 4; i++) {
            assertEquals(Elements.get(v, 4L * (keys - 1) + i), Elements.get(y, i));
        }
        Elements.set(v, 0, Double.NaN);
        FAST.attention().attention(shape, new AttentionTensors(memory.normal(4), v, v, null), y, null);
        assertTrue(Double.isNaN(Elements.get(y, 1)));
    }

    // ---------------------------------------------------------------------------------------------- patches, tokens

    /** Classes that the teacher rules out count for nothing, whether the student does so too or not. */
    @Test
    void distillationOfClassesThatAreRuledOut() {
        for (int cols : new int[] {5, 33, 200}) {
            check("distillation with ruled out classes, " + cols, 1e-5, (kernels, memory) -> {
                Buffer teacher = memory.normal(3L * cols);
                Buffer student = memory.normal(3L * cols);
                Buffer weight = memory.single(1);
                Elements.set(weight, 0, 1);
                for (int row = 0; row < 3; row++) {
                    Elements.set(teacher, (long) row * cols + 2, Double.NEGATIVE_INFINITY);
                    Elements.set(student, (long) row * cols + 2, Double.NEGATIVE_INFINITY);
                    Elements.set(teacher, (long) row * cols + cols - 1, Double.NEGATIVE_INFINITY);
                }
                kernels.losses()
                        .distillationLoss(
                                new RowShape(3, cols),
                                student,
                                new Ensemble(new Buffer[] {teacher}, weight, false, 2, .7, .3),
                                memory.indices(3, 2),
                                memory.singleOutput(1),
                                memory.output(3L * cols));
            });
        }
    }

    @Test
    void foreignIndicesAreRefused() {
        Memory memory = memory(0);
        Buffer index = memory.indices(1, 1);
        Elements.setInt(index, 0, 4);
        Buffer rows = memory.normal(16);
        assertThrows(
                IllegalArgumentException.class,
                () -> FAST.tokens().addRows(new TokenShape(1, 4, 1, 4), rows, rows, index, memory.output(4)));
        assertThrows(
                IllegalArgumentException.class,
                () -> FAST.tokens().scatterRows(new TokenShape(1, 4, 1, 4), rows, index, memory.output(16)));
        assertThrows(
                IllegalArgumentException.class,
                () -> FAST.losses().crossEntropy(new RowShape(1, 4), rows, index, 0, memory.output(1), null));
    }

    // --------------------------------------------------------------------------------------------- losses, optimiser

    @Test
    void adamWWritesShadowsAndReadsBf16Gradients() {
        for (Kernels kernels : List.of(FAST, REFERENCE)) {
            Memory memory = memory(0);
            int n = 100;
            Buffer rounded = memory.make(DType.BF16, n);
            kernels.elementwise().cast(memory.normal(n), rounded);
            Buffer exact = memory.normal(n);
            kernels.elementwise().cast(rounded, exact);
            Buffer start = memory.normal(n);
            List<float[]> parameters = new ArrayList<>();
            for (Buffer gradient : List.of(exact, rounded)) {
                Buffer p = memory.normal(n);
                kernels.elementwise().cast(start, p);
                Buffer[] moments = {memory.normal(n), memory.normal(n)};
                kernels.elementwise().fill(moments[0], 0);
                kernels.elementwise().fill(moments[1], 0);
                Buffer shadow = memory.make(DType.BF16, n);
                Buffer plain = memory.normal(5);
                kernels.optimiser()
                        .adamW(
                                new AdamWTensors(
                                        new Buffer[] {plain, p},
                                        new Buffer[] {memory.normal(5), gradient},
                                        new Buffer[] {memory.normal(5), moments[0]},
                                        new Buffer[] {memory.normal(5), moments[1]},
                                        new Buffer[] {null, shadow},
                                        new double[] {0, 0.1}),
                                new AdamWStep(1e-2, 0.9, 0.95, 1e-8, 1, null));
                parameters.add(p.segment().toArray(ValueLayout.JAVA_FLOAT));
                Buffer expected = memory.make(DType.BF16, n);
                kernels.elementwise().cast(p, expected);
                assertArrayEquals(
                        expected.segment().toArray(ValueLayout.JAVA_SHORT),
                        shadow.segment().toArray(ValueLayout.JAVA_SHORT));
            }
            Close.relative(parameters.get(1), parameters.get(0), 1e-6, "bf16 gradients of the same values");
        }
    }
}
