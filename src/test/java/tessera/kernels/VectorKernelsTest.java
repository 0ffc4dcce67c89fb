package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.Kernels.AttentionShape;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.PatchGeometry;
import tessera.kernels.Kernels.Strides;
import tessera.kernels.Kernels.UnaryOp;

/** The f32 kernels against the plain ones in f64, on the same inputs. */
class VectorKernelsTest {
    private static final CpuDevice DEVICE = new CpuDevice(2);
    private static final Workers TWO = new Workers(2);
    private static final Kernels FAST = new VectorKernels(TWO);
    private static final Kernels FAST_ALONE = new VectorKernels(new Workers(1));
    private static final Kernels REFERENCE = new ScalarKernels(TWO);

    private static final int[] SIZES = {0, 1, 3, 7, 15, 16, 17, 31, 33, 131, 392};
    private static final double TOLERANCE = 2e-6;

    @AfterAll
    static void endThreads() {
        TWO.close();
    }

    /** A call with the inputs and outputs that {@code memory} hands out. */
    private interface Call {
        void run(Kernels kernels, Memory memory);
    }

    /** Makes the same random inputs every time, in one floating type, and remembers the outputs. */
    private static final class Memory {
        private final DType type;
        private final int offset;
        private final Random random = new Random(7);
        private final List<Buffer> outputs = new ArrayList<>();

        Memory(DType type, int offset) {
            this.type = type;
            this.offset = offset;
        }

        private Buffer make(DType dtype, long n) {
            return DEVICE.allocate(dtype, n + offset).slice(offset, n);
        }

        Buffer normal(long n) {
            Buffer x = make(type, n);
            for (int i = 0; i < n; i++) {
                Elements.set(x, i, (float) random.nextGaussian());
            }
            return x;
        }

        Buffer values(double... values) {
            Buffer x = make(type, values.length);
            for (int i = 0; i < values.length; i++) {
                Elements.set(x, i, (float) values[i]);
            }
            return x;
        }

        Buffer bytes(int n) {
            Buffer x = make(DType.U8, n);
            for (int i = 0; i < n; i++) {
                x.segment().set(ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
            }
            return x;
        }

        Buffer indices(int n, int bound) {
            Buffer x = make(DType.I32, n);
            for (int i = 0; i < n; i++) {
                Elements.setInt(x, i, random.nextInt(bound));
            }
            return x;
        }

        /** Holds NaN until it is written. */
        Buffer output(long n) {
            Buffer y = make(type, n);
            for (int i = 0; i < n; i++) {
                Elements.set(y, i, Double.NaN);
            }
            return written(y);
        }

        /** Also an input. */
        Buffer written(Buffer y) {
            outputs.add(y);
            return y;
        }
    }

    private static List<double[]> results(Kernels kernels, DType type, int offset, Call call) {
        Memory memory = new Memory(type, offset);
        call.run(kernels, memory);
        List<double[]> results = new ArrayList<>();
        for (Buffer y : memory.outputs) {
            double[] values = new double[(int) y.length()];
            Elements.load(y, 0, values.length, values, 0);
            results.add(values);
        }
        return results;
    }

    private static void check(String what, Call call) {
        check(what, TOLERANCE, call);
    }

    /** Against f64, aligned and not; then that repetition and the number of threads do not matter. */
    private static void check(String what, double tolerance, Call call) {
        List<double[]> expected = results(REFERENCE, DType.F64, 0, call);
        for (int offset = 0; offset < 2; offset++) {
            List<double[]> actual = results(FAST, DType.F32, offset, call);
            for (int i = 0; i < expected.size(); i++) {
                Close.relative(actual.get(i), expected.get(i), tolerance, what + " output " + i + " offset " + offset);
            }
            checkSameBits(what + " again", actual, results(FAST, DType.F32, offset, call));
            checkSameBits(what + " a third time", actual, results(FAST, DType.F32, offset, call));
            checkSameBits(what + " on one thread", actual, results(FAST_ALONE, DType.F32, offset, call));
        }
    }

