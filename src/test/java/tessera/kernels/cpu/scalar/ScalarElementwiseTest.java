package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Elementwise.BinaryOp;
import tessera.kernels.Elementwise.Strided;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.cpu.Erf;

/** Element-wise functions, copies, casts and sums in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarElementwiseTest extends PlainFamilies {
    @Test
    void geluMatches() {
        Buffer x = in("gelu_erf", "x");
        Buffer y = like(x);
        KERNELS.elementwise().unary(UnaryOp.GELU, x, y);
        assertGolden(y, "gelu_erf/out");
        Buffer dx = cotangent("gelu_erf");
        KERNELS.elementwise().unaryBackward(UnaryOp.GELU, x, dx, dx);
        assertGradient(dx, "gelu_erf", "x");
    }

    @Test
    void meanTokensMatches() {
        Buffer y = f64(15);
        KERNELS.elementwise().sum(in("mean_tokens", "x"), 3, 9, 5, 1.0 / 9, y);
        assertGolden(y, "mean_tokens/out");
    }

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
        KERNELS.elementwise().fill(dx, 3);
        KERNELS.elementwise().unaryBackward(op, f64(points), dx, dx);
        double h = 1e-5;
        Buffer above = f64(Arrays.stream(points).map(x -> x + h).toArray());
        Buffer below = f64(Arrays.stream(points).map(x -> x - h).toArray());
        KERNELS.elementwise().unary(op, above, above);
        KERNELS.elementwise().unary(op, below, below);
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
        KERNELS.elementwise().cast(f64(values), bf16);
        Buffer back = f64(values.length);
        KERNELS.elementwise().cast(bf16, back);
        double inf = Double.POSITIVE_INFINITY;
        assertArrayEquals(
                new double[] {1, 1, 1 + 0x1p-7, 1 + 0x1p-6, -1 - 0x1p-6, inf, -inf, Double.NaN, inf}, doubles(back));
    }

    @Test
    void integersSaturate() {
        Buffer x = f64(new double[] {-3.7, 3.7, 300, 1e12, -1e12, Double.NaN});
        Buffer u8 = DEVICE.allocate(DType.U8, 6);
        Buffer i32 = DEVICE.allocate(DType.I32, 6);
        KERNELS.elementwise().cast(x, u8);
        KERNELS.elementwise().cast(x, i32);
        Buffer wide = f64(6);
        KERNELS.elementwise().cast(u8, wide);
        assertArrayEquals(new double[] {0, 3, 255, 255, 0, 0}, doubles(wide));
        assertArrayEquals(new int[] {-3, 3, 300, Integer.MAX_VALUE, Integer.MIN_VALUE, 0}, ints(i32));
    }

    @Test
    void binaryBroadcasts() {
        Buffer column = f64(new double[] {10, 20});
        Buffer row = f64(new double[] {1, 2, 5});
        Buffer y = f64(6);
        KERNELS.elementwise()
                .binary(
                        BinaryOp.SUB,
                        new Strided(column, 0, new long[] {1, 0}),
                        new Strided(row, 0, new long[] {0, 1}),
                        y,
                        new long[] {2, 3});
        assertArrayEquals(new double[] {9, 8, 5, 19, 18, 15}, doubles(y));
        Buffer one = f64(1);
        KERNELS.elementwise()
                .binary(
                        BinaryOp.DIV,
                        new Strided(column, 0, new long[0]),
                        new Strided(row, 0, new long[0]),
                        one,
                        new long[0]);
        assertArrayEquals(new double[] {10}, doubles(one));
    }

    @Test
    void copyStridedTransposesAndMovesLongRows() {
        double[] values = IntStream.range(0, 3 * 5000).asDoubleStream().toArray();
        Buffer x = f64(values);
        Buffer y = like(x);
        KERNELS.elementwise()
                .copyStrided(new Strided(x, 0, new long[] {1, 5000}), new Strided(y, 0, new long[] {3, 1}), new long[] {
                    5000, 3
                });
        double[] transposed = doubles(y);
        for (int i = 0; i < values.length; i++) {
            assertEquals(values[i % 3 * 5000 + i / 3], transposed[i]);
        }
        Buffer part = f64(2 * 4990);
        KERNELS.elementwise()
                .copyStrided(
                        new Strided(x, 5007, new long[] {5000, 1}),
                        new Strided(part, 0, new long[] {4990, 1}),
                        new long[] {2, 4990});
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
        KERNELS.elementwise().sum(x, 1, n, 1, 1, y);
        Close.within(doubles(y)[0], expected, 1e-10, "whole");
        Buffer rows = f64(2);
        KERNELS.elementwise().sum(x, 2, n / 2, 1, 1, rows);
        Close.within(doubles(rows)[0] + doubles(rows)[1], expected, 1e-10, "rows");
        Buffer columns = f64(100);
        KERNELS.elementwise().sum(x, 1, 100, 100, 1, columns);
        KERNELS.elementwise().sum(columns, 1, 100, 1, 0.5, y);
        Close.within(doubles(y)[0], expected / 2, 1e-10, "columns");
    }
}
