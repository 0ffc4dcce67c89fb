package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import tessera.Close;
import tessera.kernels.Attention;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Bf16Kernels;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.OneDnnBf16;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarBf16;

/** Layers, products and attention on bf16 beside the same rounded factors in f64. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class Bf16KernelsTest extends LayerFixture {
    private static final Bf16Kernels REFERENCE = new ScalarBf16();

    /** Of sums in f32. */
    private static final double SUMMATION = 1e-6;

    /** Of a GELU, which loses more near 0. */
    private static final double WITH_GELU = 2e-5;

    Bf16KernelsTest() {
        super(13);
    }

    @BeforeAll
    static void processorHasTheInstructions() {
        assertEquals(OneDnnBf16.usable(), Device.cpu().bf16().isPresent());
        assumeTrue(OneDnnBf16.usable(), "this processor multiplies no bf16; models are computed in f32");
    }

    private static Bf16Kernels bf16() {
        return Device.cpu().bf16().orElseThrow();
    }

    private static float[] linear(Bf16Kernels by, int m, Buffer x, Buffer w, int n, int k, Epilogue epilogue) {
        Buffer y = buffer(m * n, i -> Double.NaN);
        try (PackedWeight weight = by.pack(w, n, k)) {
            by.linear(m, x, weight, epilogue, y);
        }
        return values(y);
    }

    private static void same(int m, Buffer x, Buffer w, int n, int k, Epilogue epilogue) {
        Close.relative(
                linear(bf16(), m, x, w, n, k, epilogue),
                linear(REFERENCE, m, x, w, n, k, epilogue),
                epilogue.activation() == Activation.NONE ? SUMMATION : WITH_GELU,
                m + " x " + n + " x " + k + " " + epilogue.activation());
    }

    @Test
    void oddShapesEqualTheProductOfTheRoundedFactors() {
        for (int m : new int[] {1, 2, 7, 300}) {
            for (int[] nk : SIZES) {
                int n = nk[0];
                int k = nk[1];
                Buffer x = normal(m * k);
                Buffer w = normal(n * k);
                same(m, x, w, n, k, Epilogue.NONE);
                same(m, x, w, n, k, new Epilogue(normal(n), normal(m * n), Activation.NONE));
                same(m, x, w, n, k, new Epilogue(normal(n), null, Activation.GELU));
            }
        }
    }

    @Test
    void productsOfWholeNumbersAreExact() {
        Buffer x = buffer(70 * 48, i -> i % 257 - 128);
        Buffer w = buffer(24 * 48, i -> i % 251 - 125);
        assertArrayEquals(
                linear(REFERENCE, 70, x, w, 24, 48, Epilogue.NONE), linear(bf16(), 70, x, w, 24, 48, Epilogue.NONE));
    }

    @Test
    void theAddendMayBeTheResult() {
        Buffer x = normal(700 * 48);
        Buffer w = normal(24 * 48);
        Buffer bias = normal(24);
        Buffer before = normal(700 * 24);
        float[] expected = linear(REFERENCE, 700, x, w, 24, 48, new Epilogue(bias, before, Activation.NONE));
        try (PackedWeight weight = bf16().pack(w, 24, 48)) {
            bf16().linear(700, x, weight, new Epilogue(bias, before, Activation.NONE), before);
        }
        Close.relative(values(before), expected, SUMMATION, "in place");
    }

    @Test
    void emptySizes() {
        Buffer none = buffer(0, i -> 0);
        Buffer bias = normal(5);
        assertEquals(0, linear(bf16(), 0, none, normal(20), 5, 4, Epilogue.NONE).length);
        assertEquals(0, linear(bf16(), 3, normal(12), none, 0, 4, Epilogue.NONE).length);
        float[] expected = new float[10];
        System.arraycopy(values(bias), 0, expected, 0, 5);
        System.arraycopy(values(bias), 0, expected, 5, 5);
        assertArrayEquals(expected, linear(bf16(), 2, none, none, 5, 0, Epilogue.bias(bias)));
        mlp(2, 0, 7, 5);
        mlp(2, 4, 0, 5);
        mlp(2, 4, 7, 0);
        mlp(0, 4, 7, 5);
    }

    @Test
    void roundsToTheNearestWithTiesToEvenAndKeepsWhatIsNotFinite() {
        int[] bits = {
            0x3F80_0000, // 1
            0x3F80_8000, // a tie: down to the even 1
            0x3F81_8000, // a tie: up to the even neighbour
            0x3F80_7FFF,
            0x3F80_8001,
            0xBF81_8000,
            0x7F7F_7FFF, // the largest that stays finite
            0x7F7F_8000, // a tie above which there is infinity only
            0x7F80_0000,
            0xFF80_0000,
            0x7F80_0001, // a signalling NaN, whose payload lies in the bits that go
            0x7FFF_FFFF, // a NaN whose bits would overflow into the sign
            0xFFC0_0000,
            0x0000_0001,
            0x8000_0000,
            0x0080_0000
        };
        Buffer x = Device.cpu().allocate(DType.F32, 3 * bits.length + 5);
        for (int i = 0; i < x.length(); i++) {
            VectorMath.set(x.segment(), i, Float.intBitsToFloat(bits[i % bits.length]));
        }
        Buffer y = Device.cpu().allocate(DType.BF16, x.length());
        VectorBf16Rows.narrow(x.segment(), 0, x.length(), y.segment(), 0);
        for (int i = 0; i < x.length(); i++) {
            float expected = Elements.fromBf16(Elements.toBf16(VectorMath.get(x.segment(), i)));
            assertEquals(
                    Float.floatToIntBits(expected),
                    Float.floatToIntBits((float) Elements.get(y, i)),
                    Integer.toHexString(bits[i % bits.length]));
        }
    }

    @Test
    void aValueThatIsNotFiniteStaysInItsRow() {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            for (int where : new int[] {0, 20, 36}) {
                Buffer x = buffer(3 * 37, i -> i == 37 + where ? bad : 1);
                float[] y = linear(bf16(), 3, x, buffer(10 * 37, i -> 0.5), 10, 37, Epilogue.NONE);
                for (int i = 0; i < 30; i++) {
                    assertEquals(i / 10 == 1 ? (float) bad : 18.5f, y[i], bad + " at " + i);
                }
            }
        }
    }

    @Test
    void aWeightThatIsNotFiniteStaysInItsChannel() {
        for (float bad : new float[] {Float.NaN, Float.intBitsToFloat(0x7F80_0001), Float.POSITIVE_INFINITY}) {
            for (int where : new int[] {0, 36}) {
                Buffer w = buffer(3 * 37, i -> 1);
                VectorMath.set(w.segment(), 37 + where, bad);
                float[] y = linear(bf16(), 2, buffer(2 * 37, i -> 1), w, 3, 37, Epilogue.NONE);
                for (int i = 0; i < 6; i++) {
                    assertEquals(i % 3 == 1 ? bad : 37f, y[i], bad + " at " + i);
                }
            }
        }
    }

    @Test
    void theErrorAgainstF32IsThatOfHalfAStep() {
        int m = 64;
        int n = 48;
        int k = 384;
        Buffer x = normal(m * k);
        Buffer w = normal(n * k);
        double[] exact = product(x, w, m, n, k);
        double[] got = doubles(linear(bf16(), m, x, w, n, k, Epilogue.NONE));
        // Two factors with relative errors of up to 2^-8 each.
        Close.relative(got, exact, 0.003, "bf16 against f64");
        double difference = 0;
        for (int i = 0; i < got.length; i++) {
            difference = Math.max(difference, Math.abs(got[i] - exact[i]));
        }
        assertTrue(difference > 1e-3, "as exact as f32: " + difference);
    }

    private void mlp(int m, int k, int h, int n) {
        Buffer x = normal(m * k);
        Buffer w1 = buffer(h * k, i -> 0.2 * random.nextGaussian());
        Buffer w2 = normal(n * h);
        Buffer bias = normal(h);
        Epilogue after = new Epilogue(normal(n), normal(m * n), Activation.NONE);
        float[][] results = new float[2][];
        for (int by = 0; by < 2; by++) {
            Bf16Kernels kernels = by == 0 ? REFERENCE : bf16();
            Buffer y = buffer(m * n, i -> Double.NaN);
            try (PackedWeight first = kernels.pack(w1, h, k);
                    PackedWeight second = kernels.pack(w2, n, h)) {
                kernels.mlp(m, x, first, bias, second, after, y);
            }
            results[by] = values(y);
        }
        // A hidden value that differs in its last bit may round to the other bf16.
        Close.relative(results[1], results[0], 3e-4, m + " rows of " + k + ", " + h + ", " + n);
    }

    @Test
    void twoLayersEqualTheProductsOfTheRoundedFactors() {
        for (int m : new int[] {1, 37, 600}) {
            mlp(m, 16, 64, 16);
            mlp(m, 5, 7, 3);
            mlp(m, 48, 192, 48);
        }
    }

    @Test
    void twoLayersInPlaceAreThoseOneAfterTheOther() {
        Buffer x = normal(500 * 32);
        Buffer y = normal(500 * 32);
        Buffer apart = buffer(500 * 32, i -> VectorMath.get(y.segment(), i));
        Buffer w1 = normal(128 * 32);
        Buffer w2 = normal(32 * 128);
        Buffer bias = normal(128);
        Buffer hidden = buffer(500 * 128, i -> 0);
        try (PackedWeight first = bf16().pack(w1, 128, 32);
                PackedWeight second = bf16().pack(w2, 32, 128)) {
            bf16().mlp(500, x, first, bias, second, new Epilogue(null, y, Activation.NONE), y);
            bf16().linear(500, x, first, new Epilogue(bias, null, Activation.GELU), hidden);
            bf16().linear(500, hidden, second, new Epilogue(null, apart, Activation.NONE), apart);
        }
        Close.relative(values(y), values(apart), 3e-4, "in blocks");
    }

    @Test
    void theThreadsDoNotShowInTheResult() {
        Buffer x = normal(301 * 64);
        Buffer w = normal(256 * 64);
        float[] expected = linear(bf16(), 301, x, w, 256, 64, Epilogue.NONE);
        for (int threads : new int[] {1, 2, 5}) {
            try (Workers workers = new Workers(threads)) {
                Bf16Kernels own = VectorBf16.create(workers, new HostMemory()).orElseThrow();
                assertArrayEquals(expected, linear(own, 301, x, w, 256, 64, Epilogue.NONE), threads + " threads");
            }
        }
    }

    @Test
    void productsOfMatricesInAllOrders() {
        for (int[] mnk : new int[][] {{1, 1, 1}, {7, 5, 3}, {130, 33, 47}, {3, 4, 0}, {300, 64, 96}}) {
            for (int order = 0; order < 4; order++) {
                MatmulShape shape = MatmulShape.of((order & 1) != 0, (order & 2) != 0, mnk[0], mnk[1], mnk[2]);
                Buffer a = normal(mnk[0] * mnk[2]);
                Buffer b = normal(mnk[1] * mnk[2]);
                Epilogue epilogue = order == 0
                        ? Epilogue.NONE
                        : new Epilogue(normal(mnk[1]), normal(mnk[0] * mnk[1]), Activation.NONE);
                Buffer got = buffer(mnk[0] * mnk[1], i -> Double.NaN);
                Buffer expected = buffer(mnk[0] * mnk[1], i -> Double.NaN);
                bf16().matmul(shape, a, b, epilogue, got);
                REFERENCE.matmul(shape, a, b, epilogue, expected);
                Close.relative(values(got), values(expected), SUMMATION, shape.toString());
            }
        }
        bf16().matmul(MatmulShape.of(false, false, 0, 3, 4), normal(0), normal(12), Epilogue.NONE, normal(0));
    }

    private Buffer rounded(Buffer x) {
        return buffer((int) x.length(), i -> Elements.fromBf16(Elements.toBf16(VectorMath.get(x.segment(), i))));
    }

    private void attention(int batch, int heads, int n, int dim, boolean biased, boolean divided) {
        int width = heads * dim;
        Strides packed = new Strides(3L * width * n, dim, 3L * width);
        Strides plain = new Strides((long) width * n, dim, width);
        AttentionShape shape = new AttentionShape(
                batch,
                heads,
                n,
                n,
                dim,
                1 / Math.sqrt(dim),
                packed,
                packed,
                packed,
                plain,
                biased ? 1 : 0,
                divided ? 1 : 0,
                false);
        Buffer qkv = normal(batch * n * 3 * width);
        Buffer bias = biased ? normal(heads * n * n) : null;
        Buffer regions = divided ? Device.cpu().allocate(DType.I32, n) : null;
        for (int i = 0; regions != null && i < n; i++) {
            Elements.setInt(regions, i, i % 3);
        }
        Buffer got = buffer(batch * n * width, i -> Double.NaN);
        Buffer expected = buffer(batch * n * width, i -> Double.NaN);
        bf16().attention().attention(shape, tensors(qkv, width, bias, regions), got, null);
        Device.cpu()
                .kernels()
                .attention()
                .attention(shape, tensors(rounded(qkv), width, bias, regions), expected, null);
        // What is left are the probabilities, which are rounded too.
        Close.relative(values(got), values(expected), 0.003, shape.toString());
    }

    /** Gradients against those in f32 of the same data; the difference is the rounding of the factors. */
    private void attentionBackward(int batch, int heads, int n, int dim, boolean biased, boolean divided) {
        int width = heads * dim;
        Strides packed = new Strides(3L * width * n, dim, 3L * width);
        Strides plain = new Strides((long) width * n, dim, width);
        AttentionShape shape = new AttentionShape(
                batch,
                heads,
                n,
                n,
                dim,
                1 / Math.sqrt(dim),
                packed,
                packed,
                packed,
                plain,
                biased ? 1 : 0,
                divided ? 1 : 0,
                false);
        AttentionTensors in = tensors(
                normal(batch * n * 3 * width),
                width,
                biased ? normal(heads * n * n) : null,
                divided ? Device.cpu().allocate(DType.I32, n) : null);
        for (int i = 0; in.regions() != null && i < n; i++) {
            Elements.setInt(in.regions(), i, i % 3);
        }
        Buffer dout = normal(batch * n * width);
        List<List<Buffer>> results = new ArrayList<>();
        for (Attention kernel :
                List.of(bf16().attention(), Device.cpu().kernels().attention())) {
            Buffer out = buffer(batch * n * width, i -> Double.NaN);
            Buffer logSumExp = buffer(batch * heads * n, i -> Double.NaN);
            Buffer dqkv = buffer(batch * n * 3 * width, i -> Double.NaN);
            Buffer dbias = biased ? buffer(heads * n * n, i -> Double.NaN) : null;
            kernel.attention(shape, in, out, logSumExp);
            kernel.attentionBackward(shape, in, out, logSumExp, dout, tensors(dqkv, width, dbias, null));
            results.add(dbias == null ? List.of(out, logSumExp, dqkv) : List.of(out, logSumExp, dqkv, dbias));
        }
        for (int i = 0; i < results.get(0).size(); i++) {
            float[] got = values(results.get(0).get(i));
            float[] exact = values(results.get(1).get(i));
            Close.relative(got, exact, 0.02, "result " + i + " of " + shape);
        }
        float[] rounded = values(results.get(0).get(2));
        assertFalse(Arrays.equals(rounded, values(results.get(1).get(2))), "the products were in f32");
    }

    @Test
    void gradientsOfAttentionAreThoseOfF32UpToRounding() {
        attentionBackward(2, 3, 37, 8, false, false);
        attentionBackward(1, 2, 5, 7, true, false);
        attentionBackward(9, 1, 130, 16, true, true);
        attentionBackward(2, 2, 9, 3, false, true);
        attentionBackward(1, 2, 392, 64, false, false);
    }

    @Test
    void gradientsOfAttentionDoNotDependOnTheThreads() {
        int n = 67;
        int width = 24;
        Strides packed = new Strides(3L * width * n, 8, 3L * width);
        Strides plain = new Strides((long) width * n, 8, width);
        AttentionShape shape = new AttentionShape(5, 3, n, n, 8, .3, packed, packed, packed, plain, 1);
        AttentionTensors in = tensors(normal(5 * n * 3 * width), width, normal(3 * n * n), null);
        Buffer dout = normal(5 * n * width);
        List<float[]> expected = new ArrayList<>();
        for (int threads : new int[] {1, 2, 5}) {
            try (Workers workers = new Workers(threads)) {
                Attention own = VectorBf16.create(workers, new HostMemory())
                        .orElseThrow()
                        .attention();
                Buffer out = buffer(5 * n * width, i -> Double.NaN);
                Buffer logSumExp = buffer(5 * 3 * n, i -> Double.NaN);
                Buffer dqkv = buffer(5 * n * 3 * width, i -> Double.NaN);
                Buffer dbias = buffer(3 * n * n, i -> Double.NaN);
                own.attention(shape, in, out, logSumExp);
                own.attentionBackward(shape, in, out, logSumExp, dout, tensors(dqkv, width, dbias, null));
                List<float[]> got = List.of(values(out), values(logSumExp), values(dqkv), values(dbias));
                expected = expected.isEmpty() ? got : expected;
                for (int i = 0; i < got.size(); i++) {
                    assertArrayEquals(expected.get(i), got.get(i), "result " + i + " with " + threads + " threads");
                }
            }
        }
    }

    @Test
    void attentionWithoutQueriesHasGradientsOfKeysThatAreZero() {
        Strides strides = new Strides(0, 0, 4);
        AttentionShape shape = new AttentionShape(1, 1, 0, 3, 4, 1, strides, strides, strides, strides, 0);
        Buffer none = normal(0);
        AttentionTensors in = new AttentionTensors(none, normal(12), normal(12), null);
        Buffer dk = buffer(12, i -> Double.NaN);
        Buffer dv = buffer(12, i -> Double.NaN);
        bf16().attention().attention(shape, in, none, none);
        bf16().attention().attentionBackward(shape, in, none, none, none, new AttentionTensors(none, dk, dv, null));
        assertArrayEquals(new float[12], values(dk));
        assertArrayEquals(new float[12], values(dv));
    }

    private static AttentionTensors tensors(Buffer qkv, int width, @Nullable Buffer bias, @Nullable Buffer regions) {
        return new AttentionTensors(
                qkv,
                qkv.slice(width, qkv.length() - width),
                qkv.slice(2L * width, qkv.length() - 2L * width),
                bias,
                regions);
    }

    @Test
    void attentionEqualsThatOfTheRoundedData() {
        attention(2, 3, 37, 8, false, false);
        attention(1, 2, 5, 7, true, false);
        attention(3, 1, 130, 16, true, true);
        attention(1, 1, 1, 1, false, true);
        // More keys than a tile has.
        attention(1, 2, 2100, 4, false, false);
    }

    @Test
    void exponentialsAreRoundedAndSummed() {
        int n = 67;
        int padded = VectorScores.padded(n);
        MemorySegment y = Device.cpu().allocate(DType.BF16, 3 + padded).segment();
        for (float factor : new float[] {1, .125f}) {
            Buffer x = buffer(3 + padded, i -> -(i - 3) * 1.7 / factor);
            VectorMath.set(x.segment(), 5, Float.NEGATIVE_INFINITY);
            float[] before = values(x);
            float sum = VectorBf16Rows.exps(x.segment(), 3, padded, factor, -.25f, y, 3);
            double exactSum = 0;
            for (int i = 0; i < padded; i++) {
                double exact = Math.exp((double) before[3 + i] * factor - .25);
                exactSum += exact;
                short bits = y.get(ValueLayout.JAVA_SHORT, (3L + i) * Short.BYTES);
                double got = Elements.fromBf16(bits);
                if (exact > 1.2e-38) {
                    Close.within(got, exact, exact * (0x1p-8 + 2e-4), "exp " + before[3 + i]);
                } else {
                    Close.within(got, 0, 1.2e-38, "exp " + before[3 + i]);
                }
            }
            Close.within(sum, exactSum, 1e-4 * exactSum, "sum");
            assertEquals(0, y.get(ValueLayout.JAVA_SHORT, 5 * Short.BYTES), "of -infinity");
        }
        Buffer bad = buffer(padded, i -> i == 20 ? Double.NaN : 0);
        assertTrue(Float.isNaN(VectorBf16Rows.exps(bad.segment(), 0, padded, 1, 0, y, 0)));
        Buffer none = buffer(padded, i -> Double.NEGATIVE_INFINITY);
        assertEquals(0, VectorBf16Rows.exps(none.segment(), 0, padded, 1, 0, y, 0));
    }

    @Test
    void badCallsAreRefusedWithTheReason() {
        Buffer x = normal(12);
        Buffer doubles = Device.cpu().allocate(DType.F64, 12);
        assertEquals(
                "bf16: the weight is f64 but f32 is rounded; convert first", refusal(() -> bf16().pack(doubles, 3, 4)));
        assertEquals("bf16: the weight is f32[12] but f32[15] or more is needed", refusal(() -> bf16().pack(x, 3, 5)));
        try (PackedWeight weight = bf16().pack(x, 3, 4);
                PackedWeight f32 = Device.cpu().kernels().matmul().pack(x, 3, 4)) {
            assertEquals(
                    "bf16: x is f32[12] but f32[16] or more is needed",
                    refusal(() -> bf16().linear(4, x, weight, Epilogue.NONE, normal(12))));
            assertEquals(
                    "bf16: y is f64[12] but f32[9] or more is needed",
                    refusal(() -> bf16().linear(3, x, weight, Epilogue.NONE, doubles)));
            assertEquals(
                    "bf16: the first layer has 3 outputs but the second 4 inputs; pass two layers that follow each other",
                    refusal(() -> bf16().mlp(3, x, weight, null, weight, Epilogue.NONE, normal(9))));
            assertEquals(
                    "bf16: the weight was packed for other kernels; pack it by Bf16Kernels.pack of this device",
                    refusal(() -> bf16().linear(3, x, f32, Epilogue.NONE, normal(9))));
            assertEquals(
                    "linear: the weight was packed for other kernels; pack it by the kernels that use it",
                    refusal(() -> Device.cpu().kernels().matmul().linear(3, x, weight, Epilogue.NONE, normal(9))));
        }
        assertEquals(
                "bf16: the rows of MatmulShape[transposeA=false, transposeB=false, m=2, n=2, k=2, lda=3, ldb=2, ldc=2] have"
                        + " gaps but whole matrices are rounded; copy them first",
                refusal(() -> bf16().matmul(
                                new MatmulShape(false, false, 2, 2, 2, 3, 2, 2), x, x, Epilogue.NONE, normal(4))));
        assertEquals(
                "bf16: b is f32[12] but f32[16] or more is needed",
                refusal(() -> bf16().matmul(MatmulShape.of(false, false, 2, 4, 4), x, x, Epilogue.NONE, normal(8))));
        PackedWeight closed = bf16().pack(x, 3, 4);
        closed.close();
        closed.close();
        assertThrows(IllegalStateException.class, () -> bf16().linear(3, x, closed, Epilogue.NONE, normal(9)));
    }
}
