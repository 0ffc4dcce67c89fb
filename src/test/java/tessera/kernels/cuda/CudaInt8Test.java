package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Int8Kernels;
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.scalar.ScalarInt8;

/** Layers on bytes on Hopper's tensor cores beside the same arithmetic in plain Java, on the same inputs. */
@Tag(FakeCuda.TAG)
class CudaInt8Test extends OnHopper {
    private static final Int8Kernels REFERENCE = new ScalarInt8(Int8Kernels.LARGEST_INPUT);
    private static @Nullable CudaInt8 kernels;

    CudaInt8Test() {
        super(17, DType.F32);
    }

    private static CudaInt8 int8() {
        CudaInt8 known = kernels;
        if (known == null) {
            known = new CudaInt8(
                    CudaInt8.Format.INT8, HopperDevice.get(), HopperDevice.get().kernels());
            kernels = known;
        }
        return known;
    }

    private double[] linear(long m, Pair x, Buffer w, long n, long k, @Nullable InputRange input, Epilogue epilogue) {
        Buffer y = result(m * n);
        try (PackedWeight weight = int8().pack(there(w), n, k, input)) {
            int8().linear(m, x.there(), weight, epilogue, y);
        }
        return values(y);
    }

    private double[] reference(
            long m, Pair x, Buffer w, long n, long k, @Nullable InputRange input, Epilogue epilogue) {
        Buffer y = kept(CPU.allocate(DType.F32, m * n));
        try (PackedWeight weight = REFERENCE.pack(w, n, k, input)) {
            REFERENCE.linear(m, x.here(), weight, epilogue, y);
        }
        return values(y);
    }

    private void same(long m, Pair x, Buffer w, long n, long k, @Nullable InputRange input) {
        Close.relative(
                linear(m, x, w, n, k, input, Epilogue.NONE),
                reference(m, x, w, n, k, input, Epilogue.NONE),
                TOLERANCE,
                m + " x " + n + " x " + k + " of " + input);
    }

    static Stream<CudaHopperProducts.Variant> variants() {
        return Stream.of(CudaInt8.SMALL, CudaInt8.LARGE);
    }

    /** Sizes that fill no tile, box or piece, more tiles than blocks, with and without what follows. */
    @ParameterizedTest
    @MethodSource("variants")
    void layersEqualThePlainArithmetic(CudaHopperProducts.Variant variant) {
        long[][] sizes = {{1, 8, 1}, {3, 16, 37}, {130, 200, 72}, {300, 392, 448}, {257, 136, 200}};
        for (long[] size : sizes) {
            long m = size[0];
            long n = size[1];
            long k = size[2];
            Pair x = normal(m * k);
            Buffer w = normalWeight(n * k);
            Pair bias = normal(n);
            Pair addend = normal(m * n);
            for (int i = 0; i < 4; i++) {
                boolean biased = i > 0;
                boolean added = i == 2;
                boolean gelu = i == 3;
                double[] expected = reference(
                        m, x, w, n, k, null, epilogue(biased ? bias.here() : null, added ? addend.here() : null, gelu));
                // In place of the addend, as on a residual.
                Buffer y = added ? addend.there() : result(m * n);
                try (PackedWeight weight = int8().pack(there(w), n, k, null)) {
                    Epilogue there = epilogue(biased ? bias.there() : null, added ? addend.there() : null, gelu);
                    int8().run(variant, m, x.there(), weight, there, y);
                }
                Close.relative(values(y), expected, TOLERANCE, variant + " of " + m + " x " + n + " x " + k + ", " + i);
            }
        }
    }

    @Test
    void variantsAgreeBitForBit() {
        long m = 200;
        long n = 136;
        long k = 200;
        Pair x = normal(m * k);
        Pair bias = normal(n);
        try (PackedWeight weight = int8().pack(there(normalWeight(n * k)), n, k, null)) {
            Buffer small = result(m * n);
            Buffer large = result(m * n);
            int8().run(CudaInt8.SMALL, m, x.there(), weight, epilogue(bias.there(), null, true), small);
            int8().run(CudaInt8.LARGE, m, x.there(), weight, epilogue(bias.there(), null, true), large);
            assertArrayEquals(values(small), values(large));
        }
    }

    @Test
    void rangesThatAreKnownBeforehandDecide() {
        long m = 70;
        long n = 24;
        long k = 50;
        Pair x = normal(m * k);
        Buffer w = normalWeight(n * k);
        for (InputRange input : List.of(
                new InputRange(-1.5f, 2), new InputRange(0, 3), new InputRange(-.1f, 0), new InputRange(0, 0))) {
            same(m, x, w, n, k, input);
        }
    }

