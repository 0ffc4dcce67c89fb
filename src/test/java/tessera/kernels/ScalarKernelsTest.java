package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.Golden;
import tessera.kernels.Kernels.Activation;
import tessera.kernels.Kernels.AttentionShape;
import tessera.kernels.Kernels.BinaryOp;
import tessera.kernels.Kernels.MatmulShape;
import tessera.kernels.Kernels.PatchGeometry;
import tessera.kernels.Kernels.Strides;
import tessera.kernels.Kernels.UnaryOp;

/** The plain Java kernels against reference values in f64, hand computations and their own contract. */
class ScalarKernelsTest {
    private static final double TOLERANCE = 1e-12;
    private static final Golden OPS = Golden.open("ops-float64");
    private static final Golden LOSSES = Golden.open("losses-schedules");
    private static final CpuDevice DEVICE = new CpuDevice(1);
    private static final Workers WORKERS = new Workers(3);
    private static final Kernels KERNELS = new ScalarKernels(WORKERS);

    @AfterAll
    static void stopWorkers() {
        WORKERS.close();
    }

    // ---------------------------------------------------------------------------------------------- golden values

    @ParameterizedTest
    @CsvSource({
        "1x1_eps0.1",
        "1x1_eps1e-06",
        "2x1000_eps0.1",
        "2x1000_eps1e-06",
        "3x7_eps0.1",
        "3x7_eps1e-06",
        "5x64_eps0.1",
        "5x64_eps1e-06",
        "17x384_eps0.1",
        "17x384_eps1e-06"
    })
    void layerNormMatches(String setting) {
        String name = "layer_norm_" + setting;
        long[] shape = OPS.shape(name + "/in.x");
        double eps = Double.parseDouble(setting.substring(setting.indexOf("eps") + 3));
        Buffer x = in(name, "x");
        Buffer y = like(x);
        Buffer mean = f64(shape[0]);
        Buffer rstd = f64(shape[0]);
        KERNELS.layerNorm(x, in(name, "w"), in(name, "b"), eps, shape[0], shape[1], y, mean, rstd);
        assertGolden(y, name + "/out");
        Buffer dx = like(x);
        Buffer dw = f64(shape[1]);
        Buffer db = f64(shape[1]);
        KERNELS.layerNormBackward(x, in(name, "w"), mean, rstd, cotangent(name), shape[0], shape[1], null, dx, dw, db);
        assertGradient(db, name, "b");
        if (shape[1] > 1) {
            assertGradient(dx, name, "x");
            assertGradient(dw, name, "w");
        } else {
            Close.within(doubles(dx)[0], 0, 1e-13, "a single value, normalised, is constant");
            Close.within(doubles(dw)[0], 0, 1e-13, "a single value, normalised, is 0");
        }
    }