    private static void checkSameBits(String what, List<double[]> expected, List<double[]> actual) {
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), actual.get(i), what);
        }
    }

    @Test
    void isChosenWhereTheVectorApiIsReadable() {
        assertInstanceOf(VectorKernels.class, DEVICE.kernels());
    }

    // ------------------------------------------------------------------------------------------------ element-wise

    @ParameterizedTest
    @EnumSource(UnaryOp.class)
    void unary(UnaryOp op) {
        for (int n : sizesAnd(40_000)) {
            check(op + " " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                if (op == UnaryOp.SQRT || op == UnaryOp.LOG) {
                    kernels.unary(UnaryOp.ABS, x, x);
                }
                kernels.unary(op, x, memory.output(n));
                Buffer dy = memory.normal(n);
                kernels.unaryBackward(op, x, dy, memory.output(n));
                kernels.unaryBackward(op, x, dy, memory.written(dy));
                kernels.unary(op, x, memory.written(x));
            });
        }
    }

    @ParameterizedTest
    @EnumSource(UnaryOp.class)
    void unaryKeepsNaN(UnaryOp op) {
        Memory memory = new Memory(DType.F32, 0);
        for (int n : new int[] {1, 16, 33}) {
            Buffer x = memory.normal(n);
            Elements.set(x, n - 1, Double.NaN);
            Buffer y = memory.output(n);
            FAST.unary(op, x, y);
            assertTrue(Double.isNaN(Elements.get(y, n - 1)), op + " of NaN");
            FAST.unaryBackward(op, memory.normal(n), x, y);
            assertTrue(Double.isNaN(Elements.get(y, n - 1)), op + " gradient of NaN");
        }
    }

    @Test
    void expOverItsWholeRange() {
        double[] xs = new double[20_001];
        for (int i = 0; i < xs.length; i++) {
            xs[i] = (float) (-87.3 + 176.0 * i / (xs.length - 1));
        }
        double[] ys = exp(xs);
        double worst = 0;
        for (int i = 0; i < xs.length; i++) {
            double expected = Math.exp(xs[i]);
            worst = Math.max(worst, Math.abs(ys[i] - expected) / Math.ulp((float) expected));
        }
        Close.within(worst, 0, 2, "ulps of exp");

        double[] ends = {
            Double.NEGATIVE_INFINITY,
            -1e30,
            -200,
            -104,
            -100,
            0,
            88.72,
            88.73,
            1e30,
            Double.POSITIVE_INFINITY,
            Double.NaN
        };
        double[] atEnds = exp(ends);
        for (int i = 0; i < ends.length - 1; i++) {
            double expected = (float) Math.exp((float) ends[i]);
            double tolerance = Double.isFinite(expected) ? 1e-6 * expected + 0x1p-149 : 0;
            boolean close = Math.abs(atEnds[i] - expected) <= tolerance;
            assertTrue(atEnds[i] == expected || close, "exp(" + ends[i] + ") is " + atEnds[i]);
        }
        assertTrue(Double.isNaN(atEnds[ends.length - 1]));
    }

    private static double[] exp(double[] xs) {
        double[] ys = new double[xs.length];
        for (int i = 0; i < xs.length; i++) {
            ys[i] = VectorMath.exp(VectorMath.all((float) xs[i])).lane(0);
        }
        return ys;
    }

    @Test
    void geluOfExtremes() {
        Memory memory = new Memory(DType.F32, 0);
        Buffer y = memory.output(4);
        FAST.unary(UnaryOp.GELU, memory.values(-1e30, -50, 50, 1e30), y);
        assertEquals(0, Math.abs(Elements.get(y, 0)));
        assertEquals(0, Math.abs(Elements.get(y, 1)));
        assertEquals(50, Elements.get(y, 2));
        assertEquals((float) 1e30, Elements.get(y, 3));
    }

    @ParameterizedTest
    @EnumSource(BinaryOp.class)
    void binary(BinaryOp op) {
        for (int n : sizesAnd(40_000)) {
            checkScalars(op, n);
            check(op + " same shape " + n, (kernels, memory) -> {
                long[] one = {1};
                kernels.binary(op, memory.normal(n), one, memory.normal(n), one, memory.output(n), new long[] {n});
            });
        }
        for (int n : SIZES) {
            long[] shape = {2, 5, n};
            long[] full = {5L * n, n, 1};
            check(
                    op + " row " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(n),
                            new long[] {0, 0, 1},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " row first " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(n),
                            new long[] {0, 0, 1},
                            memory.normal(10L * n),
                            full,
                            memory.output(10L * n),
                            shape));
            check(
                    op + " column " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(10),
                            new long[] {5, 1, 0},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " middle " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(2L * n),
                            new long[] {n, 0, 1},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " transposed " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(10L * n),
                            new long[] {1, 2, 10},
                            memory.output(10L * n),
                            shape));
            check(
                    op + " scalar " + n,
                    (kernels, memory) -> kernels.binary(
                            op,
                            memory.normal(10L * n),
                            full,
                            memory.normal(1),
                            new long[3],
                            memory.output(10L * n),
                            shape));
        }
    }

    private static void checkScalars(BinaryOp op, int n) {
        check(
                op + " of scalars " + n,
                (kernels, memory) -> kernels.binary(
                        op, memory.normal(1), new long[1], memory.normal(1), new long[1], memory.output(n), new long[] {
                            n
                        }));
    }

    @Test
    void arithmetic() {
        for (int n : sizesAnd(70_000)) {
            check("arithmetic " + n, (kernels, memory) -> {
                Buffer x = memory.normal(n);
                kernels.affine(x, 1.5, -0.25, memory.output(n));
                kernels.affine(x, 2, 1, memory.written(x));
                kernels.axpy(-0.75, memory.normal(n), memory.written(memory.normal(n)));
                kernels.scaleBy(x, memory.values(0.3), memory.output(n));
                kernels.fill(memory.output(n), 2.5);
                kernels.dropout(x, 0.4, 3, 5, memory.output(n));
            });
        }
    }

    @Test
    void casts() {
        for (int n : sizesAnd(40_000)) {
            check("bytes to floats " + n, (kernels, memory) -> kernels.cast(memory.bytes(n), memory.output(n)));
            Memory memory = new Memory(DType.F32, 1);
            Buffer x = memory.normal(n);
            Buffer half = DEVICE.allocate(DType.BF16, n);
            Buffer expected = DEVICE.allocate(DType.BF16, n);
            FAST.cast(x, half);
            REFERENCE.cast(x, expected);
            assertEquals(-1, half.segment().mismatch(expected.segment()));
            Buffer wide = DEVICE.allocate(DType.F32, n);
            FAST.cast(half, wide);
            for (int i = 0; i < n; i++) {
                assertEquals(Elements.get(half, i), Elements.get(wide, i));
            }
        }
        Memory memory = new Memory(DType.F32, 0);
        Buffer special = memory.values(Double.NaN, Double.POSITIVE_INFINITY, 3.4028235e38, -0.0);
        Buffer half = DEVICE.allocate(DType.BF16, 4);
        FAST.cast(special, half);
        assertTrue(Double.isNaN(Elements.get(half, 0)));
        assertEquals(Double.POSITIVE_INFINITY, Elements.get(half, 1));
        assertEquals(Double.POSITIVE_INFINITY, Elements.get(half, 2));
        assertEquals(-0.0, Elements.get(half, 3));
    }

    // -------------------------------------------------------------------------------------------------- reductions

    @Test
    void sums() {
        for (int n : sizesAnd(50_000)) {
            check(
                    "sum of rows " + n,
                    (kernels, memory) -> kernels.sum(memory.normal(3L * n), 3, n, 1, 0.5, memory.output(3)));
            check("sum " + n, (kernels, memory) -> kernels.sum(memory.normal(n), 1, n, 1, 2, memory.output(1)));
        }
        for (int inner : SIZES) {
            for (int reduced : new int[] {0, 1, 65, 300}) {
                check(
                        "sum of columns " + reduced + " x " + inner,
                        (kernels, memory) -> kernels.sum(
                                memory.normal(2L * reduced * inner),
                                2,
                                reduced,
                                inner,
                                0.5,
                                memory.output(2L * inner)));
            }
        }
    }

    // -------------------------------------------------------------------------------------------- norm and softmax

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 7, 15, 16, 17, 31, 33, 131, 384})
    void layerNorm(int cols) {
        for (int rows : new int[] {0, 1, 5, 130}) {
            // A row of one element has no variance: the outputs are 0 up to rounding, so only longer rows are compared.
            check("layer norm " + rows + " x " + cols, 5e-6, (kernels, memory) -> {
                Buffer x = memory.normal((long) rows * cols);
                Buffer gamma = memory.normal(cols);
                Buffer mean = memory.output(rows);
                Buffer rstd = memory.output(rows);
                kernels.layerNorm(
                        x, gamma, memory.normal(cols), 1e-3, rows, cols, memory.output((long) rows * cols), mean, rstd);
                Buffer dy = memory.normal((long) rows * cols);
                Buffer dx = memory.output(cols == 1 ? 0 : (long) rows * cols);
                kernels.layerNormBackward(
                        x,
                        gamma,
                        mean,
                        rstd,
                        dy,
                        rows,
                        cols,
                        cols == 1 ? null : dx,
                        cols == 1 ? null : memory.output(cols),
                        memory.output(cols));
            });
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void softmax(boolean log) {
        for (int cols : SIZES) {
            if (cols > 1) {
                check("softmax " + cols, (kernels, memory) -> {
                    Buffer x = memory.normal(131L * cols);
                    Buffer y = memory.output(131L * cols);
                    kernels.softmax(x, 131, cols, log, y);
                    Buffer dy = memory.normal(131L * cols);
                    kernels.softmaxBackward(y, dy, 131, cols, log, memory.output(131L * cols));
                    kernels.softmaxBackward(y, dy, 131, cols, log, memory.written(dy));
                    kernels.softmax(x, 131, cols, log, memory.written(x));
                });
            }
        }
    }

    @Test
    void softmaxOfExtremes() {
        Memory memory = new Memory(DType.F32, 0);
        Buffer y = memory.output(3);
        FAST.softmax(memory.values(1e4, Double.NEGATIVE_INFINITY, 1e4), 1, 3, false, y);
        assertEquals(0.5, Elements.get(y, 0));
        assertEquals(0, Elements.get(y, 1));
        FAST.softmax(memory.values(0, Double.NaN, 1), 1, 3, false, y);
        for (int i = 0; i < 3; i++) {
            assertTrue(Double.isNaN(Elements.get(y, i)));
        }
    }

    // --------------------------------------------------------------------------------------------------- attention

    private static void checkAttention(int batch, int heads, int queries, int keys, int dim, int biasBatch) {
        boolean packed = queries == keys;
        long width = (long) heads * dim;
        Strides q =
                packed ? new Strides(3 * width * queries, dim, 3 * width) : new Strides(width * queries, dim, width);
        Strides k = packed ? q : new Strides(width * keys, dim, width);
        Strides out = new Strides(width * queries, dim, width);
        AttentionShape shape =
                new AttentionShape(batch, heads, queries, keys, dim, 1 / Math.sqrt(dim), q, k, k, out, biasBatch);
        String what = "attention " + shape;
        check(what, 1e-5, (kernels, memory) -> {
            long rows = (long) batch * queries;
            Buffer qkv = memory.normal(packed ? 3 * width * rows : width * batch * (queries + 2L * keys));
            long kFrom = packed ? Math.min(qkv.length(), width) : width * rows;
            long vFrom = packed ? Math.min(qkv.length(), 2 * width) : kFrom + width * batch * keys;
            Buffer bias = biasBatch == 0 ? null : memory.normal((long) biasBatch * heads * queries * keys);
            Buffer y = memory.output(width * rows);
            Buffer logSumExp = memory.output(rows * heads);
            Buffer keyBuffer = qkv.slice(kFrom, qkv.length() - kFrom);
            Buffer valueBuffer = qkv.slice(vFrom, qkv.length() - vFrom);
            kernels.attention(shape, qkv, keyBuffer, valueBuffer, bias, y, logSumExp);
            Buffer gradient = memory.output(qkv.length());
            kernels.attentionBackward(
                    shape,
                    qkv,
                    keyBuffer,
                    valueBuffer,
                    bias,
                    y,
                    logSumExp,
                    memory.normal(width * rows),
                    gradient,
                    gradient.slice(kFrom, qkv.length() - kFrom),
                    gradient.slice(vFrom, qkv.length() - vFrom),
                    bias == null || keys == 1 ? null : memory.output(bias.length()));
        });
    }

    @Test
    void attention() {
        for (int n : new int[] {1, 3, 5, 16, 17, 33, 131}) {
            checkAttention(2, 3, n, n, 16, 0);
            checkAttention(2, 2, n, n, 7, 1);
            checkAttention(2, 2, n, n, 32, 2);
        }
        checkAttention(1, 6, 392, 392, 64, 0);
        checkAttention(2, 2, 65, 31, 24, 1);
        checkAttention(2, 2, 0, 9, 8, 0);
        checkAttention(0, 2, 9, 9, 8, 0);
    }

    /** More keys than one tile holds. */
    @Test
    void attentionOverManyKeys() {
        checkAttention(1, 2, 9, 5000, 16, 0);
        checkAttention(1, 1, 9, 2100, 16, 1);
    }

    @Test
    void attentionWithMaskedKeys() {
        int keys = 2100;
        Strides strides = new Strides(0, 0, 4);
        AttentionShape shape = new AttentionShape(1, 1, 1, keys, 4, 1, strides, strides, strides, strides, 1);
        Memory memory = new Memory(DType.F32, 0);
        double[] mask = new double[keys];
        Arrays.fill(mask, 0, keys - 1, Double.NEGATIVE_INFINITY);
        Buffer v = memory.normal(4L * keys);
        Buffer y = memory.output(4);
        FAST.attention(shape, memory.normal(4), memory.normal(4L * keys), v, memory.values(mask), y, null);
        for (int i = 0; i < 4; i++) {
            assertEquals(Elements.get(v, 4L * (keys - 1) + i), Elements.get(y, i));
        }
        Elements.set(v, 0, Double.NaN);
        FAST.attention(shape, memory.normal(4), v, v, null, y, null);
        assertTrue(Double.isNaN(Elements.get(y, 1)));
    }

    // ---------------------------------------------------------------------------------------------- patches, tokens

    private static PatchGeometry geometry(int patch, int channels, boolean channelLast, double scale) {
        int frames = 4;
        int side = 3 * patch;
        double[] mean = new double[channels];
        double[] std = new double[channels];
        for (int c = 0; c < channels; c++) {
            mean[c] = 0.1 * (c + 1);
            std[c] = 0.2 + 0.1 * c;
        }
        long plane = (long) side * side;
        return channelLast
                ? new PatchGeometry(
                        2,
                        frames,
                        side,
                        side,
                        channels,
                        2,
                        patch,
                        frames * plane * channels,
                        plane * channels,
                        (long) side * channels,
                        channels,
                        1,
                        scale,
                        mean,
                        std)
                : new PatchGeometry(
                        2,
                        frames,
                        side,
                        side,
                        channels,
                        2,
                        patch,
                        channels * frames * plane,
                        plane,
                        side,
                        1,
                        frames * plane,
                        scale,
                        mean,
                        std);
    }

    @Test
    void patches() {
        for (int patch : new int[] {1, 4, 16}) {
            for (int channels : new int[] {1, 2, 3, 21}) {
                for (boolean channelLast : new boolean[] {true, false}) {
                    checkPatches(geometry(patch, channels, channelLast, 1 / 255.0), true);
                    checkPatches(geometry(patch, channels, channelLast, 1), false);
                }
            }
        }
    }

    private static void checkPatches(PatchGeometry g, boolean bytes) {
        int length = (int) (g.batch() * g.strideB());
        int vector = g.patchLength();
        check("patches " + g, 1e-5, (kernels, memory) -> {
            Buffer video = bytes ? memory.bytes(length) : memory.normal(length);
            kernels.gatherPatches(g, video, null, g.patches(), memory.output(2L * g.patches() * vector));
            Buffer indices = memory.indices(10, g.patches());
            kernels.gatherPatches(g, video, indices, 5, memory.output(10L * vector));
            for (boolean normalise : new boolean[] {false, true}) {
                Buffer prediction = memory.normal(10L * vector);
                kernels.reconstructionLoss(
                        g,
                        video,
                        indices,
                        5,
                        1e-6,
                        normalise,
                        prediction,
                        memory.output(1),
                        memory.output(10L * vector));
                kernels.reconstructionLoss(g, video, indices, 5, 1e-6, normalise, prediction, memory.output(1), null);
            }
        });
    }

    @Test
    void tokens() {
        for (int d : SIZES) {
            check("tokens of " + d, (kernels, memory) -> {
                Buffer indices = memory.indices(3 * 9, 11);
                Buffer x = memory.normal(3L * 9 * d);
                kernels.scatterRows(x, indices, 3, 11, 9, d, memory.output(3L * 11 * d));
                kernels.gatherRows(memory.normal(3L * 11 * d), indices, 3, 11, 9, d, memory.output(3L * 9 * d));
                Buffer table = memory.normal(11L * d);
                kernels.addRows(x, table, null, 3, 9, d, memory.output(3L * 9 * d));
                kernels.addRows(x, table, indices, 3, 9, d, memory.written(x));
                kernels.assembleDecoder(
                        memory.normal(3L * 4 * d),
                        memory.indices(3 * 4, 11),
                        memory.indices(3 * 6, 11),
                        memory.normal(d),
                        table,
                        3,
                        4,
                        6,
                        d,
                        memory.output(3L * 10 * d));
            });
        }
    }

    @Test
    void foreignIndicesAreRefused() {
        Memory memory = new Memory(DType.F32, 0);
        Buffer index = memory.indices(1, 1);
        Elements.setInt(index, 0, 4);
        Buffer rows = memory.normal(16);
        assertThrows(IllegalArgumentException.class, () -> FAST.addRows(rows, rows, index, 1, 1, 4, memory.output(4)));
        assertThrows(
                IllegalArgumentException.class, () -> FAST.scatterRows(rows, index, 1, 4, 1, 4, memory.output(16)));
        assertThrows(
                IllegalArgumentException.class, () -> FAST.crossEntropy(rows, index, 0, 1, 4, memory.output(1), null));
    }

    // --------------------------------------------------------------------------------------------- losses, optimiser

    @Test
    void losses() {
        for (int n : sizesAnd(40_000)) {
            check("losses " + n, (kernels, memory) -> {
                Buffer a = memory.normal(n);
                Buffer b = memory.normal(n);
                kernels.meanSquaredError(a, b, memory.output(1), memory.output(n));
                kernels.meanSquaredError(a, b, memory.output(1), null);
                kernels.featureLoss(
                        new Buffer[] {a, memory.normal(12)},
                        new Buffer[] {b, memory.normal(12)},
                        new double[] {0.5, 2},
                        memory.output(2),
                        memory.output(1),
                        new Buffer[] {memory.output(n), memory.output(12)});
            });
        }
        for (int cols : new int[] {2, 15, 16, 33, 204}) {
            for (double smoothing : new double[] {0, 0.1}) {
                check(
                        "cross entropy " + cols,
                        (kernels, memory) -> kernels.crossEntropy(
                                memory.normal(65L * cols),
                                memory.indices(65, cols),
                                smoothing,
                                65,
                                cols,
                                memory.output(1),
                                memory.output(65L * cols)));
            }
        }
    }

    @Test
    void adamW() {
        int[] sizes = {1, 17, 40_000, 384, 0, 16_384};
        check("adamW", (kernels, memory) -> {
            Buffer[] p = new Buffer[sizes.length];
            Buffer[] g = new Buffer[sizes.length];
            Buffer[] m = new Buffer[sizes.length];
            Buffer[] v = new Buffer[sizes.length];
            double[] decay = new double[sizes.length];
            for (int i = 0; i < sizes.length; i++) {
                p[i] = memory.written(memory.normal(sizes[i]));
                g[i] = memory.normal(sizes[i]);
                m[i] = memory.written(memory.normal(sizes[i]));
                v[i] = memory.normal(sizes[i]);
                kernels.unary(UnaryOp.SQUARE, v[i], memory.written(v[i]));
                decay[i] = i % 2 == 0 ? 0.05 : 0;
            }
            for (int step = 3; step < 6; step++) {
                kernels.adamW(p, g, m, v, null, decay, 1e-3, 0.9, 0.95, 1e-8, step);
            }
        });
    }

    @Test
    void adamWWritesShadowsAndReadsBf16Gradients() {
        for (Kernels kernels : List.of(FAST, REFERENCE)) {
            Memory memory = new Memory(DType.F32, 0);
            int n = 100;
            Buffer rounded = memory.make(DType.BF16, n);
            kernels.cast(memory.normal(n), rounded);
            Buffer exact = memory.normal(n);
            kernels.cast(rounded, exact);
            Buffer start = memory.normal(n);
            List<float[]> parameters = new ArrayList<>();
            for (Buffer gradient : List.of(exact, rounded)) {
                Buffer p = memory.normal(n);
                kernels.cast(start, p);
                Buffer[] moments = {memory.normal(n), memory.normal(n)};
                kernels.fill(moments[0], 0);
                kernels.fill(moments[1], 0);
                Buffer shadow = memory.make(DType.BF16, n);
                Buffer plain = memory.normal(5);
                kernels.adamW(
                        new Buffer[] {plain, p},
                        new Buffer[] {memory.normal(5), gradient},
                        new Buffer[] {memory.normal(5), moments[0]},
                        new Buffer[] {memory.normal(5), moments[1]},
                        new Buffer[] {null, shadow},
                        new double[] {0, 0.1},
                        1e-2,
                        0.9,
                        0.95,
                        1e-8,
                        1);
                parameters.add(p.segment().toArray(ValueLayout.JAVA_FLOAT));
                Buffer expected = memory.make(DType.BF16, n);
                kernels.cast(p, expected);
                assertArrayEquals(
                        expected.segment().toArray(ValueLayout.JAVA_SHORT),
                        shadow.segment().toArray(ValueLayout.JAVA_SHORT));
            }
            Close.relative(parameters.get(1), parameters.get(0), 1e-6, "bf16 gradients of the same values");
        }
    }

    private static int[] sizesAnd(int large) {
        int[] sizes = Arrays.copyOf(SIZES, SIZES.length + 1);
        sizes[SIZES.length] = large;
        return sizes;
    }
}
