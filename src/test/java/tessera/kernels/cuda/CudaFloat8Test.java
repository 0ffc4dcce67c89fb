package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

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
import tessera.kernels.Int8Kernels.InputRange;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Matmul.PackedWeight;
import tessera.kernels.cpu.Elements;
import tessera.kernels.cpu.Workers;
import tessera.kernels.cpu.scalar.PlainDevice;

/** Layers on bytes that are floats on Hopper's tensor cores beside the same arithmetic in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
class CudaFloat8Test extends OnHopper {
    private static final Kernels REFERENCE = PlainDevice.reference(new Workers(1));

    CudaFloat8Test() {
        super(19, DType.F64);
    }

    private static @Nullable CudaInt8 kernels;

    private static CudaInt8 kernels() {
        CudaInt8 known = kernels;
        if (known == null) {
            known = new CudaInt8(
                    CudaInt8.Format.E4M3, HopperDevice.get(), HopperDevice.get().kernels());
            kernels = known;
        }
        return known;
    }

    /** Rows as e4m3 times their scale. */
    private Buffer rounded(Buffer given, long rows, long k) {
        Buffer rounded = kept(CPU.allocate(DType.F64, rows * k));
        for (long row = 0; row < rows; row++) {
            float largest = 0;
            for (long i = row * k; i < (row + 1) * k; i++) {
                largest = Math.max(largest, (float) Math.abs(Elements.get(given, i)));
            }
            float scale = largest / Float8.LARGEST;
            for (long i = row * k; i < (row + 1) * k; i++) {
                float steps = scale > 0 ? (float) Elements.get(given, i) / scale : 0;
                Elements.set(rounded, i, (double) Float8.value(Float8.of(steps)) * scale);
            }
        }
        return rounded;
    }

    /** In f64, of x and w as they are. */
    private double[] reference(long m, long n, long k, Buffer x, Buffer w, Epilogue epilogue) {
        Buffer y = kept(CPU.allocate(DType.F64, m * n));
        REFERENCE.matmul().matmul(MatmulShape.of(false, true, m, n, k), x, w, epilogue, y);
        return values(y);
    }

    private Buffer wide(Buffer f32) {
        Buffer f64 = kept(CPU.allocate(DType.F64, f32.length()));
        CPU.kernels().elementwise().cast(f32, f64);
        return f64;
    }

    static Stream<CudaHopperProducts.Variant> variants() {
        return Stream.of(CudaInt8.SMALL, CudaInt8.LARGE);
    }

    /** Sizes that fill no tile, box or piece, more tiles than blocks, with and without what follows. */
    @ParameterizedTest
    @MethodSource("variants")
    void layersEqualTheSameArithmeticInF64(CudaHopperProducts.Variant variant) {
        long[][] sizes = {{1, 8, 1}, {3, 16, 37}, {130, 200, 72}, {300, 392, 448}, {257, 136, 200}};
        for (long[] size : sizes) {
            long m = size[0];
            long n = size[1];
            long k = size[2];
            Pair x = normal(m * k);
            Buffer w = normalWeight(n * k);
            Buffer xRounded = rounded(x.here(), m, k);
            Buffer wRounded = rounded(w, n, k);
            Pair bias = normal(n);
            Pair addend = normal(m * n);
            for (int i = 0; i < 4; i++) {
                boolean biased = i > 0;
                boolean added = i == 2;
                boolean gelu = i == 3;
                double[] expected = reference(
                        m,
                        n,
                        k,
                        xRounded,
                        wRounded,
                        epilogue(biased ? bias.here() : null, added ? addend.here() : null, gelu));
                // In place of the addend, as on a residual.
                Buffer y = added ? addend.there() : result(m * n);
                try (PackedWeight weight = kernels().pack(there(w), n, k, null)) {
                    Epilogue there = epilogue(biased ? bias.there() : null, added ? addend.there() : null, gelu);
                    kernels().run(variant, m, x.there(), weight, there, y);
                }
                Close.relative(
                        values(y), expected, 1.5 * TOLERANCE, variant + " of " + m + " x " + n + " x " + k + ", " + i);
            }
        }
    }

    private double[] linear(long m, Buffer x, Buffer w, long n, long k, @Nullable InputRange input) {
        Buffer y = result(m * n);
        try (PackedWeight weight = kernels().pack(there(w), n, k, input)) {
            kernels().linear(m, x, weight, Epilogue.NONE, y);
        }
        return values(y);
    }

    /** Beside the product of what was not rounded: three times the error of integers, whatever the range that was measured. */
    @Test
    void errorsOfNormalData() {
        long m = 64;
        long n = 96;
        long k = 384;
        Pair x = normal(m * k);
        Buffer w = normalWeight(n * k);
        double[] exact = reference(m, n, k, x.here(), wide(w), Epilogue.NONE);
        Close.relative(linear(m, x.there(), w, n, k, null), exact, .04, "e4m3");
        Close.relative(linear(m, x.there(), w, n, k, new InputRange(-1, 1)), exact, .04, "e4m3 of a range");
        CudaInt8 integers = new CudaInt8(
                CudaInt8.Format.INT8, HopperDevice.get(), HopperDevice.get().kernels());
        Buffer y = result(m * n);
        try (PackedWeight weight = integers.pack(there(w), n, k, null)) {
            integers.linear(m, x.there(), weight, Epilogue.NONE, y);
        }
        Close.relative(values(y), exact, .013, "int8");
    }

    @ParameterizedTest
    @ValueSource(longs = {16, 104})
    void twoLayersEqualTheSameArithmeticInF64(long h) {
        long m = 75;
        long k = 48;
        long n = 40;
        Pair x = normal(m * k);
        Buffer first = normalWeight(h * k);
        Buffer second = normalWeight(n * h);
        Pair firstBias = normal(h);
        Pair bias = normal(n);
        Pair addend = normal(m * n);
        Buffer hidden = kept(CPU.allocate(DType.BF16, m * h));
        Buffer hiddenWide = kept(CPU.allocate(DType.F64, m * h));
        double[] gelus = reference(
                m, h, k, rounded(x.here(), m, k), rounded(first, h, k), epilogue(firstBias.here(), null, true));
        Elements.store(gelus, 0, gelus.length, hidden, 0);
        CPU.kernels().elementwise().cast(hidden, hiddenWide);
        double[] expected = reference(
                m, n, h, rounded(hiddenWide, m, h), rounded(second, n, h), epilogue(bias.here(), addend.here(), false));
        Buffer y = result(m * n);
        try (PackedWeight w1 = kernels().pack(there(first), h, k, null);
                PackedWeight w2 = kernels().pack(there(second), n, h, new InputRange(-.17f, 2))) {
            kernels().mlp(m, x.there(), w1, firstBias.there(), w2, epilogue(bias.there(), addend.there(), false), y);
        }
        // Where a hidden value is near the middle of two floats of eight bits, either may come out.
        Close.relative(values(y), expected, 2 * TOLERANCE, "two layers, " + h);
    }

    @Test
    void rowsOfZerosAndOfHugeAndTinyValues() {
        double[] sizes = {0, 1e-39, 1e-20, 1, 1e20, 3e38};
        int k = 56;
        Pair x = pair((long) sizes.length * k, 0, i -> sizes[i / k] * random.nextGaussian() / 4);
        Buffer w = weight(24L * k, i -> 1e-3 * random.nextGaussian());
        Buffer rounded = rounded(w, 24, k);
        for (int row = 0; row < sizes.length; row++) {
            Buffer here = x.here().slice((long) row * k, k);
            double[] expected = reference(1, 24, k, rounded(here, 1, k), rounded, Epilogue.NONE);
            double[] actual = linear(1, x.there().slice((long) row * k, k), w, 24, k, null);
            if (sizes[row] < 1e-38) {
                assertArrayEquals(new double[24], actual, "too small for a scale");
            } else {
                Close.relative(actual, expected, 1.5 * TOLERANCE, "row of " + sizes[row]);
            }
        }
        assertArrayEquals(new double[24], linear(1, x.there().slice(3L * k, k), weight(24L * k, i -> 0), 24, k, null));
    }

    @Test
    void aValueThatIsNotFiniteMakesItsRowNaNAndNoOther() {
        for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
            Pair x = pair(3 * 37, 0, i -> i == 37 + 20 ? bad : 1);
            double[] y = linear(3, x.there(), normalWeight(16 * 37), 16, 37, null);
            for (int i = 0; i < y.length; i++) {
                assertEquals(i / 16 == 1, Double.isNaN(y[i]), bad + " at " + i);
            }
        }
        double[] y = linear(2, normal(80).there(), weight(8 * 40, i -> i == 90 ? Double.NaN : 1), 8, 40, null);
        for (int i = 0; i < y.length; i++) {
            assertEquals(i % 8 == 2, Double.isNaN(y[i]), "channel " + i % 8);
        }
    }

    @Test
    void emptySizesAndOddOutputs() {
        Buffer nothing = result(0);
        assertEquals(0, linear(0, nothing, normalWeight(32), 8, 4, null).length);
        assertEquals(0, linear(3, normal(12).there(), weight(0, i -> 0), 0, 4, null).length);
        Pair x = normal(21 * 40);
        Buffer odd = normalWeight(13 * 40);
        Close.relative(
                linear(21, x.there(), odd, 13, 40, null),
                reference(21, 13, 40, x.here(), rounded(odd, 13, 40), Epilogue.NONE),
                1.5 * TOLERANCE,
                "13 outputs, inputs as they are");
    }

    @Test
    void theyAreThereWhereTheyAreAskedFor() {
        for (String wanted : new String[] {"", "own", "e4m3"}) {
            System.setProperty(CudaInt8.PROPERTY, wanted);
            try {
                assertEquals(wanted.equals("e4m3"), kernels().available());
                assertEquals(!wanted.isEmpty(), HopperDevice.get().int8().isPresent());
            } finally {
                System.clearProperty(CudaInt8.PROPERTY);
            }
        }
    }

    /** Every one of them is its own nearest, and between two the nearer is taken, of two as near the even one. */
    @Test
    void floatsOfEightBits() {
        assertEquals(448, Float8.value((byte) 0x7E));
        assertEquals(1, Float8.value((byte) 0x38));
        assertEquals(1 / 512f, Float8.value((byte) 1));
        assertTrue(Float.isNaN(Float8.value((byte) 0x7F)) && Float.isNaN(Float8.value((byte) 0xFF)));
        assertTrue(Float.isNaN(Float8.value(Float8.of(Float.NaN))));
        for (int bits = 0; bits < 0x7E; bits++) {
            float low = Float8.value((byte) bits);
            float high = Float8.value((byte) (bits + 1));
            float middle = (low + high) / 2;
            assertEquals((byte) bits, Float8.of(low));
            assertEquals((byte) (bits | 0x80), Float8.of(-low));
            assertEquals((byte) bits, Float8.of(Math.nextDown(middle)));
            assertEquals((byte) (bits + bits % 2), Float8.of(middle));
            assertEquals((byte) (bits + 1), Float8.of(Math.nextUp(middle)));
        }
        assertEquals((byte) 0x7E, Float8.of(1e9f));
        assertEquals((byte) 0xFE, Float8.of(Float.NEGATIVE_INFINITY));
    }
}