    @Test
    void geluMatches() {
        Buffer x = in("gelu_erf", "x");
        Buffer y = like(x);
        KERNELS.unary(UnaryOp.GELU, x, y);
        assertGolden(y, "gelu_erf/out");
        Buffer dx = cotangent("gelu_erf");
        KERNELS.unaryBackward(UnaryOp.GELU, x, dx, dx);
        assertGradient(dx, "gelu_erf", "x");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "attention_b1h1n1d1",
                "attention_b1h2n160d64",
                "attention_b1h3n131d32",
                "attention_b2h3n5d16",
                "attention_b2h6n49d64",
                "attention_bias_b2h2n32d16"
            })
    void attentionMatches(String name) {
        long[] s = OPS.shape(name + "/in.q");
        boolean biased = OPS.keys().contains(name + "/in.bias");
        Buffer bias = biased ? in(name, "bias") : null;
        Strides strides = new Strides(s[1] * s[2] * s[3], s[2] * s[3], s[3]);
        AttentionShape shape = new AttentionShape(
                s[0],
                (int) s[1],
                (int) s[2],
                (int) s[2],
                (int) s[3],
                1 / Math.sqrt(s[3]),
                strides,
                strides,
                strides,
                strides,
                biased ? 1 : 0);
        Buffer q = in(name, "q");
        Buffer k = in(name, "k");
        Buffer v = in(name, "v");
        Buffer out = like(q);
        Buffer logSumExp = f64(s[0] * s[1] * s[2]);
        KERNELS.attention(shape, q, k, v, bias, out, logSumExp);
        assertGolden(out, name + "/out");
        Buffer dq = like(q);
        Buffer dk = like(k);
        Buffer dv = like(v);
        Buffer dbias = bias == null ? null : like(bias);
        KERNELS.attentionBackward(shape, q, k, v, bias, out, logSumExp, cotangent(name), dq, dk, dv, dbias);
        if (s[2] > 1) {
            assertGradient(dq, name, "q");
            assertGradient(dk, name, "k");
        } else {
            Close.within(doubles(dq)[0], 0, 1e-15, "softmax of one score has no gradient");
        }
        assertGradient(dv, name, "v");
        if (dbias != null) {
            assertGradient(dbias, name, "bias");
        }
    }

    @Test
    void attentionReadsPackedInputs() {
        String name = "attention_b2h3n5d16";
        int batch = 2;
        int heads = 3;
        int n = 5;
        int d = 16;
        double[][] separate = {doubles(in(name, "q")), doubles(in(name, "k")), doubles(in(name, "v"))};
        double[] packed = new double[3 * separate[0].length];
        double[] expected = new double[separate[0].length];
        double[] golden = OPS.doubles(name + "/out");
        for (int b = 0; b < batch; b++) {
            for (int row = 0; row < n; row++) {
                for (int h = 0; h < heads; h++) {
                    int from = ((b * heads + h) * n + row) * d;
                    for (int part = 0; part < 3; part++) {
                        System.arraycopy(separate[part], from, packed, (((b * n + row) * 3 + part) * heads + h) * d, d);
                    }
                    System.arraycopy(golden, from, expected, ((b * n + row) * heads + h) * d, d);
                }
            }
        }
        Buffer qkv = f64(packed);
        int width = heads * d;
        Strides in = new Strides((long) n * 3 * width, d, 3L * width);
        Strides to = new Strides((long) n * width, d, width);
        AttentionShape shape = new AttentionShape(batch, heads, n, n, d, 0.25, in, in, in, to, 0);
        Buffer out = f64(expected.length);
        long rest = packed.length - 2L * width;
        KERNELS.attention(
                shape, qkv.slice(0, rest), qkv.slice(width, rest), qkv.slice(2L * width, rest), null, out, null);
        Close.relative(doubles(out), expected, TOLERANCE, "packed attention");
    }

    @Test
    void biasOfEachSampleHasItsOwnGradient() {
        int n = 4;
        int d = 3;
        Strides strides = new Strides(n * d, n * d, d);
        AttentionShape one = new AttentionShape(1, 1, n, n, d, 0.7, strides, strides, strides, strides, 1);
        AttentionShape two = new AttentionShape(2, 1, n, n, d, 0.7, strides, strides, strides, strides, 2);
        Buffer q = noise(2 * n * d, 1);
        Buffer k = noise(2 * n * d, 2);
        Buffer v = noise(2 * n * d, 3);
        Buffer bias = noise(2 * n * n, 4);
        Buffer dout = noise(2 * n * d, 5);
        Buffer out = like(q);
        Buffer logSumExp = f64(2 * n);
        KERNELS.attention(two, q, k, v, bias, out, logSumExp);
        Buffer dbias = like(bias);
        KERNELS.attentionBackward(two, q, k, v, bias, out, logSumExp, dout, like(q), like(k), like(v), dbias);
        Buffer second = f64(n * n);
        int half = n * d;
        KERNELS.attentionBackward(
                one,
                q.slice(half, half),
                k.slice(half, half),
                v.slice(half, half),
                bias.slice(n * n, n * n),
                out.slice(half, half),
                logSumExp.slice(n, n),
                dout.slice(half, half),
                f64(half),
                f64(half),
                f64(half),
                second);
        assertArrayEquals(doubles(second), Arrays.copyOfRange(doubles(dbias), n * n, 2 * n * n));
    }

    @Test
    void softmaxMatches() {
        Buffer x = in("softmax_5x97", "x");
        Buffer y = like(x);
        KERNELS.softmax(x, 5, 97, false, y);
        assertGolden(y, "softmax_5x97/out");
        Buffer dx = cotangent("softmax_5x97");
        KERNELS.softmaxBackward(y, dx, 5, 97, false, dx);
        assertGradient(dx, "softmax_5x97", "x");
    }

    @Test
    void logSoftmaxGradientMatchesDifferences() {
        Buffer x = noise(14, 6);
        Buffer dy = noise(14, 7);
        Buffer y = like(x);
        KERNELS.softmax(x, 2, 7, true, y);
        Buffer dx = like(x);
        KERNELS.softmaxBackward(y, dy, 2, 7, true, dx);
        double[] point = doubles(x);
        double[] weights = doubles(dy);
        double h = 1e-6;
        for (int i = 0; i < point.length; i++) {
            double difference = 0;
            for (int sign = -1; sign <= 1; sign += 2) {
                double[] moved = point.clone();
                moved[i] += sign * h;
                Buffer out = like(x);
                KERNELS.softmax(f64(moved), 2, 7, true, out);
                double[] values = doubles(out);
                for (int j = 0; j < values.length; j++) {
                    difference += sign * weights[j] * values[j] / (2 * h);
                }
            }
            Close.within(doubles(dx)[i], difference, 1e-8, "d log_softmax [" + i + "]");
        }
    }

    @ParameterizedTest
    @CsvSource({"cross_entropy_8x204, 0", "cross_entropy_smooth_8x10, 0.1"})
    void crossEntropyMatches(String name, double smoothing) {
        long[] shape = OPS.shape(name + "/in.x");
        Buffer x = in(name, "x");
        Buffer loss = f64(1);
        Buffer dx = like(x);
        KERNELS.crossEntropy(x, i32(OPS.ints(name + "/in.y")), smoothing, shape[0], shape[1], loss, dx);
        assertGolden(loss, name + "/out");
        KERNELS.scaleBy(dx, cotangent(name), dx);
        assertGradient(dx, name, "x");
    }

    @Test
    void linearMatches() {
        String name = "linear_7x5x3";
        Buffer x = in(name, "x");
        Buffer w = in(name, "w");
        Buffer y = f64(21);
        try (Kernels.PackedWeight packed = KERNELS.pack(w, 3, 5)) {
            KERNELS.linear(7, x, packed, in(name, "b"), null, Activation.NONE, y);
            assertGolden(y, name + "/out");
            KERNELS.linear(7, x, packed, in(name, "b"), y, Activation.NONE, y);
            KERNELS.affine(y, 0.5, 0, y);
            assertGolden(y, name + "/out");
        }
        Buffer dy = cotangent(name);
        Buffer dx = like(x);
        Buffer dw = like(w);
        Buffer db = f64(3);
        KERNELS.matmul(MatmulShape.of(false, false, 7, 5, 3), dy, w, null, null, Activation.NONE, dx);
        KERNELS.matmul(MatmulShape.of(true, false, 3, 5, 7), dy, x, null, null, Activation.NONE, dw);
        KERNELS.sum(dy, 1, 7, 3, 1, db);
        assertGradient(dx, name, "x");
        assertGradient(dw, name, "w");
        assertGradient(db, name, "b");
    }

    @Test
    void gatherTokensMatches() {
        Buffer indices = i32(OPS.ints("gather_tokens/in.idx"));
        Buffer y = f64(72);
        KERNELS.gatherRows(in("gather_tokens", "x"), indices, 3, 10, 6, 4, y);
        assertGolden(y, "gather_tokens/out");
        Buffer dx = f64(120);
        KERNELS.fill(dx, 9);
        KERNELS.scatterRows(cotangent("gather_tokens"), indices, 3, 10, 6, 4, dx);
        assertGradient(dx, "gather_tokens", "x");
    }

    @Test
    void meanTokensMatches() {
        Buffer y = f64(15);
        KERNELS.sum(in("mean_tokens", "x"), 3, 9, 5, 1.0 / 9, y);
        assertGolden(y, "mean_tokens/out");
    }

    @Test
    void patchEmbeddingMatchesConvolution() {
        String name = "patch_embed_conv3d";
        PatchGeometry g = channelFirst(2, 3, 4, 8, 8, 2, 4, 1);
        Buffer x = in(name, "x");
        Buffer w = in(name, "w");
        Buffer patches = f64(16 * 96);
        KERNELS.gatherPatches(g, x, null, 8, patches);
        Buffer y = f64(16 * 6);
        KERNELS.matmul(MatmulShape.of(false, true, 16, 6, 96), patches, w, in(name, "b"), null, Activation.NONE, y);
        assertGolden(y, name + "/out");
        Buffer dpatches = like(patches);
        KERNELS.matmul(
                MatmulShape.of(false, false, 16, 96, 6), cotangent(name), w, null, null, Activation.NONE, dpatches);
        Buffer dx = like(x);
        KERNELS.fill(dx, 0);
        KERNELS.scatterPatches(g, dpatches, null, 8, dx);
        assertGradient(dx, name, "x");
    }

    @ParameterizedTest
    @CsvSource({"kd0_uniform, false", "kd1_uniform, false", "kd2_per_sample, true", "kd3_dataset, false"})
    void distillationLossMatches(String name, boolean perSample) {
        int rows = 16;
        int cols = 97;
        double[] all = LOSSES.doubles("kd.teacher_logits_TBC");
        Buffer[] teachers = new Buffer[3];
        for (int t = 0; t < 3; t++) {
            teachers[t] = f64(Arrays.copyOfRange(all, t * rows * cols, (t + 1) * rows * cols));
        }
        double[] byTeacher = LOSSES.doubles(name + ".weights");
        double[] weights = new double[perSample ? rows * 3 : 3];
        for (int i = 0; i < weights.length; i++) {
            weights[i] = byTeacher[i % 3 * rows + i / 3];
        }
        double[] p = LOSSES.doubles(name + ".params_T_alpha_beta_tauw");
        Buffer loss = f64(1);
        Buffer gradient = f64(rows * cols);
        KERNELS.distillationLoss(
                f64(LOSSES.doubles(name + ".student_logits")),
                teachers,
                f64(weights),
                perSample,
                p[2] == 0 ? null : i32(LOSSES.ints("kd.labels")),
                p[0],
                p[1],
                p[2],
                rows,
                cols,
                loss,
                gradient);
        Close.relative(doubles(loss), LOSSES.doubles(name + ".loss"), TOLERANCE, name + " loss");
        Close.relative(doubles(gradient), LOSSES.doubles(name + ".grad"), TOLERANCE, name + " gradient");
    }

    // ---------------------------------------------------------------------------------------------- element-wise

    @Test
    void erfIsAccurateEverywhere() {
        double[][] known = {
            {1e-10, 1.1283791670955126e-10, 0.999999999887162},
            {0.1, 0.1124629160182849, 0.8875370839817152},
            {0.46875, 0.49261347321793797, 0.507386526782062},
            {0.5, 0.5204998778130465, 0.4795001221869535},
            {1, 0.8427007929497149, 0.15729920705028513},
            {2, 0.9953222650189527, 0.004677734981047265},
            {3.9, 0.9999999652077514, 3.479224859723177e-08},
            {4.5, 0.9999999998033839, 1.9661604415428873e-10},
            {6, 1, 2.1519736712498916e-17},
            {26, 1, 5.663192408856143e-296},
            {-0.3, -0.3286267594591274, 1.3286267594591274},
            {-1.5, -0.9661051464753108, 1.9661051464753108},
            {-5, -0.9999999999984626, 1.9999999999984626},
            {Double.POSITIVE_INFINITY, 1, 0},
        };
        for (double[] k : known) {
            Close.within(Erf.erf(k[0]), k[1], 1e-15 * Math.abs(k[1]), "erf(" + k[0] + ")");
            Close.within(Erf.erfc(k[0]), k[2], 1e-15 * k[2], "erfc(" + k[0] + ")");
        }
        assertTrue(Double.isNaN(Erf.erf(Double.NaN)));
        assertTrue(Double.isNaN(Erf.erfc(Double.NaN)));
    }

    @ParameterizedTest
    @EnumSource
    void derivativesMatchDifferences(UnaryOp op) {
        double[] points = op == UnaryOp.LOG || op == UnaryOp.SQRT
                ? new double[] {0.1, 0.7, 1, 2.5, 9}
                : new double[] {-6, -2.5, -0.7, -0.1, 0.1, 0.7, 2.5, 6};
        Buffer dx = f64(points.length);
        KERNELS.fill(dx, 3);
        KERNELS.unaryBackward(op, f64(points), dx, dx);
        double h = 1e-5;
        Buffer above = f64(Arrays.stream(points).map(x -> x + h).toArray());
        Buffer below = f64(Arrays.stream(points).map(x -> x - h).toArray());
        KERNELS.unary(op, above, above);
        KERNELS.unary(op, below, below);
        for (int i = 0; i < points.length; i++) {
            double difference = 3 * (doubles(above)[i] - doubles(below)[i]) / (2 * h);
            Close.within(doubles(dx)[i], difference, 1e-8 * (1 + Math.abs(difference)), op + "'(" + points[i] + ")");
        }
    }

    @Test
    void bf16RoundsToNearestEven() {
        double[] values = {
            1,
            1 + 0x1p-8,
            1 + 0x1p-8 + 0x1p-40,
            1 + 0x3p-8,
            -1 - 0x3p-8,
            3.4e38,
            Double.NEGATIVE_INFINITY,
            Double.NaN,
            1e300
        };
        Buffer bf16 = DEVICE.allocate(DType.BF16, values.length);
        KERNELS.cast(f64(values), bf16);
        Buffer back = f64(values.length);
        KERNELS.cast(bf16, back);
        double inf = Double.POSITIVE_INFINITY;
        assertArrayEquals(
                new double[] {1, 1, 1 + 0x1p-7, 1 + 0x1p-6, -1 - 0x1p-6, inf, -inf, Double.NaN, inf}, doubles(back));
    }

    @Test
    void integersSaturate() {
        Buffer x = f64(new double[] {-3.7, 3.7, 300, 1e12, -1e12, Double.NaN});
        Buffer u8 = DEVICE.allocate(DType.U8, 6);
        Buffer i32 = DEVICE.allocate(DType.I32, 6);
        KERNELS.cast(x, u8);
        KERNELS.cast(x, i32);
        Buffer wide = f64(6);
        KERNELS.cast(u8, wide);
        assertArrayEquals(new double[] {0, 3, 255, 255, 0, 0}, doubles(wide));
        assertArrayEquals(new int[] {-3, 3, 300, Integer.MAX_VALUE, Integer.MIN_VALUE, 0}, ints(i32));
    }

    @Test
    void binaryBroadcasts() {
        Buffer column = f64(new double[] {10, 20});
        Buffer row = f64(new double[] {1, 2, 5});
        Buffer y = f64(6);
        KERNELS.binary(BinaryOp.SUB, column, new long[] {1, 0}, row, new long[] {0, 1}, y, new long[] {2, 3});
        assertArrayEquals(new double[] {9, 8, 5, 19, 18, 15}, doubles(y));
        Buffer one = f64(1);
        KERNELS.binary(BinaryOp.DIV, column, new long[0], row, new long[0], one, new long[0]);
        assertArrayEquals(new double[] {10}, doubles(one));
    }

    @Test
    void copyStridedTransposesAndMovesLongRows() {
        double[] values = IntStream.range(0, 3 * 5000).asDoubleStream().toArray();
        Buffer x = f64(values);
        Buffer y = like(x);
        KERNELS.copyStrided(x, 0, new long[] {1, 5000}, y, 0, new long[] {3, 1}, new long[] {5000, 3});
        double[] transposed = doubles(y);
        for (int i = 0; i < values.length; i++) {
            assertEquals(values[i % 3 * 5000 + i / 3], transposed[i]);
        }
        Buffer part = f64(2 * 4990);
        KERNELS.copyStrided(x, 5007, new long[] {5000, 1}, part, 0, new long[] {4990, 1}, new long[] {2, 4990});
        assertEquals(5007, doubles(part)[0]);
        assertEquals(10007 + 4989, doubles(part)[2 * 4990 - 1]);
    }

    @Test
    void sumsOfAllShapesAgree() {
        int n = 10_000;
        Buffer x = noise(n, 11);
        double expected = 0;
        for (double value : doubles(x)) {
            expected += value;
        }
        Buffer y = f64(1);
        KERNELS.sum(x, 1, n, 1, 1, y);
        Close.within(doubles(y)[0], expected, 1e-10, "whole");
        Buffer rows = f64(2);
        KERNELS.sum(x, 2, n / 2, 1, 1, rows);
        Close.within(doubles(rows)[0] + doubles(rows)[1], expected, 1e-10, "rows");
        Buffer columns = f64(100);
        KERNELS.sum(x, 1, 100, 100, 1, columns);
        KERNELS.sum(columns, 1, 100, 1, 0.5, y);
        Close.within(doubles(y)[0], expected / 2, 1e-10, "columns");
    }

    // ---------------------------------------------------------------------------------------------------- matmul

    @ParameterizedTest
    @CsvSource({"false, false", "false, true", "true, false", "true, true"})
    void matmulMatchesDefinitionOnManyTiles(boolean transposeA, boolean transposeB) {
        int m = 70;
        int n = 261;
        int k = 133;
        int lda = (transposeA ? m : k) + 2;
        int ldb = (transposeB ? k : n) + 1;
        int ldc = n + 3;
        Buffer a = noise((transposeA ? k : m) * lda, 1);
        Buffer b = noise((transposeB ? n : k) * ldb, 2);
        Buffer bias = noise(n, 3);
        Buffer addend = noise(m * ldc, 4);
        Buffer c = f64(m * ldc);
        KERNELS.fill(c, 7);
        MatmulShape shape = new MatmulShape(transposeA, transposeB, m, n, k, lda, ldb, ldc);
        KERNELS.matmul(shape, a, b, bias, addend, Activation.GELU, c);
        double[] av = doubles(a);
        double[] bv = doubles(b);
        double[] biases = doubles(bias);
        double[] addends = doubles(addend);
        double[] expected = new double[m * ldc];
        Arrays.fill(expected, 7);
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = biases[j] + addends[i * ldc + j];
                for (int p = 0; p < k; p++) {
                    sum += av[transposeA ? p * lda + i : i * lda + p] * bv[transposeB ? j * ldb + p : p * ldb + j];
                }
                expected[i * ldc + j] = 0.5 * sum * (1 + Erf.erf(sum / Math.sqrt(2)));
            }
        }
        Close.relative(doubles(c), expected, 1e-13, "matmul");
    }

    @Test
    void batchedMatmulAndFloatsWork() {
        Buffer a = f32(1, 2, 3, 4, 5, 6, 7, 8);
        Buffer b = f32(1, 0, 0, 1, 0, 2, 2, 0);
        Buffer c = f32(new float[8]);
        MatmulShape shape = MatmulShape.of(false, false, 2, 2, 2);
        KERNELS.matmulBatched(shape, 2, a, 4, b, 4, c, 4);
        assertArrayEquals(new float[] {1, 2, 3, 4, 12, 10, 16, 14}, floats(c));
        KERNELS.matmul(shape, a, b, null, c, Activation.NONE, c);
        assertArrayEquals(new float[] {2, 4, 6, 8, 12, 10, 16, 14}, floats(c));
    }

    @Test
    void foreignPackedWeightIsRefused() {
        Kernels.PackedWeight foreign = new Kernels.PackedWeight() {
            @Override
            public long n() {
                return 1;
            }

            @Override
            public long k() {
                return 1;
            }

            @Override
            public void close() {}
        };
        assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.linear(1, f64(1), foreign, null, null, Activation.NONE, f64(1)));
    }

    // --------------------------------------------------------------------------------------------- masks and tokens

    @Test
    void masksHideTheCellsWithTheSmallestKeys() {
        int batch = 2;
        int slots = 3;
        int plane = 14;
        int masked = 9;
        for (boolean tube : new boolean[] {true, false}) {
            Buffer visible = DEVICE.allocate(DType.I32, batch * slots * (plane - masked));
            Buffer hidden = DEVICE.allocate(DType.I32, batch * slots * masked);
            KERNELS.randomMask(5, 6, batch, slots, plane, masked, tube, visible, hidden);
            for (int b = 0; b < batch; b++) {
                int[] v = Arrays.copyOfRange(
                        ints(visible), b * slots * (plane - masked), (b + 1) * slots * (plane - masked));
                int[] h = Arrays.copyOfRange(ints(hidden), b * slots * masked, (b + 1) * slots * masked);
                assertArrayEquals(expectedMask(b, slots, plane, masked, tube), h);
                assertArrayEquals(
                        IntStream.range(0, slots * plane).toArray(),
                        IntStream.concat(Arrays.stream(v), Arrays.stream(h))
                                .sorted()
                                .toArray());
                assertArrayEquals(Arrays.stream(v).sorted().toArray(), v);
            }
        }
    }

    /** Ranks every cell by counting the cells that come before it. */
    private static int[] expectedMask(int b, int slots, int plane, int masked, boolean tube) {
        return IntStream.range(0, slots * plane)
                .filter(token -> {
                    long counter = (long) (b * slots + (tube ? 0 : token / plane)) * plane;
                    int key = Philox.word(5, 6, counter + token % plane);
                    long before = IntStream.range(0, plane)
                            .filter(c -> Integer.compareUnsigned(Philox.word(5, 6, counter + c), key) < 0)
                            .count();
                    return before < masked;
                })
                .toArray();
    }

    @Test
    void impossibleMaskIsRefused() {
        Buffer none = DEVICE.allocate(DType.I32, 0);
        assertThrows(IllegalArgumentException.class, () -> KERNELS.randomMask(0, 0, 1, 1, 4, 5, true, none, null));
    }

    @Test
    void patchesOfPixelsAreNormalisedInOrder() {
        // 1 x 2 x 2 x 4 video with 2 channels, channel last; patches of 2 frames x 2 x 2.
        byte[] pixels = new byte[32];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i * 8);
        }
        Buffer video = DEVICE.allocate(DType.U8, 32);
        video.segment().copyFrom(MemorySegment.ofArray(pixels));
        PatchGeometry g = new PatchGeometry(
                1, 2, 2, 4, 2, 2, 2, 32, 16, 8, 2, 1, 1 / 255.0, new double[] {0.5, 0.25}, new double[] {2, 4});
        Buffer out = DEVICE.allocate(DType.F32, 16);
        KERNELS.gatherPatches(g, video, i32(1), 1, out);
        float[] actual = floats(out);
        int at = 0;
        for (int c = 0; c < 2; c++) {
            for (int t = 0; t < 2; t++) {
                for (int y = 0; y < 2; y++) {
                    for (int x = 2; x < 4; x++) {
                        double pixel = 8 * (t * 16 + y * 8 + x * 2 + c) / 255.0;
                        double expected = c == 0 ? (pixel - 0.5) / 2 : (pixel - 0.25) / 4;
                        Close.within(actual[at], expected, 1e-7, "patch value " + at);
                        at++;
                    }
                }
            }
        }
    }

    @Test
    void reconstructionTargetIsNormalisedPerPatchAndChannel() {
        PatchGeometry g = channelFirst(2, 3, 4, 4, 8, 2, 2, 0.5);
        Buffer video = noise(2 * 3 * 4 * 4 * 8, 21);
        Buffer indices = i32(0, 5, 15, 3, 4, 8);
        Buffer target = f64(6 * 24);
        double eps = 1e-3;
        KERNELS.reconstructionTarget(g, video, indices, 3, eps, true, target);
        Buffer raw = f64(6 * 24);
        KERNELS.reconstructionTarget(g, video, indices, 3, eps, false, raw);
        double[] values = doubles(raw);
        double[] expected = new double[values.length];
        for (int row = 0; row < 6; row++) {
            for (int c = 0; c < 3; c++) {
                double mean = 0;
                for (int i = 0; i < 8; i++) {
                    mean += values[row * 24 + i * 3 + c] / 8;
                }
                double squares = 0;
                for (int i = 0; i < 8; i++) {
                    squares += Math.pow(values[row * 24 + i * 3 + c] - mean, 2);
                }
                for (int i = 0; i < 8; i++) {
                    int at = row * 24 + i * 3 + c;
                    expected[at] = (values[at] - mean) / (Math.sqrt(squares / 7) + eps);
                }
            }
        }
        Close.relative(doubles(target), expected, 1e-13, "target");
        // Token 5 of sample 0: slot 0, row 1, column 1; value (dt 1, dy 0, dx 1, channel 2).
        int pixel = ((2 * 4 + 1) * 4 + 2) * 8 + 3;
        assertEquals(0.5 * doubles(video)[pixel], values[24 + (1 * 4 + 1) * 3 + 2]);

        Buffer prediction = noise(6 * 24, 22);
        Buffer loss = f64(1);
        Buffer gradient = like(prediction);
        KERNELS.reconstructionLoss(g, video, indices, 3, eps, true, prediction, loss, gradient);
        Buffer expectedLoss = f64(1);
        Buffer expectedGradient = like(prediction);
        KERNELS.meanSquaredError(prediction, target, expectedLoss, expectedGradient);
        Close.relative(doubles(loss), doubles(expectedLoss), 1e-14, "loss");
        Close.relative(doubles(gradient), doubles(expectedGradient), 1e-14, "gradient");
    }

    @Test
    void decoderInputIsAssembledWithPositions() {
        Buffer visible = f64(new double[] {1, 2, 3, 4});
        Buffer token = f64(new double[] {100, 200});
        Buffer table = f64(new double[] {0.1, 0.2, 0.3, 0.4, 0.5, 0.6});
        Buffer y = f64(12);
        KERNELS.assembleDecoder(visible, i32(2, 1), i32(0, 1, 0, 2), token, table, 2, 1, 2, 2, y);
        double[] expected = {1.5, 2.6, 100.1, 200.2, 100.3, 200.4, 3.3, 4.4, 100.1, 200.2, 100.5, 200.6};
        Close.relative(doubles(y), expected, 1e-15, "decoder input");
        Buffer dvisible = f64(4);
        Buffer dtoken = f64(2);
        KERNELS.assembleDecoderBackward(y, 2, 1, 2, 2, dvisible, dtoken);
        assertArrayEquals(new double[] {1.5, 2.6, 3.3, 4.4}, doubles(dvisible));
        Close.relative(doubles(dtoken), new double[] {401, 801.4}, 1e-14, "mask token");
    }

    @Test
    void addRowsPicksPositions() {
        Buffer x = f64(new double[] {1, 2, 3, 4});
        Buffer table = f64(new double[] {10, 20, 30});
        KERNELS.addRows(x, table, i32(2, 0, 1, 1), 2, 2, 1, x);
        assertArrayEquals(new double[] {31, 12, 23, 24}, doubles(x));
        KERNELS.addRows(x, table, null, 2, 2, 1, x);
        assertArrayEquals(new double[] {41, 32, 33, 44}, doubles(x));
    }

    @Test
    void indexOutsideIsRefused() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class, () -> KERNELS.gatherRows(f64(4), i32(0, 4), 1, 4, 2, 1, f64(2)));
        assertTrue(e.getMessage().contains("index 4 at position 1 is outside [0, 4)"), e.getMessage());
    }

    // ---------------------------------------------------------------------------------------------------- random

    @Test
    void philoxGivesTheKnownAnswers() {
        int[] words = new int[4];
        Philox.words(0, 0, 0, words);
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, words);
        Philox.words(-1, -1, -1, words);
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, words);
    }

    @Test
    void uniformsAndDropoutFollowTheSameWords() {
        int n = 9001;
        Buffer u = DEVICE.allocate(DType.F32, n);
        KERNELS.randomUniform(3, 4, 0, 1, u);
        Buffer x = noise(n, 5);
        Buffer y = like(x);
        KERNELS.dropout(x, 0.25, 3, 4, y);
        int[] words = new int[4];
        float[] uniforms = floats(u);
        double[] in = doubles(x);
        double[] out = doubles(y);
        for (int i = 0; i < n; i++) {
            Philox.words(3, 4, i / 4, words);
            assertEquals(Philox.uniform(words[i % 4]), uniforms[i]);
            assertEquals(uniforms[i] >= 0.25f ? in[i] * (1 / 0.75) : 0, out[i]);
        }
    }

    @Test
    void dropPathFollowsTheSameWords() {
        int batch = 11;
        int each = 1000;
        Buffer x = noise(batch * each, 5);
        Buffer residual = noise(batch * each, 6);
        double[] expected = doubles(residual);
        double[] branch = new double[batch * each];
        int kept = 0;
        for (int b = 0; b < batch; b++) {
            int[] words = new int[4];
            Philox.words(3, 8, b / 4, words);
            boolean keeps = Philox.uniform(words[b % 4]) >= 0.5f;
            kept += keeps ? 1 : 0;
            for (int i = b * each; i < (b + 1) * each; i++) {
                if (keeps) {
                    branch[i] = 2 * Elements.get(x, i);
                    expected[i] += branch[i];
                } else {
                    Elements.set(x, i, Double.NaN); // not looked at
                }
            }
        }
        assertTrue(kept > 0 && kept < batch, kept + " kept");
        Buffer y = like(x);
        KERNELS.dropPath(null, x, 0.5, 3, 8, batch, y);
        assertArrayEquals(branch, doubles(y));
        KERNELS.dropPath(residual, x, 0.5, 3, 8, batch, y);
        assertArrayEquals(expected, doubles(y));
    }

    @Test
    void normalsHaveTheirMoments() {
        int n = 100_001;
        Buffer y = f64(n);
        KERNELS.randomNormal(1, 2, 3, 0.5, y);
        double mean = Arrays.stream(doubles(y)).average().orElseThrow();
        double variance = Arrays.stream(doubles(y))
                .map(v -> (v - mean) * (v - mean))
                .average()
                .orElseThrow();
        Close.within(mean, 3, 0.01, "mean");
        Close.within(variance, 0.25, 0.01, "variance");
    }

    // ---------------------------------------------------------------------------------------- losses and optimiser

    @Test
    void wrongLabelIsNamed() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.crossEntropy(noise(6, 1), i32(0, 3), 0, 2, 3, f64(1), null));
        assertTrue(e.getMessage().contains("label 3 of row 1") && e.getMessage().contains("3 classes"), e.getMessage());
    }

    @Test
    void featureLossWeighsModalities() {
        Buffer[] projected = {f64(new double[] {1, 2}), f64(new double[] {3, 4, 5})};
        Buffer[] targets = {f64(new double[] {0, 4}), f64(new double[] {3, 1, 5})};
        Buffer[] gradients = {f64(2), f64(3)};
        Buffer losses = f64(2);
        Buffer loss = f64(1);
        KERNELS.featureLoss(projected, targets, new double[] {2, 0.5}, losses, loss, gradients);
        assertArrayEquals(new double[] {2.5, 3}, doubles(losses));
        assertArrayEquals(new double[] {6.5}, doubles(loss));
        assertArrayEquals(new double[] {2, -4}, doubles(gradients[0]));
        Close.relative(doubles(gradients[1]), new double[] {0, 1, 0}, 1e-15, "gradient");
    }

    @Test
    void globalNormIsThatOfAllTensors() {
        Buffer narrow = DEVICE.allocate(DType.BF16, 1);
        Elements.set(narrow, 0, 4);
        Buffer norm = f64(1);
        KERNELS.globalNorm(new Buffer[] {f64(new double[] {1, -2}), f64(0), narrow, f64(new double[] {2})}, norm);
        assertEquals(5, doubles(norm)[0]);
    }

    @Test
    void adamWMatchesHandComputation() {
        Buffer p = f64(new double[] {1});
        Buffer m = f64(new double[] {0});
        Buffer v = f64(new double[] {0});
        double[] gradients = {0.5, -0.25};
        for (int step = 1; step <= 2; step++) {
            KERNELS.adamW(
                    new Buffer[] {p},
                    new Buffer[] {f64(new double[] {gradients[step - 1]})},
                    new Buffer[] {m},
                    new Buffer[] {v},
                    null,
                    new double[] {0.1},
                    0.01,
                    0.9,
                    0.99,
                    1e-8,
                    step,
                    null);
        }
        // Step 1: p = 0.999 - 0.01. Step 2: m = 0.02, v = 0.0031; m / 0.19, v / 0.0199.
        double afterFirst = 1 * (1 - 0.001) - 0.01 * 0.5 / (0.5 + 1e-8);
        double expected = afterFirst * (1 - 0.001) - 0.01 * (0.02 / 0.19) / (Math.sqrt(0.0031 / 0.0199) + 1e-8);
        Close.within(doubles(p)[0], expected, 1e-14, "parameter");
        Close.within(doubles(m)[0], 0.02, 1e-16, "first moment");
        Close.within(doubles(v)[0], 0.0031, 1e-16, "second moment");
    }

    @Test
    void nothingToDoIsDone() {
        Buffer none = f64(0);
        Buffer labels = DEVICE.allocate(DType.I32, 0);
        Buffer loss = f64(1);
        KERNELS.fill(loss, 9);
        KERNELS.crossEntropy(none, labels, 0.1, 0, 5, loss, none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.fill(loss, 9);
        KERNELS.meanSquaredError(none, none, loss, none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.fill(loss, 9);
        KERNELS.distillationLoss(none, new Buffer[] {none}, none, true, labels, 2, 1, 1, 0, 5, loss, none);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.fill(loss, 9);
        KERNELS.matmul(MatmulShape.of(false, false, 1, 1, 0), none, none, null, null, Activation.NONE, loss);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.fill(loss, 9);
        KERNELS.sum(none, 1, 0, 1, 1, loss);
        assertEquals(0, doubles(loss)[0]);
        KERNELS.layerNorm(none, none, none, 1e-6, 0, 0, none, none, none);
        KERNELS.softmax(none, 3, 0, false, none);
        KERNELS.binary(BinaryOp.ADD, none, new long[] {0, 1}, none, new long[] {3, 1}, none, new long[] {0, 3});
        KERNELS.gatherRows(none, labels, 2, 3, 0, 4, none);
        KERNELS.randomMask(1, 1, 2, 3, 0, 0, false, labels, labels);
        KERNELS.randomNormal(1, 1, 0, 1, none);
        Strides strides = new Strides(0, 0, 2);
        Buffer out = f64(new double[] {9, 9});
        KERNELS.attention(
                new AttentionShape(1, 1, 1, 0, 2, 1, strides, strides, strides, strides, 0),
                f64(2),
                none,
                none,
                null,
                out,
                null);
        assertArrayEquals(new double[] {0, 0}, doubles(out));
    }

    @Test
    void threadsDoNotChangeResults() {
        Kernels alone = new ScalarKernels(new Workers(1));
        int n = 50_003;
        Buffer a = noise(n, 1);
        Buffer b = noise(n, 2);
        Buffer one = f64(1);
        Buffer three = f64(1);
        alone.meanSquaredError(a, b, one, null);
        KERNELS.meanSquaredError(a, b, three, null);
        assertArrayEquals(doubles(one), doubles(three));
        Buffer c = f64(200 * 200);
        Buffer d = f64(200 * 200);
        MatmulShape shape = MatmulShape.of(false, true, 200, 200, 250);
        alone.matmul(shape, a, b, null, null, Activation.NONE, c);
        KERNELS.matmul(shape, a, b, null, null, Activation.NONE, d);
        assertArrayEquals(doubles(c), doubles(d));
    }

    // ---------------------------------------------------------------------------------------------------- helpers

    private static PatchGeometry channelFirst(
            int batch, int channels, int frames, int height, int width, int tubelet, int patch, double scale) {
        double[] ones = new double[channels];
        Arrays.fill(ones, 1);
        long plane = (long) height * width;
        return new PatchGeometry(
                batch,
                frames,
                height,
                width,
                channels,
                tubelet,
                patch,
                channels * frames * plane,
                plane,
                width,
                1,
                frames * plane,
                scale,
                new double[channels],
                ones);
    }

    private static Buffer in(String name, String input) {
        return f64(OPS.doubles(name + "/in." + input));
    }

    private static Buffer cotangent(String name) {
        return f64(OPS.doubles(name + "/cotangent"));
    }

    private static void assertGolden(Buffer actual, String key) {
        Close.relative(doubles(actual), OPS.doubles(key), TOLERANCE, key);
    }

    private static void assertGradient(Buffer actual, String name, String input) {
        assertGolden(actual, name + "/grad." + input);
    }

    private static Buffer like(Buffer x) {
        return DEVICE.allocate(x.dtype(), x.length());
    }

    private static Buffer f64(long length) {
        return DEVICE.allocate(DType.F64, length);
    }

    private static Buffer f64(double[] values) {
        Buffer buffer = f64(values.length);
        Elements.store(values, 0, values.length, buffer, 0);
        return buffer;
    }

    private static Buffer f32(float... values) {
        Buffer buffer = DEVICE.allocate(DType.F32, values.length);
        for (int i = 0; i < values.length; i++) {
            Elements.set(buffer, i, values[i]);
        }
        return buffer;
    }

    private static Buffer i32(int... values) {
        Buffer buffer = DEVICE.allocate(DType.I32, values.length);
        for (int i = 0; i < values.length; i++) {
            Elements.setInt(buffer, i, values[i]);
        }
        return buffer;
    }

    private static Buffer noise(int length, long seed) {
        Buffer buffer = f64(length);
        KERNELS.randomNormal(seed, 99, 0, 1, buffer);
        return buffer;
    }

    private static double[] doubles(Buffer buffer) {
        double[] values = new double[(int) buffer.length()];
        Elements.load(buffer, 0, values.length, values, 0);
        return values;
    }

    private static float[] floats(Buffer buffer) {
        double[] wide = doubles(buffer);
        float[] values = new float[wide.length];
        for (int i = 0; i < wide.length; i++) {
            values[i] = (float) wide[i];
        }
        return values;
    }

    private static int[] ints(Buffer buffer) {
        return Arrays.stream(doubles(buffer)).mapToInt(v -> (int) v).toArray();
    }
}
