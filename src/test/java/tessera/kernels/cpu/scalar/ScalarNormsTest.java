package tessera.kernels.cpu.scalar;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.Norms.NormGradients;
import tessera.kernels.Norms.NormParameters;
import tessera.kernels.Norms.NormStatistics;
import tessera.kernels.Norms.RowShape;

/** Layer norm and softmax in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarNormsTest extends PlainFamilies {
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
        KERNELS.norms()
                .layerNorm(
                        new RowShape(shape[0], shape[1]),
                        x,
                        new NormParameters(in(name, "w"), in(name, "b"), eps),
                        y,
                        new NormStatistics(mean, rstd));
        assertGolden(y, name + "/out");
        Buffer dx = like(x);
        Buffer dw = f64(shape[1]);
        Buffer db = f64(shape[1]);
        KERNELS.norms()
                .layerNormBackward(
                        new RowShape(shape[0], shape[1]),
                        x,
                        in(name, "w"),
                        new NormStatistics(mean, rstd),
                        cotangent(name),
                        new NormGradients(null, dx, dw, db));
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
    void softmaxMatches() {
        Buffer x = in("softmax_5x97", "x");
        Buffer y = like(x);
        KERNELS.norms().softmax(new RowShape(5, 97), x, false, y);
        assertGolden(y, "softmax_5x97/out");
        Buffer dx = cotangent("softmax_5x97");
        KERNELS.norms().softmaxBackward(new RowShape(5, 97), y, dx, false, dx);
        assertGradient(dx, "softmax_5x97", "x");
    }

    @Test
    void logSoftmaxGradientMatchesDifferences() {
        Buffer x = noise(14, 6);
        Buffer dy = noise(14, 7);
        Buffer y = like(x);
        KERNELS.norms().softmax(new RowShape(2, 7), x, true, y);
        Buffer dx = like(x);
        KERNELS.norms().softmaxBackward(new RowShape(2, 7), y, dy, true, dx);
        double[] point = doubles(x);
        double[] weights = doubles(dy);
        double h = 1e-6;
        for (int i = 0; i < point.length; i++) {
            double difference = 0;
            for (int sign = -1; sign <= 1; sign += 2) {
                double[] moved = point.clone();
                moved[i] += sign * h;
                Buffer out = like(x);
                KERNELS.norms().softmax(new RowShape(2, 7), f64(moved), true, out);
                double[] values = doubles(out);
                for (int j = 0; j < values.length; j++) {
                    difference += sign * weights[j] * values[j] / (2 * h);
                }
            }
            Close.within(doubles(dx)[i], difference, 1e-8, "d log_softmax [" + i + "]");
        }
    }
}
