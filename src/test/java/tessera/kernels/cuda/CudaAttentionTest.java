package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.FakeCuda;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.cpu.Elements;

/** Attention on a GPU against the plain kernels in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaAttentionTest extends OnGpuAndPlain {
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
        final double[] regions;

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
            this(dtype, batch, heads, queries, keys, headDim, biasBatch, biasType, offset, 1 / Math.sqrt(headDim), 0);
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
                double scale,
                int regionBatch) {
            long row = 3L * heads * headDim + offset;
            int rows = Math.max(queries, keys);
            Strides strides = new Strides(rows * row, headDim, row);
            Strides out = new Strides((long) queries * heads * headDim, headDim, (long) heads * headDim);
            this.dtype = dtype;
            this.offset = offset;
            this.shape = new AttentionShape(
                    batch,
                    heads,
                    queries,
                    keys,
                    headDim,
                    (float) scale,
                    strides,
                    strides,
                    strides,
                    out,
                    biasBatch,
                    regionBatch,
                    false);
            this.starts = new long[] {0, (long) heads * headDim, 2L * heads * headDim};
            this.packed = normal((long) batch * rows * row, dtype);
            this.dout = normal(batch * out.batch(), dtype);
            this.biasType = biasType;
            this.bias = normal((long) biasBatch * heads * queries * keys, biasType);
            this.regions = random.ints((long) regionBatch * queries, 0, 3)
                    .asDoubleStream()
                    .toArray();
        }

        /** The part of a packed buffer in which q (0), k (1) or v (2) lies. */
        Buffer part(Buffer buffer, int which) {
            long start = Math.min(starts[which], buffer.length());
            return buffer.slice(start, buffer.length() - start);
        }

        /** Out, log of the denominators, packed gradients, gradient of the bias. */
        Buffer[] run(Kernels kernels, Buffer all, Buffer biases, Buffer areas, Buffer[] outputs, Buffer douts) {
            boolean biased = shape.biasBatch() > 0;
            AttentionTensors in = new AttentionTensors(
                    part(all, 0),
                    part(all, 1),
                    part(all, 2),
                    biased ? biases : null,
                    shape.regionBatch() > 0 ? areas : null);
            kernels.attention().attention(shape, in, outputs[0], outputs[1]);
            kernels.attention()
                    .attentionBackward(
                            shape,
                            in,
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
                    onGpu(DType.I32, 0, regions),
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
                    OnGpuAndPlain.onCpu(data, packed),
                    OnGpuAndPlain.onCpu(biases, bias),
                    OnGpuAndPlain.onCpu(DType.I32, regions),
                    outputs,
                    OnGpuAndPlain.onCpu(data, dout));
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
            OnGpuAndPlain.check(what + "out", actual[0], values(expected[0]), values(plain[0]));
            OnGpuAndPlain.check(what + "log of the sums", actual[1], values(expected[1]));
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
            OnGpuAndPlain.check(what + "gradients", dtype, dqkv, dqkvWanted, dqkvPlain);
            for (double value : gradients) {
                assertEquals(UNTOUCHED, value, what + "elements that no stride reaches");
            }
            if (shape.biasBatch() > 0) {
                // dS of bf16 data is rounded for the products, whatever dbias is kept in.
                OnGpuAndPlain.check(
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

    /** Hopper's kernels have blocks of another kind for the few queries behind the last 64. */
    @ParameterizedTest
    @CsvSource({"65, 20, 64", "72, 17, 40", "80, 33, 32"})
    void attentionOfManyHeads(int queries, int keys, int headDim) {
        new Attention(DType.BF16, 43, 3, queries, keys, headDim, 0, DType.F32, 0).check();
    }

    /** All ways to compute the gradients. */
    @ParameterizedTest
    @CsvSource({
        "1, 1, 64, 0",
        "17, 17, 64, 0",
        "49, 70, 64, 0",
        "64, 64, 64, 0",
        "65, 129, 50, 1",
        "130, 130, 56, 0",
        "98, 300, 64, 0",
        "130, 140, 17, 0",
        "98, 98, 64, 0",
        "129, 128, 64, 0",
        "200, 200, 32, 0",
        "80, 260, 40, 0",
        "65, 130, 48, 0"
    })
    void gradientsInOneKernel(int queries, int keys, int headDim, int offset) {
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        try {
            for (boolean together : new boolean[] {true, false}) {
                attention.gradientsTogether(together);
                new Attention(DType.BF16, 2, 2, queries, keys, headDim, 0, DType.F32, offset).check();
            }
        } finally {
            attention.gradientsTogether(true);
        }
    }

    /** With a bias, regions or both of odd and even lengths, and of head dims beyond a panel, where there are such kernels. */
    @ParameterizedTest
    @CsvSource({
        "2, 2, 20, 20, 32, 1, F32, 2, 0",
        "6, 3, 49, 49, 32, 1, F32, 3, 0",
        "4, 1, 130, 130, 24, 1, BF16, 2, 0",
        "2, 2, 392, 392, 32, 1, BF16, 1, 0",
        "2, 2, 66, 258, 32, 2, F32, 0, 0",
        "3, 1, 1, 8, 32, 1, BF16, 0, 0",
        "2, 1, 98, 98, 32, 0, F32, 2, 0",
        "2, 2, 80, 80, 17, 1, BF16, 0, 0",
        "2, 2, 65, 65, 32, 0, F32, 1, 1",
        "1, 2, 1, 1, 80, 0, F32, 0, 0",
        "2, 2, 65, 129, 72, 0, F32, 0, 0",
        "2, 1, 130, 130, 80, 0, F32, 0, 0",
        "1, 2, 80, 300, 66, 0, F32, 0, 0",
        "2, 2, 200, 40, 80, 0, F32, 0, 0",
        "2, 2, 0, 34, 32, 1, F32, 0, 0",
        "0, 2, 33, 34, 32, 1, F32, 0, 0"
    })
    void warpgroupsWhereTheyAreNotUsual(
            int batch,
            int heads,
            int queries,
            int keys,
            int headDim,
            int biasBatch,
            DType biasType,
            int regionBatch,
            int offset) {
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        try {
            attention.warpgroups(true);
            new Attention(
                            DType.BF16,
                            batch,
                            heads,
                            queries,
                            keys,
                            headDim,
                            biasBatch,
                            biasType,
                            offset,
                            .2,
                            regionBatch)
                    .check();
        } finally {
            attention.warpgroups(false);
        }
    }

    /** A bias of minus infinity masks as without warpgroups. */
    @Test
    void warpgroupsUnderAMask() {
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        try {
            attention.warpgroups(true);
            maskedRows(DType.BF16, 32);
        } finally {
            attention.warpgroups(false);
        }
    }

    /** Which kernels compute where warpgroups are asked for. */
    @Test
    void warpgroupsComputeWhatTheyTake() {
        assumeTrue(
                FakeCuda.present() && device().architecture().equals("sm_90"),
                "counts calls of kernels for capability 9.0");
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        Attention biased = new Attention(DType.BF16, 2, 2, 20, 20, 32, 1, DType.F32, 0);
        Attention wide = new Attention(DType.BF16, 2, 2, 20, 20, 80, 0, DType.F32, 0);
        Attention odd = new Attention(DType.BF16, 2, 2, 21, 21, 32, 1, DType.F32, 0);
        for (boolean always : new boolean[] {true, false}) {
            try {
                attention.warpgroups(always);
                int one = always ? 1 : 0;
                assertEquals(one, calls("attention_wgmma_biased_32", biased));
                assertEquals(one, calls("attention_backward_biased_32_bf16", biased));
                assertEquals(1 - one, calls("attention_keys_biased_32_bf16", biased));
                assertEquals(one, calls("attention_backward_80_bf16", wide));
                assertEquals(1, calls("attention_wgmma_80", wide));
                assertEquals(0, calls("attention_wgmma_biased_32", odd));
                assertEquals(one, calls("attention_backward_biased_32_bf16", odd));
            } finally {
                attention.warpgroups(false);
            }
        }
    }

    private static long calls(String kernel, Attention call) {
        long before = FakeCuda.calls(kernel);
        call.onGpuOnce();
        return FakeCuda.calls(kernel) - before;
    }

    /** Warps of 32 rows do for each row what warps of 16 do, in the same order. */
    @ParameterizedTest
    @CsvSource({
        "1, 1, 64",
        "17, 17, 64",
        "32, 64, 32",
        "33, 70, 48",
        "49, 129, 56",
        "97, 65, 64",
        "128, 128, 64",
        "130, 130, 24",
        "160, 200, 40",
        "257, 96, 64"
    })
    void warpsOf32Rows(int queries, int keys, int headDim) {
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        Attention call = new Attention(DType.BF16, 2, 2, queries, keys, headDim, 0, DType.F32, 0);
        boolean sameOrder = !device().architecture().equals("sm_90");
        double[] usual = values(call.onGpuOnce()[0]);
        try {
            attention.tall(true);
            String kernel = "attention_tall_" + Math.ceilDiv(headDim, 16) * 16 + "_bf16";
            long before = FakeCuda.present() ? FakeCuda.calls(kernel) : 0;
            call.check();
            assertTrue(!FakeCuda.present() || FakeCuda.calls(kernel) > before, kernel);
            if (sameOrder) {
                assertArrayEquals(usual, values(call.onGpuOnce()[0]));
            }
        } finally {
            attention.tall(false);
        }
    }

    /** What has no such kernel is computed as ever. */
    @Test
    void warpsOf32RowsForWhatHasNone() {
        CudaAttention attention = (CudaAttention) device().kernels().attention();
        try {
            attention.tall(true);
            new Attention(DType.BF16, 2, 2, 33, 33, 16, 0, DType.F32, 0).check();
            new Attention(DType.BF16, 1, 2, 33, 33, 80, 0, DType.F32, 0).check();
            new Attention(DType.BF16, 2, 2, 33, 33, 32, 1, DType.F32, 0).check();
            new Attention(DType.BF16, 2, 2, 33, 33, 32, 0, DType.F32, 1).check();
            new Attention(DType.F32, 2, 2, 33, 33, 32, 0, DType.F32, 0).check();
            new Attention(DType.BF16, 2, 1, 0, 5, 32, 0, DType.F32, 0).check();
        } finally {
            attention.tall(false);
        }
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
    @CsvSource({
        "F32, 4, 2, 0, F32, 20",
        "F32, 6, 3, 1, F32, 49",
        "F32, 2, 1, 2, F32, 70",
        "BF16, 4, 2, 0, F32, 20",
        "BF16, 6, 3, 1, F32, 49",
        "BF16, 2, 2, 1, BF16, 130",
        "BF16, 2, 2, 1, F32, 392",
        "BF16, 2, 1, 2, BF16, 70"
    })
    void attentionBetweenRegions(DType dtype, int batch, int regionBatch, int biasBatch, DType biasType, int tokens) {
        new Attention(dtype, batch, 2, tokens, tokens, 32, biasBatch, biasType, 0, .2, regionBatch).check();
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
        new Attention(dtype, 1, 1, 33, 49, 16, 0, DType.F32, 0, 20, 0).check();
        new Attention(dtype, 1, 1, 33, 49, 16, 0, DType.F32, 0, -3, 0).check();
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
        maskedRows(dtype, 16);
    }

    private void maskedRows(DType dtype, int headDim) {
        Attention masked = new Attention(dtype, 1, 1, 20, 20, headDim, 1, DType.F32, 0);
        for (int i = 0; i < 20; i++) {
            for (int j = 0; j < 20; j++) {
                masked.bias[i * 20 + j] = j > i ? Double.NEGATIVE_INFINITY : 0;
            }
        }
        masked.check();
        Arrays.fill(masked.bias, 0, 20, Double.NEGATIVE_INFINITY);
        Buffer[] results = masked.onGpuOnce();
        assertArrayEquals(new double[headDim], Arrays.copyOf(values(results[0]), headDim));
        assertTrue(Arrays.stream(values(results[2])).allMatch(Double::isFinite));
    }

    @Test
    void otherTypesAreRefused() {
        assertTrue(refusal(DType.F64, DType.F64).contains("computes in f32 or bf16 but was given f64"));
        assertTrue(refusal(DType.F32, DType.F64).contains("attention's bias on"));
    }

    private String refusal(DType data, DType bias) {
        Attention call = new Attention(DType.F32, 1, 1, 3, 3, 16, 1, DType.F32, 0);
        Buffer[] outputs = {output(data, 0, 48), output(data, 0, 3), output(data, 0, 144), output(bias, 0, 9)};
        Buffer all = onGpu(data, 0, call.packed);
        Buffer biases = onGpu(bias, 0, call.bias);
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> call.run(device().kernels(), all, biases, biases, outputs, outputs[0]));
        return String.valueOf(e.getMessage());
    }

    @Test
    void headsTooLargeAreRefused() {
        assertThrows(
                IllegalArgumentException.class,
                () -> new Attention(DType.F32, 1, 1, 3, 3, 96, 0, DType.F32, 0).onGpuOnce());
    }
}
