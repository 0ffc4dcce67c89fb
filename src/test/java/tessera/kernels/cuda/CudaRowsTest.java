package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Kernels;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.tensor.TestDevices;

/** Layer norm, softmax and attention on a GPU against the plain kernels in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaRowsTest {
    private static final Device PLAIN = PlainDevice.create();
    private static final Device CPU = Device.cpu();
    private static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));
    private static final double UNTOUCHED = 77;

    private final Random random = new Random(11);

    @BeforeAll
    static void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    // ----------------------------------------------------------------------------------------------------- helpers

    private static Device device() {
        return Device.cuda(0);
    }

    private double[] normal(long n, DType dtype) {
        return random.doubles(n, 0, 1)
                .map(u -> round(random.nextGaussian(), dtype))
                .toArray();
    }

    /** The value that an element of this type holds. */
    private static double round(double value, DType dtype) {
        return dtype == DType.BF16 ? Elements.fromBf16(Elements.toBf16(value)) : (float) value;
    }

    private static double[] rounded(double[] values, DType dtype) {
        return Arrays.stream(values).map(value -> round(value, dtype)).toArray();
    }

    private static Buffer onCpu(DType dtype, double... values) {
        Buffer buffer = CPU.allocate(dtype, values.length);
        Elements.store(values, 0, values.length, buffer, 0);
        return buffer;
    }

    /** A copy on the GPU; with an offset of one element it allows no wide access. */
    private static Buffer onGpu(DType dtype, int offset, double... values) {
        Buffer buffer = device().allocate(dtype, values.length + offset).slice(offset, values.length);
        onCpu(dtype, values).copyTo(buffer);
        return buffer;
    }

    private static Buffer output(DType dtype, int offset, long n) {
        double[] values = new double[Math.toIntExact(n)];
        Arrays.fill(values, UNTOUCHED);
        return onGpu(dtype, offset, values);
    }

    private static double[] values(Buffer buffer) {
        int n = Math.toIntExact(buffer.length());
        Buffer copy = buffer.device().equals(CPU) ? buffer : CPU.allocate(buffer.dtype(), n);
        if (copy != buffer) {
            buffer.copyTo(copy);
            device().currentStream().synchronize();
        }
        double[] values = new double[n];
        Elements.load(copy, 0, n, values, 0);
        return values;
    }

    /** f32 within its tolerance; bf16 at most twice as far off as the plain computation. */
    private static void check(String what, Buffer actual, double[] expected, double[] plain) {
        check(what, actual.dtype(), values(actual), expected, plain);
    }

    private static void check(String what, DType dtype, double[] actual, double[] expected, double[] plain) {
        Close.relative(actual, expected, PlainDevice.bound(dtype, plain, expected), what);
    }

    private static void check(String what, Buffer actual, double[] expected) {
        check(what, actual, expected, rounded(expected, actual.dtype()));
    }

    // -------------------------------------------------------------------------------------------------- layer norm

    @ParameterizedTest
    @CsvSource({
        "F32, 1, 0", "F32, 7, 0", "F32, 192, 0", "F32, 384, 0", "F32, 384, 1", "F32, 386, 0", "F32, 1000, 0",
        "F32, 1280, 0", "F32, 1284, 0", "F32, 2999, 1", "BF16, 1, 0", "BF16, 7, 0", "BF16, 192, 0", "BF16, 384, 0",
        "BF16, 384, 1", "BF16, 388, 0", "BF16, 768, 0", "BF16, 1280, 0", "BF16, 1288, 0", "BF16, 2999, 1"
    })
    void layerNorm(DType dtype, int cols, int offset) {
        for (int rows : new int[] {1, 3, 70}) {
            layerNorm(dtype, rows, cols, offset);
        }
    }

    private void layerNorm(DType dtype, int rows, int cols, int offset) {
        double eps = 1e-5;
        double[] x = Arrays.stream(normal((long) rows * cols, dtype))
                .map(value -> round(3 * value + 10, dtype))
                .toArray();
        double[] dy = normal((long) rows * cols, dtype);
        double[] addend = normal((long) rows * cols, dtype);
        double[] gamma = normal(cols, DType.F32);
        double[] beta = normal(cols, DType.F32);
        Buffer y64 = CPU.allocate(DType.F64, x.length);
        Buffer mean64 = CPU.allocate(DType.F64, rows);
        Buffer rstd64 = CPU.allocate(DType.F64, rows);
        REFERENCE
                .norms()
                .layerNorm(
                        new RowShape(rows, cols),
                        onCpu(DType.F64, x),
                        new NormParameters(onCpu(DType.F64, gamma), onCpu(DType.F64, beta), eps),
                        y64,
                        new NormStatistics(mean64, rstd64));
        Buffer dx64 = CPU.allocate(DType.F64, x.length);
        Buffer dgamma64 = CPU.allocate(DType.F64, cols);
        Buffer dbeta64 = CPU.allocate(DType.F64, cols);
        REFERENCE
                .norms()
                .layerNormBackward(
                        new RowShape(rows, cols),
                        onCpu(DType.F64, x),
                        onCpu(DType.F64, gamma),
                        new NormStatistics(mean64, rstd64),
                        onCpu(DType.F64, dy),
                        new NormGradients(onCpu(DType.F64, addend), dx64, dgamma64, dbeta64));

        Kernels kernels = device().kernels();
        Buffer xs = onGpu(dtype, offset, x);
        Buffer dys = onGpu(dtype, offset, dy);
        Buffer addends = onGpu(dtype, offset, addend);
        Buffer gammas = onGpu(DType.F32, offset, gamma);
        Buffer y = output(dtype, offset, x.length);
        Buffer mean = output(DType.F32, 0, rows);
        Buffer rstd = output(DType.F32, 0, rows);
        kernels.norms()
                .layerNorm(
                        new RowShape(rows, cols),
                        xs,
                        new NormParameters(gammas, onGpu(DType.F32, offset, beta), eps),
                        y,
                        new NormStatistics(mean, rstd));
        String what = dtype + " " + rows + " x " + cols + " ";
        check(what + "mean", mean, values(mean64));
        if (cols > 1) {
            check(what + "y", y, values(y64));
            check(what + "rstd", rstd, values(rstd64));
        }

        double[][] first = null;
        for (int run = 0; run < 3; run++) {
            Buffer dx = output(dtype, offset, x.length);
            Buffer dgamma = output(DType.F32, 0, cols);
            Buffer dbeta = output(DType.F32, 0, cols);
            kernels.norms()
                    .layerNormBackward(
                            new RowShape(rows, cols),
                            xs,
                            gammas,
                            new NormStatistics(mean, rstd),
                            dys,
                            new NormGradients(addends, dx, dgamma, dbeta));
            if (cols > 1) {
                check(what + "dx", dx, values(dx64));
                check(what + "dgamma", dgamma, values(dgamma64));
            }
            check(what + "dbeta", dbeta, values(dbeta64));
            double[][] now = {values(dx), values(dgamma), values(dbeta)};
            first = first == null ? now : first;
            assertTrue(Arrays.deepEquals(first, now), what + "repeats");
        }
        Buffer alone = output(DType.F32, 0, cols);
        kernels.norms()
                .layerNormBackward(
                        new RowShape(rows, cols),
                        xs,
                        gammas,
                        new NormStatistics(mean, rstd),
                        dys,
                        new NormGradients(null, null, null, alone));
        check(what + "dbeta alone", alone, values(dbeta64));
    }

    @ParameterizedTest
    @ValueSource(ints = {96, 2000})
    void layerNormOfNoRowsClearsTheParametersGradients(int cols) {
        Kernels kernels = device().kernels();
        Buffer none = device().allocate(DType.BF16, 0);
        Buffer statistics = device().allocate(DType.F32, 0);
        Buffer gamma = onGpu(DType.F32, 0, normal(cols, DType.F32));
        Buffer dgamma = output(DType.F32, 0, cols);
        Buffer dbeta = output(DType.F32, 0, cols);
        kernels.norms()
                .layerNorm(
                        new RowShape(0, cols),
                        none,
                        new NormParameters(gamma, gamma, 1e-5),
                        none,
                        new NormStatistics(statistics, statistics));
        kernels.norms()
                .layerNormBackward(
                        new RowShape(0, cols),
                        none,
                        gamma,
                        new NormStatistics(statistics, statistics),
                        none,
                        new NormGradients(null, none, dgamma, dbeta));
        assertArrayEquals(new double[cols], values(dgamma));
        assertArrayEquals(new double[cols], values(dbeta));
    }

    // ----------------------------------------------------------------------------------------------------- softmax

    @ParameterizedTest
    @CsvSource({
        "F32, 1, 0",
        "F32, 5, 0",
        "F32, 174, 0",
        "F32, 400, 0",
        "F32, 2048, 1",
        "F32, 2500, 0",
        "BF16, 5, 0",
        "BF16, 174, 0",
        "BF16, 400, 0",
        "BF16, 400, 1",
        "BF16, 3000, 0"
    })
    void softmax(DType dtype, int cols, int offset) {
        int rows = 6;
        double[] x = Arrays.stream(normal((long) rows * cols, dtype))
                .map(value -> round(5 * value + 100, dtype))
                .toArray();
        double[] dy = normal((long) rows * cols, dtype);
        for (boolean log : new boolean[] {false, true}) {
            String what = dtype + " cols " + cols + " log " + log + " ";
            Buffer y64 = CPU.allocate(DType.F64, x.length);
            REFERENCE.norms().softmax(new RowShape(rows, cols), onCpu(DType.F64, x), log, y64);
            Buffer y = output(dtype, offset, x.length);
            device().kernels().norms().softmax(new RowShape(rows, cols), onGpu(dtype, offset, x), log, y);
            check(what + "y", y, values(y64));
            Buffer inPlace = onGpu(dtype, offset, x);
            device().kernels().norms().softmax(new RowShape(rows, cols), inPlace, log, inPlace);
            assertArrayEquals(values(y), values(inPlace), what + "in place");

            double[] given = rounded(values(y64), dtype);
            Buffer dx64 = CPU.allocate(DType.F64, x.length);
            REFERENCE
                    .norms()
                    .softmaxBackward(
                            new RowShape(rows, cols), onCpu(DType.F64, given), onCpu(DType.F64, dy), log, dx64);
            Buffer dx = output(dtype, offset, x.length);
            device().kernels()
                    .norms()
                    .softmaxBackward(
                            new RowShape(rows, cols), onGpu(dtype, offset, given), onGpu(dtype, offset, dy), log, dx);
            if (cols > 1) {
                check(what + "dx", dx, values(dx64));
            }
            Buffer overDy = onGpu(dtype, offset, dy);
            device().kernels()
                    .norms()
                    .softmaxBackward(new RowShape(rows, cols), onGpu(dtype, offset, given), overDy, log, overDy);
            assertArrayEquals(values(dx), values(overDy), what + "in place on dy");
        }
    }

    // --------------------------------------------------------------------------------------------------- attention

    /** One attention call: q, k and v in one packed buffer, with some elements between them that belong to none. */
    private final class Attention {
        final DType dtype;
        final AttentionShape shape;
        final int offset;
        final long[] starts;
        final double[] packed;
        final double[] dout;
        final DType biasType;
        final double[] bias;

        Attention(
                DType dtype,
                int batch,
                int heads,
                int queries,
                int keys,
                int headDim,
                int biasBatch,
                DType biasType,
                int offset) {
            this(dtype, batch, heads, queries, keys, headDim, biasBatch, biasType, offset, 1 / Math.sqrt(headDim));
        }

        Attention(
                DType dtype,
                int batch,
                int heads,
                int queries,
                int keys,
                int headDim,
                int biasBatch,
                DType biasType,
                int offset,
                double scale) {
            long row = 3L * heads * headDim + offset;
            int rows = Math.max(queries, keys);
            Strides strides = new Strides(rows * row, headDim, row);
            Strides out = new Strides((long) queries * heads * headDim, headDim, (long) heads * headDim);
            this.dtype = dtype;
            this.offset = offset;
            this.shape = new AttentionShape(
                    batch, heads, queries, keys, headDim, (float) scale, strides, strides, strides, out, biasBatch);
            this.starts = new long[] {0, (long) heads * headDim, 2L * heads * headDim};
            this.packed = normal((long) batch * rows * row, dtype);
            this.dout = normal(batch * out.batch(), dtype);
            this.biasType = biasType;
            this.bias = normal((long) biasBatch * heads * queries * keys, biasType);
        }

        /** The part of a packed buffer in which q (0), k (1) or v (2) lies. */
        Buffer part(Buffer buffer, int which) {
            long start = Math.min(starts[which], buffer.length());
            return buffer.slice(start, buffer.length() - start);
        }

        /** Out, log of the denominators, packed gradients, gradient of the bias. */
        Buffer[] run(Kernels kernels, Buffer all, Buffer biases, Buffer[] outputs, Buffer douts) {
            boolean biased = shape.biasBatch() > 0;
            kernels.attention()
                    .attention(
                            shape,
                            new AttentionTensors(part(all, 0), part(all, 1), part(all, 2), biased ? biases : null),
                            outputs[0],
                            outputs[1]);
            kernels.attention()
                    .attentionBackward(
                            shape,
                            new AttentionTensors(part(all, 0), part(all, 1), part(all, 2), biased ? biases : null),
                            outputs[0],
                            outputs[1],
                            douts,
                            new AttentionTensors(
                                    part(outputs[2], 0),
                                    part(outputs[2], 1),
                                    part(outputs[2], 2),
                                    biased ? outputs[3] : null));
            return outputs;
        }

        long statistics() {
            return shape.batch() * shape.heads() * shape.queries();
        }

        Buffer[] onGpuOnce() {
            Buffer[] outputs = {
                output(dtype, offset, dout.length),
                output(DType.F32, 0, statistics()),
                output(dtype, offset, packed.length),
                output(biasType, 0, bias.length)
            };
            return run(
                    device().kernels(),
                    onGpu(dtype, offset, packed),
                    onGpu(biasType, 0, bias),
                    outputs,
                    onGpu(dtype, offset, dout));
        }

        /** By the plain kernels, with data, statistics and bias of these types. */
        Buffer[] onCpu(DType data, DType single, DType biases) {
            Buffer[] outputs = {
                CPU.allocate(data, dout.length),
                CPU.allocate(single, statistics()),
                CPU.allocate(data, packed.length),
                CPU.allocate(biases, bias.length)
            };
            double[] untouched = new double[packed.length];
            Arrays.fill(untouched, UNTOUCHED);
            Elements.store(untouched, 0, untouched.length, outputs[2], 0);
            return run(
                    PLAIN.kernels(),
                    CudaRowsTest.onCpu(data, packed),
                    CudaRowsTest.onCpu(biases, bias),
                    outputs,
                    CudaRowsTest.onCpu(data, dout));
        }

        /** Indices into the packed buffer of q (0), k (1) or v (2). */
        int[] elements(int which) {
            Strides strides = shape.q();
            int rows = which == 0 ? shape.queries() : shape.keys();
            return IntStream.range(0, (int) shape.batch())
                    .flatMap(b -> IntStream.range(0, rows)
                            .flatMap(n -> IntStream.range(0, shape.heads() * shape.headDim())
                                    .map(i -> (int) (starts[which] + b * strides.batch() + n * strides.row() + i))))
                    .toArray();
        }

        void check() {
            String what = shape + " " + dtype + " ";
            Buffer[] actual = onGpuOnce();
            Buffer[] expected = onCpu(DType.F64, DType.F64, DType.F64);
            Buffer[] plain = onCpu(dtype, DType.F32, biasType);
            CudaRowsTest.check(what + "out", actual[0], values(expected[0]), values(plain[0]));
            CudaRowsTest.check(what + "log of the sums", actual[1], values(expected[1]));
            double[] gradients = values(actual[2]);
            double[] wanted = values(expected[2]);
            double[] dqkv = new double[0];
            double[] dqkvWanted = new double[0];
            double[] dqkvPlain = new double[0];
            double[] gradientsPlain = values(plain[2]);
            for (int which = 0; which < 3; which++) {
                int[] at = elements(which);
                dqkv = append(dqkv, gradients, at);
                dqkvWanted = append(dqkvWanted, wanted, at);
                dqkvPlain = append(dqkvPlain, gradientsPlain, at);
                IntStream.of(at).forEach(i -> gradients[i] = UNTOUCHED);
            }
            CudaRowsTest.check(what + "gradients", dtype, dqkv, dqkvWanted, dqkvPlain);
            for (double value : gradients) {
                assertEquals(UNTOUCHED, value, what + "elements that no stride reaches");
            }
            if (shape.biasBatch() > 0) {
                // dS of bf16 data is rounded for the products, whatever dbias is kept in.
                CudaRowsTest.check(
                        what + "dbias",
                        dtype == DType.BF16 ? DType.BF16 : biasType,
                        values(actual[3]),
                        values(expected[3]),
                        values(plain[3]));
            }
            for (int run = 0; run < 2; run++) {
                Buffer[] again = onGpuOnce();
                for (int i = 0; i < again.length; i++) {
                    assertArrayEquals(values(actual[i]), values(again[i]), what + "again");
                }
            }
        }

        private static double[] append(double[] to, double[] from, int[] at) {
            double[] longer = Arrays.copyOf(to, to.length + at.length);
            for (int i = 0; i < at.length; i++) {
                longer[to.length + i] = from[at[i]];
            }
            return longer;
        }
    }

    @ParameterizedTest
    @CsvSource({
        "F32, 16",
        "F32, 24",
        "F32, 30",
        "F32, 32",
        "F32, 48",
        "F32, 64",
        "F32, 80",
        "BF16, 7",
        "BF16, 16",
        "BF16, 24",
        "BF16, 32",
        "BF16, 48",
        "BF16, 64",
        "BF16, 80"
    })
    void attentionHeadDims(DType dtype, int headDim) {
        new Attention(dtype, 1, 2, 65, 65, headDim, 0, DType.F32, 0).check();
    }

    @ParameterizedTest
    @CsvSource({
        "F32, 1, 1",
        "F32, 7, 7",
        "F32, 16, 16",
        "F32, 49, 70",
        "F32, 64, 64",
        "F32, 130, 1",
        "BF16, 1, 1",
        "BF16, 7, 7",
        "BF16, 16, 16",
        "BF16, 49, 70",
        "BF16, 64, 64",
        "BF16, 130, 130",
        "BF16, 1, 65",
        "BF16, 392, 392"
    })
    void attentionLengths(DType dtype, int queries, int keys) {
        new Attention(dtype, queries > 200 ? 1 : 2, 1, queries, keys, 64, 0, DType.F32, 0).check();
    }

    @ParameterizedTest
    @CsvSource({
        "F32, 3, 1, F32",
        "F32, 2, 2, F32",
        "F32, 2, 2, BF16",
        "BF16, 3, 1, F32",
        "BF16, 30, 1, BF16",
        "BF16, 2, 2, BF16",
        "BF16, 1, 1, F32"
    })
    void attentionBias(DType dtype, int batch, int biasBatch, DType biasType) {
        new Attention(dtype, batch, 3, batch > 3 ? 16 : 49, batch > 3 ? 16 : 70, 32, biasBatch, biasType, 0).check();
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void attentionOnMisalignedRows(DType dtype) {
        new Attention(dtype, 2, 2, 33, 33, 32, 0, DType.F32, 1).check();
        new Attention(dtype, 2, 2, 33, 33, 32, 1, dtype, 1).check();
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void attentionOfLargeScores(DType dtype) {
        new Attention(dtype, 1, 1, 33, 49, 16, 0, DType.F32, 0, 20).check();
        new Attention(dtype, 1, 1, 33, 49, 16, 0, DType.F32, 0, -3).check();
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void attentionOfNothing(DType dtype) {
        new Attention(dtype, 0, 2, 5, 5, 16, 0, DType.F32, 0).check();
        new Attention(dtype, 2, 1, 0, 5, 16, 0, DType.F32, 0).check();
        new Attention(dtype, 0, 2, 5, 5, 16, 1, DType.F32, 0).check();
        Buffer[] noKeys = new Attention(dtype, 1, 1, 5, 0, 16, 0, DType.F32, 0).onGpuOnce();
        assertArrayEquals(new double[5 * 16], values(noKeys[0]));
    }

    /** Scores of minus infinity mask keys; a query without any key gets zeros rather than NaN. */
    @ParameterizedTest
    @EnumSource(names = {"F32", "BF16"})
    void attentionUnderAMask(DType dtype) {
        Attention masked = new Attention(dtype, 1, 1, 20, 20, 16, 1, DType.F32, 0);
        for (int i = 0; i < 20; i++) {
            for (int j = 0; j < 20; j++) {
                masked.bias[i * 20 + j] = j > i ? Double.NEGATIVE_INFINITY : 0;
            }
        }
        masked.check();
        Arrays.fill(masked.bias, 0, 20, Double.NEGATIVE_INFINITY);
        Buffer[] results = masked.onGpuOnce();
        assertArrayEquals(new double[16], Arrays.copyOf(values(results[0]), 16));
        assertTrue(Arrays.stream(values(results[2])).allMatch(Double::isFinite));
    }

    @Test
    void refusesWhatNoKernelComputes() {
        assertThrows(
                IllegalArgumentException.class,
                () -> new Attention(DType.F32, 1, 1, 3, 3, 96, 0, DType.F32, 0).onGpuOnce());
        Buffer f32 = output(DType.F32, 0, 8);
        Buffer bf16 = output(DType.BF16, 0, 8);
        Kernels kernels = device().kernels();
        assertThrows(
                IllegalArgumentException.class, () -> kernels.norms().softmax(new RowShape(2, 4), f32, false, bf16));
        assertThrows(
                IllegalArgumentException.class,
                () -> kernels.norms()
                        .layerNorm(new RowShape(1, 8), bf16, new NormParameters(bf16, bf16, 1e-5), bf16, null));
    }
}