    private double[] mlp(
            Int8Kernels by,
            DType type,
            long m,
            Buffer x,
            Buffer first,
            @Nullable Buffer firstBias,
            Buffer second,
            @Nullable InputRange input,
            Epilogue epilogue) {
        long h = firstBias == null ? 16 : firstBias.length();
        Buffer y = kept((type == DType.F32 ? CPU : HopperDevice.get()).allocate(type, m * second.length() / h));
        try (PackedWeight w1 = by.pack(first, h, first.length() / h, null);
                PackedWeight w2 = by.pack(second, second.length() / h, h, input)) {
            by.mlp(m, x, w1, firstBias, w2, epilogue, y);
        }
        return values(y);
    }

    /** With hidden values that become bytes at once, where their range is known and they fill pieces, and with others. */
    @ParameterizedTest
    @ValueSource(longs = {16, 104, 112, 400})
    void twoLayersEqualThePlainArithmetic(long h) {
        long m = h == 400 ? 300 : 75;
        long k = 48;
        long n = 40;
        Pair x = normal(m * k);
        Buffer first = normalWeight(h * k);
        Buffer second = normalWeight(n * h);
        Pair firstBias = normal(h);
        Pair bias = normal(n);
        Pair addend = normal(m * n);
        for (InputRange input : new InputRange[] {null, new InputRange(-.17f, 2)}) {
            double[] expected = mlp(
                    REFERENCE,
                    DType.F32,
                    m,
                    x.here(),
                    first,
                    firstBias.here(),
                    second,
                    input,
                    epilogue(bias.here(), addend.here(), false));
            double[] actual = mlp(
                    int8(),
                    DType.BF16,
                    m,
                    x.there(),
                    there(first),
                    firstBias.there(),
                    there(second),
                    input,
                    epilogue(bias.there(), addend.there(), false));
            Close.relative(actual, expected, 2 * TOLERANCE, "two layers, " + h + ", " + input);
        }
    }

    /** Be it that the input has it, or that it comes to be between the layers. */
    @Test
    void hiddenValuesThatAreNotFiniteMakeTheirRowsNaN() {
        InputRange input = new InputRange(-.17f, 2);
        Pair x = pair(5 * 8, 0, i -> i == 18 ? Double.NaN : 1);
        Buffer first = there(weight(16 * 8, i -> .1));
        Buffer second = there(weight(8 * 16, i -> .1));
        double[] y = mlp(int8(), DType.BF16, 5, x.there(), first, null, second, input, Epilogue.NONE);
        for (int i = 0; i < y.length; i++) {
            assertEquals(i / 8 == 2, Double.isNaN(y[i]), "at " + i);
        }
        Pair infinite = pair(16, 0, i -> i == 9 ? Double.POSITIVE_INFINITY : 0);
        y = mlp(int8(), DType.BF16, 5, x.there(), first, infinite.there(), second, input, Epilogue.NONE);
        for (double value : y) {
            assertTrue(Double.isNaN(value));
        }
    }

    @Test
    void theLargestSumsDoNotOverflow() {
        long k = 65_536;
        Pair ones = pair(2 * k, 0, i -> i % k % 5 == 0 && i >= k ? -1 : 1);
        same(2, ones, weight(8 * k, i -> i < 4 * k ? 1 : -1), 8, k, null);
        same(2, ones, weight(8 * k, i -> i < 4 * k ? 1 : -1), 8, k, new InputRange(-1, 1));
    }

    @Test
    void rowsOfZerosOfOneSignAndOfHugeAndTinyValues() {
        double[] sizes = {0, 1e-45, 1e-39, 1e-20, 1, 1e20, 3e38};
        int k = 56;
        Pair x = pair(2L * sizes.length * k, 0, i -> {
            double v = sizes[i / k / 2] * random.nextDouble();
            return i / k % 2 == 0 ? v : -v;
        });
        Buffer w = weight(24L * k, i -> 1e-3 * random.nextGaussian());
        for (int row = 0; row < 2 * sizes.length; row++) {
            Pair one = new Pair(x.here().slice((long) row * k, k), x.there().slice((long) row * k, k));
            same(1, one, w, 24, k, null);
        }
        same(2, x, weight(24L * k, i -> 0), 24, k, null);
    }

