package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Kernels;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;

/** Layer norm and softmax on a GPU against the plain kernels in f64, on the same inputs. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class CudaNormsTest extends OnGpuAndPlain {
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

    @Test
    void mixedTypesAreRefused() {
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
