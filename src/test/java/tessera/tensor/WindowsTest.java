package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** What window attention is made of: rows in another order, tables, regions and padded patches, each by its definition. */
class WindowsTest {
    private static Tensor normal(DType dtype, long... sizes) {
        Random random = new Random(Arrays.hashCode(sizes));
        double[] values = new double[Math.toIntExact(Shape.of(sizes).count())];
        Arrays.setAll(values, i -> (float) random.nextGaussian());
        return Tensor.of(values, sizes).to(dtype);
    }

    @Test
    void rowsGoToTheirPlacesAndTheirGradientsComeBack() {
        Tensor x = Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 10, 20, 30, 40, 50, 60}, 2, 3, 2)
                .requiresGrad(true);
        Tensor y = x.rearrange(Tensor.of(new int[] {2, -1, 0, -1}, 4), Tensor.of(new int[] {2, -1, 0}, 3));
        assertArrayEquals(
                new double[] {5, 6, 0, 0, 1, 2, 0, 0, 50, 60, 0, 0, 10, 20, 0, 0},
                y.toDoubles(),
                "rows in their places");
        double[] cotangent = new double[16];
        Arrays.setAll(cotangent, i -> i + 1);
        y.backward(Tensor.of(cotangent, 2, 4, 2).to(DType.F32));
        assertArrayEquals(
                new double[] {5, 6, 0, 0, 1, 2, 13, 14, 0, 0, 9, 10},
                requireNonNull(x.grad()).toDoubles());
    }

    @Test
    void aTableIsReadByAnIndexOfAnyShapeAndGetsSumsBack() {
        Tensor table = Tensor.of(new float[] {1, 2, 3, 4, 5, 6}, 3, 2).requiresGrad(true);
        Tensor y = table.embedding(Tensor.of(new int[] {2, -1, 0, 2}, 2, 1, 2));
        assertEquals(Shape.of(2, 1, 2, 2), y.shape());
        assertArrayEquals(new double[] {5, 6, 0, 0, 1, 2, 5, 6}, y.toDoubles());
        y.backward(Tensor.of(new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 2, 1, 2, 2));
        assertArrayEquals(
                new double[] {5, 6, 0, 0, 8, 10}, requireNonNull(table.grad()).toDoubles());
    }

    /** Thousands of words of few kinds: the sum in f32 is as good as the true one, rounded a few times. */
    @Test
    void longSumsKeepTheirDigits() {
        int uses = 200_000;
        Tensor table = Tensor.full(Device.cpu(), DType.F32, Shape.of(2, 3), 0).requiresGrad(true);
        table.embedding(Tensor.full(Device.cpu(), DType.I32, Shape.of(uses), 1))
                .backward(Tensor.full(Device.cpu(), DType.F32, Shape.of(uses, 3), .1));
        double sum = uses * (double) .1f;
        Close.relative(requireNonNull(table.grad()).toDoubles(), new double[] {0, 0, 0, sum, sum, sum}, 1e-6, "sums");
    }

    @ParameterizedTest
    @EnumSource(names = {"F32", "F64"})
    void regionsAreABiasOfMinusAHundredBetweenThem(DType dtype) {
        int n = 21;
        int heads = 2;
        int dim = 5;
        int[] rows = new int[2 * n];
        Arrays.setAll(rows, i -> i < n ? 4 : i % 3);
        double[] mask = new double[4 * heads * n * n];
        Arrays.setAll(mask, i -> {
            int row = i / (heads * n * n) % 2 * n;
            return rows[row + i / n % n] == rows[row + i % n] ? 0 : -100;
        });
        Tensor qkv = normal(dtype, 4, n, 3L * heads * dim).requiresGrad(true);
        Tensor bias = normal(dtype, 1, heads, n, n).requiresGrad(true);
        Tensor y = qkv.selfAttention(heads, bias, Tensor.of(rows, 2, n));
        Tensor cotangent = normal(dtype, 4, n, (long) heads * dim);
        y.backward(cotangent);
        double[] dqkv = requireNonNull(qkv.grad()).toDoubles();
        double[] dbias = requireNonNull(bias.grad()).toDoubles();
        qkv.zeroGrad();
        bias.zeroGrad();
        Tensor parts = qkv.reshape(4, n, 3, heads, dim).permute(2, 0, 3, 1, 4);
        Tensor scores =
                bias.expand(4, heads, n, n).add(Tensor.of(mask, 4, heads, n, n).to(dtype));
        Tensor expected = Tensor.attention(part(parts, 0), part(parts, 1), part(parts, 2), scores, 1 / Math.sqrt(dim))
                .transpose(1, 2)
                .reshape(4, n, (long) heads * dim);
        double tolerance = dtype == DType.F32 ? 2e-6 : 1e-14;
        Close.relative(y.toDoubles(), expected.toDoubles(), tolerance, "attention");
        expected.backward(cotangent);
        Close.relative(dqkv, requireNonNull(qkv.grad()).toDoubles(), tolerance, "gradient");
        Close.relative(dbias, requireNonNull(bias.grad()).toDoubles(), tolerance, "gradient of the bias");
    }

    private static Tensor part(Tensor parts, int which) {
        return parts.slice(0, which, which + 1)
                .reshape(Arrays.copyOfRange(parts.shape().toArray(), 1, 5));
    }

    private record Results(double[] y, double[] dqkv, double[] dbias) {
        static Results of(Device device, int[] regions) {
            int windows = 14;
            int n = 70;
            Tensor qkv = normal(DType.F32, windows, n, 3L * 3 * 16).to(device).requiresGrad(true);
            Tensor bias = normal(DType.F32, 1, 3, n, n).to(device).requiresGrad(true);
            Tensor y = qkv.selfAttention(
                    3,
                    bias,
                    regions.length == 0
                            ? null
                            : Tensor.of(regions, regions.length / n, n).to(device));
            y.backward(normal(DType.F32, windows, n, 3L * 16).to(device));
            return new Results(
                    y.toDoubles(),
                    requireNonNull(qkv.grad()).toDoubles(),
                    requireNonNull(bias.grad()).toDoubles());
        }

        void assertSame(Results other, String what) {
            assertArrayEquals(y, other.y, what);
            assertArrayEquals(dqkv, other.dqkv, what);
            assertArrayEquals(dbias, other.dbias, what);
        }
    }

    /** Also of the gradient of the bias that all windows share. */
    @Test
    void resultsDoNotDependOnTheNumberOfThreads() {
        int[] regions = new int[2 * 70];
        Arrays.setAll(regions, i -> i / 45);
        Results one = Results.of(Device.cpu(1), regions);
        for (int threads : List.of(2, 3, 5, 16)) {
            one.assertSame(Results.of(Device.cpu(threads), regions), threads + " threads");
        }
        assertFalse(Arrays.equals(one.y, Results.of(Device.cpu(1), new int[0]).y), "the regions do something");
    }

    @Test
    void oneRegionIsAsNone() {
        int[] regions = new int[70];
        Arrays.fill(regions, 5);
        Results.of(Device.cpu(2), new int[0]).assertSame(Results.of(Device.cpu(2), regions), "one region");
    }

    /** The mean of a channel becomes zero, so a video that goes on with it has the padding in it. */
    @ParameterizedTest
    @EnumSource(names = {"F32", "F64"})
    void paddingIsZeroAfterNormalisation(DType dtype) {
        double[] mean = {.25, -.5};
        Patches patches = new Patches(2, 2, 4, .5, mean, new double[] {.5, 2});
        Tensor small = normal(dtype, 2, 3, 6, 5, 2);
        Tensor large = Tensor.full(Device.cpu(), dtype, Shape.of(2, 4, 8, 8, 1), 1);
        large = Tensor.concat(4, large.mul(mean[0] / .5), large.mul(mean[1] / .5));
        Tensor rows =
                Tensor.concat(2, small, large.slice(1, 0, 3).slice(2, 6, 8).slice(3, 0, 5));
        Tensor columns = Tensor.concat(3, rows, large.slice(1, 0, 3).slice(3, 5, 8));
        Tensor whole = Tensor.concat(1, columns, large.slice(1, 3, 4));
        double tolerance = dtype == DType.F32 ? 1e-6 : 1e-14;
        Close.relative(
                patches.padded().gather(small, null).toDoubles(),
                patches.gather(whole, null).toDoubles(),
                tolerance,
                "padded patches");
        assertArrayEquals(
                patches.gather(whole, null).toDoubles(),
                patches.padded().gather(whole, null).toDoubles(),
                "whole patches");
    }

    @Test
    void costsCountTheProductsAndAllThatIsRead() {
        Tensor qkv = Tensor.zeros(4, 5, 24);
        Tensor bias = Tensor.zeros(1, 2, 5, 5);
        Tensor regions = Tensor.full(Device.cpu(), DType.I32, Shape.of(2, 5), 0);
        try (CostMeter meter = CostMeter.open()) {
            qkv.selfAttention(2, bias, regions);
            assertEquals(2 * 2 * 4 * 2 * 5 * 5 * 4, meter.of("attention").flops());
            assertEquals(
                    4 * (4 * 5 * 24 + 4 * 5 * 8 + 2 * 5 * 5 + 2 * 5),
                    meter.of("attention").bytes());
            Tensor.zeros(3, 7).embedding(Tensor.of(new int[] {0, 1}, 2));
            assertEquals(0, meter.of("embedding").flops());
            assertEquals(4 * (2 * 2 * 7 + 2), meter.of("embedding").bytes());
        }
    }
}