    @Test
    void aValueThatIsNotFiniteMakesItsRowNaNAndNoOther() {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            for (int where : new int[] {0, 20, 36}) {
                for (InputRange input : new InputRange[] {null, new InputRange(-1, 1)}) {
                    Pair x = pair(3 * 37, 0, i -> i == 37 + where ? bad : 1);
                    double[] y = linear(3, x, normalWeight(16 * 37), 16, 37, input, Epilogue.NONE);
                    for (int i = 0; i < y.length; i++) {
                        assertEquals(i / 16 == 1, Double.isNaN(y[i]), bad + " at " + i);
                    }
                }
            }
        }
        double[] y = linear(2, normal(80), weight(8 * 40, i -> i == 90 ? Double.NaN : 1), 8, 40, null, Epilogue.NONE);
        for (int i = 0; i < y.length; i++) {
            assertEquals(i % 8 == 2, Double.isNaN(y[i]), "channel " + i % 8);
        }
    }

    /** Where buffers begin at no multiple of 16 bytes, where outputs fill no 16 bytes, and with GELU of a sum with an addend. */
    @Test
    void whatTheKernelsDoNotTakeIsComputedAllTheSame() {
        long m = 21;
        long n = 32;
        long k = 40;
        Pair x = pair(m * k, 3, i -> random.nextGaussian());
        Pair bias = pair(n, 1, i -> random.nextGaussian());
        Pair addend = pair(m * n, 5, i -> random.nextGaussian());
        Buffer w = normalWeight(n * k);
        for (boolean gelu : new boolean[] {false, true}) {
            double[] expected = reference(m, x, w, n, k, null, epilogue(bias.here(), addend.here(), gelu));
            Buffer y = result(m * n + 1).slice(1, m * n);
            try (PackedWeight weight = int8().pack(there(w), n, k, null)) {
                int8().linear(m, x.there(), weight, epilogue(bias.there(), addend.there(), gelu), y);
            }
            Close.relative(values(y), expected, 2 * TOLERANCE, "shifted, GELU " + gelu);
        }
        Buffer odd = normalWeight(13 * k);
        Close.relative(
                linear(m, x, odd, 13, k, null, Epilogue.NONE),
                reference(m, x, odd, 13, k, null, Epilogue.NONE),
                3e-2, // the inputs are not rounded to bytes
                "13 outputs");
    }

    @Test
    void emptySizes() {
        Pair none = normal(0);
        Buffer noWeight = weight(0, i -> 0);
        Pair bias = normal(8);
        assertEquals(0, linear(0, none, normalWeight(32), 8, 4, null, Epilogue.NONE).length);
        assertEquals(0, linear(3, normal(12), noWeight, 0, 4, null, Epilogue.NONE).length);
        double[] biases = linear(2, none, noWeight, 8, 0, null, Epilogue.bias(bias.there()));
        for (int i = 0; i < biases.length; i++) {
            assertEquals(Elements.get(bias.here(), i % 8), biases[i]);
        }
    }

    @Test
    void theyAreThereWhereTheyAreAskedFor() {
        assertEquals("", System.getProperty(CudaInt8.PROPERTY, ""));
        assertTrue(!int8().available());
        System.setProperty(CudaInt8.PROPERTY, "own");
        try {
            assertTrue(int8().available());
        } finally {
            System.clearProperty(CudaInt8.PROPERTY);
        }
    }

    private static void refused(String message, Runnable call) {
        assertEquals(
                message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
    }

    @Test
    void badCallsAreRefused() {
        Buffer w = there(normalWeight(64));
        Pair x = normal(64);
        Buffer y = result(64);
        refused(
                "int8: the weight is bf16 but f32 is quantised; convert first",
                () -> int8().pack(x.there(), 8, 8, null));
        refused(
                "int8: the layer has 65537 inputs but at most 65536 are added up in 32 bits; keep this layer in f32",
                () -> int8().pack(w, 0, 65_537, null));
        try (PackedWeight weight = int8().pack(w, 8, 8, null);
                PackedWeight narrow = int8().pack(w, 16, 4, null);
                PackedWeight other = HopperDevice.get().kernels().matmul().pack(x.there(), 8, 8)) {
            refused(
                    "int8: x is f32[64] but bf16[64] or more is needed",
                    () -> int8().linear(8, w, weight, Epilogue.NONE, y));
            refused(
                    "int8: y is bf16[64] but bf16[72] or more is needed",
                    () -> int8().linear(9, normal(72).there(), weight, Epilogue.NONE, y));
            refused(
                    "int8: the weight was packed for other kernels; pack it by Int8Kernels.pack of this device",
                    () -> int8().linear(8, x.there(), other, Epilogue.NONE, y));
            refused(
                    "int8: the first layer has 16 outputs but the second 8 inputs; pass two layers that follow each other",
                    () -> int8().mlp(8, x.there(), narrow, null, weight, Epilogue.NONE, y));
        }
    }
}
