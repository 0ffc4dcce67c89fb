package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import tessera.Close;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.HostMemory;
import tessera.kernels.cpu.OneDnnInt8;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.ScalarInt8;

/** Layers on bytes beside the same arithmetic in plain Java. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class Int8KernelsTest extends LayerFixture {
    private static final Int8Kernels REFERENCE = new ScalarInt8(OneDnnInt8.largestInput());

    Int8KernelsTest() {
        super(11);
    }

    @BeforeAll
    static void processorHasTheInstructions() {
        assertEquals(OneDnnInt8.usable(), Device.cpu().int8().isPresent());
        assumeTrue(OneDnnInt8.usable(), "this processor multiplies no bytes; models are computed in f32");
    }

    private static Int8Kernels int8() {
        return Device.cpu().int8().orElseThrow();
    }

    private static float[] linear(
            Int8Kernels by, int m, Buffer x, Buffer w, int n, int k, @Nullable InputRange range, Epilogue epilogue) {
        Buffer y = buffer(m * n, i -> Double.NaN);
        try (PackedWeight weight = by.pack(w, n, k, range)) {
            by.linear(m, x, weight, epilogue, y);
        }
        return values(y);
    }

    private static void same(int m, Buffer x, Buffer w, int n, int k, @Nullable InputRange range, Epilogue epilogue) {
        float[] expected = linear(REFERENCE, m, x, w, n, k, range, epilogue);
        float[] actual = linear(int8(), m, x, w, n, k, range, epilogue);
        String what = m + " x " + n + " x " + k + " " + epilogue.activation();
        // The zero is taken away from sums that were rounded to f32.
        Close.relative(actual, expected, 3e-5, what);
    }

    @Test
    void oddShapesEqualThePlainArithmetic() {
        for (int m : new int[] {1, 2, 7, 150}) {
            for (int[] nk : SIZES) {
                int n = nk[0];
                int k = nk[1];
                Buffer x = normal(m * k);
                Buffer w = normal(n * k);
                same(m, x, w, n, k, null, Epilogue.NONE);
                same(m, x, w, n, k, new InputRange(-1.5f, 2), Epilogue.NONE);
                same(m, x, w, n, k, null, new Epilogue(normal(n), normal(m * n), Activation.NONE));
                same(m, x, w, n, k, null, new Epilogue(normal(n), null, Activation.GELU));
            }
        }
    }

    @Test
    void theLargestSumsDoNotOverflow() {
        int k = 65_536;
        Buffer ones = buffer(3 * k, i -> 1);
        same(3, ones, ones, 3, k, null, Epilogue.NONE);
        Buffer mixed = buffer(3 * k, i -> i % 5 == 0 ? -1 : 1);
        same(3, mixed, ones, 3, k, null, Epilogue.NONE);
    }

    @Test
    void layersWhoseFactorsAreAllAtTheirEndsAreExact() {
        int k = 385;
        for (int m : new int[] {1, 157}) {
            Buffer x = buffer(m * k, i -> random.nextInt(4) == 0 ? -1 : 1);
            Buffer w = buffer(33 * k, i -> i / k == 0 || random.nextInt(4) > 0 ? 1 : -1);
            double[] exact = product(x, w, m, 33, k);
            for (InputRange range : new InputRange[] {null, new InputRange(-1, 1)}) {
                double[] got = doubles(linear(int8(), m, x, w, 33, k, range, Epilogue.NONE));
                // Half a step of a range whose zero lies between two bytes.
                Close.relative(got, exact, range == null ? 3e-5 : .02, m + " rows, " + range);
            }
        }
    }

    @Test
    void aRangeReachesFromTheFirstByteToTheLargest() {
        for (int largest : new int[] {Int8Kernels.LARGEST_INPUT, Int8Kernels.LARGEST_INPUT_IN_PAIRS}) {
            for (float[] ends : new float[][] {{0, 5}, {-3, 0}, {-1, 1}, {-.17f, 60}, {-1e30f, 3e38f}, {0, 0}}) {
                InputRange range = new InputRange(ends[0], ends[1]);
                float scale = range.scale(largest);
                int zero = range.zero(largest);
                String what = range + " in bytes up to " + largest;
                assertTrue(zero >= 0 && zero <= largest, what);
                assertTrue(Math.abs(-zero * (double) scale - ends[0]) <= .51 * scale, what);
                assertTrue(Math.abs((largest - zero) * (double) scale - ends[1]) <= .51 * scale || ends[1] == 0, what);
            }
            assertEquals(largest - Int8Kernels.zero(largest), largest / 2, "steps to either side");
        }
    }

    @Test
    void theAddendMayBeTheResult() {
        Buffer x = normal(70 * 48);
        Buffer w = normal(24 * 48);
        Buffer bias = normal(24);
        Buffer before = normal(70 * 24);
        float[] expected = linear(int8(), 70, x, w, 24, 48, null, new Epilogue(bias, before, Activation.NONE));
        try (PackedWeight weight = int8().pack(w, 24, 48, null)) {
            int8().linear(70, x, weight, new Epilogue(bias, before, Activation.NONE), before);
        }
        assertArrayEquals(expected, values(before));
    }

    @Test
    void emptySizes() {
        Buffer none = buffer(0, i -> 0);
        Buffer bias = normal(5);
        assertEquals(0, linear(int8(), 0, none, normal(20), 5, 4, null, Epilogue.NONE).length);
        assertEquals(0, linear(int8(), 3, normal(12), none, 0, 4, null, Epilogue.NONE).length);
        float[] biases = linear(int8(), 2, none, none, 5, 0, null, Epilogue.bias(bias));
        float[] expected = new float[10];
        System.arraycopy(values(bias), 0, expected, 0, 5);
        System.arraycopy(values(bias), 0, expected, 5, 5);
        assertArrayEquals(expected, biases);
    }

    @Test
    void rowsOfZerosOfOneSignAndOfHugeAndTinyValues() {
        double[] sizes = {0, 1e-45, 1e-39, 1e-20, 1, 1e20, 3e38};
        int k = 50;
        Buffer x = buffer(2 * sizes.length * k, i -> {
            double v = sizes[i / k / 2] * random.nextDouble();
            return i / k % 2 == 0 ? v : -v;
        });
        Buffer w = buffer(20 * k, i -> 1e-3 * random.nextGaussian());
        same(2 * sizes.length, x, w, 20, k, null, Epilogue.NONE);
        float[] y = linear(int8(), 2, x, w, 20, k, null, Epilogue.bias(normal(20)));
        for (float v : y) {
            assertTrue(Float.isFinite(v));
        }
        Buffer wide = buffer(k, i -> i % 2 == 0 ? 3e38 : -3e38);
        same(1, wide, w, 20, k, null, Epilogue.NONE);
    }

    @Test
    void aValueThatIsNotFiniteMakesItsRowNaNAndNoOther() {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            for (int where : new int[] {0, 20, 36}) {
                for (InputRange range : new InputRange[] {null, new InputRange(-1, 1)}) {
                    Buffer x = buffer(3 * 37, i -> i == 37 + where ? bad : 1);
                    float[] y = linear(int8(), 3, x, normal(10 * 37), 10, 37, range, Epilogue.NONE);
                    for (int i = 0; i < 30; i++) {
                        assertEquals(i / 10 == 1, Float.isNaN(y[i]), bad + " at " + i);
                    }
                }
            }
        }
    }

    @Test
    void aWeightThatIsNotFiniteMakesItsChannelNaNAndNoOther() {
        for (int where : new int[] {0, 36}) {
            Buffer w = buffer(3 * 37, i -> i == 37 + where ? Double.NaN : 1);
            float[] y = linear(int8(), 2, normal(2 * 37), w, 3, 37, null, Epilogue.NONE);
            for (int i = 0; i < 6; i++) {
                assertEquals(i % 3 == 1, Float.isNaN(y[i]), "at " + i);
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
        double[] got = doubles(linear(int8(), m, x, w, n, k, null, Epilogue.NONE));
        // Steps are about 6 / 255 (or 6 / 128) and 3 / 127 of the deviation, each with an error of its 12th root.
        Close.relative(
                got, exact, int8().largestInput() == Int8Kernels.LARGEST_INPUT ? .012 : .018, "int8 against f64");
    }

    @Test
    void twoLayersEqualThePlainArithmetic() {
        for (int m : new int[] {0, 1, 37, 130}) {
            for (int[] sizes : new int[][] {{16, 64, 16}, {5, 7, 3}, {48, 192, 48}}) {
                int k = sizes[0];
                int h = sizes[1];
                int n = sizes[2];
                Buffer x = normal(m * k);
                Buffer w1 = buffer(h * k, i -> 0.2 * random.nextGaussian());
                Buffer w2 = normal(n * h);
                Buffer bias = normal(h);
                Epilogue after = new Epilogue(normal(n), normal(m * n), Activation.NONE);
                double[][] results = new double[2][m * n];
                for (int by = 0; by < 2; by++) {
                    Int8Kernels kernels = by == 0 ? REFERENCE : int8();
                    Buffer y = buffer(m * n, i -> Double.NaN);
                    try (PackedWeight first = kernels.pack(w1, h, k, null);
                            PackedWeight second = kernels.pack(w2, n, h, null)) {
                        kernels.mlp(m, x, first, bias, second, after, y);
                    }
                    float[] values = values(y);
                    for (int i = 0; i < values.length; i++) {
                        results[by][i] = values[i];
                    }
                }
                // A GELU that differs in its last bit may round to another byte.
                Close.relative(results[1], results[0], 2e-4, m + " rows of " + k + ", " + h + ", " + n);
            }
        }
    }

    @Test
    void twoLayersAreThoseOneAfterTheOther() {
        Buffer x = normal(100 * 32);
        Buffer y = buffer(100 * 32, i -> 0);
        Buffer w1 = normal(128 * 32);
        Buffer w2 = normal(32 * 128);
        Buffer bias = normal(128);
        Buffer hidden = buffer(100 * 128, i -> 0);
        Buffer apart = buffer(100 * 32, i -> 0);
        try (PackedWeight first = int8().pack(w1, 128, 32, null);
                PackedWeight second = int8().pack(w2, 32, 128, new InputRange(-0.2f, 8))) {
            int8().mlp(100, x, first, bias, second, Epilogue.NONE, y);
            int8().linear(100, x, first, new Epilogue(bias, null, Activation.GELU), hidden);
            int8().linear(100, hidden, second, Epilogue.NONE, apart);
        }
        assertArrayEquals(values(apart), values(y));
    }

    private static Buffer part(Buffer x, long from) {
        return x.slice(from, x.length() - from);
    }

    @Test
    void attentionDiffersFromF32ByTheRoundingOfItsFactors() {
        int[][] sizes = {{1, 1, 1, 1}, {2, 3, 7, 5}, {1, 2, 130, 16}, {3, 2, 65, 33}, {1, 1, 1100, 64}};
        for (int[] size : sizes) {
            int batch = size[0];
            int heads = size[1];
            int n = size[2];
            int dim = size[3];
            long d = (long) heads * dim;
            Buffer qkv = normal(Math.toIntExact((long) batch * n * 3 * d));
            Strides packed = new Strides(3 * d * n, dim, 3 * d);
            Strides out = new Strides(d * n, dim, d);
            Buffer bias = normal(heads * n * n);
            Buffer regions = Device.cpu().allocate(DType.I32, n);
            for (int i = 0; i < n; i++) {
                regions.segment().setAtIndex(ValueLayout.JAVA_INT, i, i % 2);
            }
            for (int terms = 0; terms < 3; terms++) {
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
                        out,
                        terms > 0 ? 1 : 0,
                        terms > 1 ? 1 : 0,
                        false);
                AttentionTensors in = new AttentionTensors(
                        qkv, part(qkv, d), part(qkv, 2 * d), terms > 0 ? bias : null, terms > 1 ? regions : null);
                Buffer exact = buffer(Math.toIntExact((long) batch * n * d), i -> Double.NaN);
                Buffer rounded = buffer(Math.toIntExact((long) batch * n * d), i -> Double.NaN);
                REFERENCE.attention().attention(shape, in, exact, null);
                int8().attention().attention(shape, in, rounded, null);
                Close.relative(values(rounded), values(exact), .008, shape.toString());
            }
        }
    }

    @Test
    void attentionOfNothingAndOfValuesThatAreNotFinite() {
        Strides strides = new Strides(0, 4, 4);
        AttentionShape none = new AttentionShape(0, 1, 0, 0, 4, .5, strides, strides, strides, strides, 0);
        Buffer empty = buffer(0, i -> 0);
        int8().attention().attention(none, new AttentionTensors(empty, empty, empty, null), empty, null);
        for (int bits : new int[] {0x7FC00000, 0x7FFFFFFF, -1, 0x7F800001}) {
            AttentionShape two = new AttentionShape(1, 1, 2, 2, 4, .5, strides, strides, strides, strides, 0);
            Buffer q = buffer(8, i -> i < 4 ? 1 : Float.intBitsToFloat(bits));
            Buffer ones = buffer(8, i -> 1);
            Buffer out = buffer(8, i -> 0);
            int8().attention().attention(two, new AttentionTensors(q, ones, ones, null), out, null);
            float[] values = values(out);
            for (int i = 0; i < 8; i++) {
                assertEquals(i >= 4, Float.isNaN(values[i]), "value " + i);
            }
        }
    }

    @Test
    void theThreadsDoNotShowInTheResult() {
        Buffer x = normal(301 * 64);
        Buffer w = normal(256 * 64);
        float[] expected = linear(int8(), 301, x, w, 256, 64, null, Epilogue.NONE);
        for (int threads : new int[] {1, 2, 5}) {
            try (Workers workers = new Workers(threads)) {
                Int8Kernels own = VectorInt8.create(
                                workers,
                                new HostMemory(),
                                Device.cpu().kernels().attention())
                        .orElseThrow();
                assertArrayEquals(expected, linear(own, 301, x, w, 256, 64, null, Epilogue.NONE), threads + " threads");
            }
        }
    }

    @Test
    void quantisedWeightsQuantiseToThemselves() {
        for (int i = 0; i < 20_000; i++) {
            float largest = (float) Math.exp(20 * Math.clamp(random.nextGaussian(), -4, 4));
            float scale = Int8Kernels.weightScale(largest);
            assertTrue(
                    scale * 127.0 >= largest && scale * 127.0 <= largest * (1 + 1.0 / 32768), largest + ": " + scale);
            for (int q = 1; q <= 127; q++) {
                assertEquals((double) scale * q, (double) (scale * q), "scale " + scale + " times " + q);
            }
            assertEquals(scale, Int8Kernels.weightScale(scale * 127), "of " + largest);
        }
        assertEquals(0, Int8Kernels.weightScale(0));
        assertEquals(0, Int8Kernels.weightScale(Float.MIN_VALUE));
        assertTrue(Float.isNaN(Int8Kernels.weightScale(Float.POSITIVE_INFINITY)));
        assertTrue(Float.isNaN(Int8Kernels.weightScale(Float.NaN)));
    }

    @Test
    void badCallsAreRefusedWithTheReason() {
        Buffer x = normal(12);
        Buffer doubles = Device.cpu().allocate(DType.F64, 12);
        assertEquals(
                "int8: the weight is f64 but f32 is quantised; convert first",
                refusal(() -> int8().pack(doubles, 3, 4, null)));
        assertEquals(
                "int8: the weight is f32[12] but f32[15] or more is needed", refusal(() -> int8().pack(x, 3, 5, null)));
        assertEquals(
                "int8: the layer has 65537 inputs but at most 65536 are added up in 32 bits; keep this layer in f32",
                refusal(() -> int8().pack(normal(65_537), 1, 65_537, null)));
        assertEquals(
                "the input range is [1.0, 2.0] but must be finite and hold 0; calibrate it again on clips that the model"
                        + " was made for",
                refusal(() -> new InputRange(1, 2)));
        try (PackedWeight weight = int8().pack(x, 3, 4, null);
                PackedWeight f32 = Device.cpu().kernels().matmul().pack(x, 3, 4)) {
            assertEquals(
                    "int8: x is f32[12] but f32[16] or more is needed",
                    refusal(() -> int8().linear(4, x, weight, Epilogue.NONE, normal(12))));
            assertEquals(
                    "int8: y is f64[12] but f32[9] or more is needed",
                    refusal(() -> int8().linear(3, x, weight, Epilogue.NONE, doubles)));
            assertEquals(
                    "int8: the first layer has 3 outputs but the second 4 inputs; pass two layers that follow each other",
                    refusal(() -> int8().mlp(3, x, weight, null, weight, Epilogue.NONE, normal(9))));
            assertEquals(
                    "int8: the weight was packed for other kernels; pack it by Int8Kernels.pack of this device",
                    refusal(() -> int8().linear(3, x, f32, Epilogue.NONE, normal(9))));
            assertEquals(
                    "linear: the weight was packed for other kernels; pack it by the kernels that use it",
                    refusal(() -> Device.cpu().kernels().matmul().linear(3, x, weight, Epilogue.NONE, normal(9))));
        }
        PackedWeight closed = int8().pack(x, 3, 4, null);
        closed.close();
        closed.close();
        assertThrows(IllegalStateException.class, () -> int8().linear(3, x, closed, Epilogue.NONE, normal(9)));
    }
}
