package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.cpu.Elements;

/** The optimiser in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarOptimiserTest extends PlainFamilies {
    @Test
    void globalNormIsThatOfAllTensors() {
        Buffer narrow = DEVICE.allocate(DType.BF16, 1);
        Elements.set(narrow, 0, 4);
        Buffer norm = f64(1);
        KERNELS.optimiser()
                .globalNorm(new Buffer[] {f64(new double[] {1, -2}), f64(0), narrow, f64(new double[] {2})}, norm);
        assertEquals(5, doubles(norm)[0]);
    }

    @Test
    void adamWMatchesHandComputation() {
        Buffer p = f64(new double[] {1});
        Buffer m = f64(new double[] {0});
        Buffer v = f64(new double[] {0});
        double[] gradients = {0.5, -0.25};
        for (int step = 1; step <= 2; step++) {
            KERNELS.optimiser()
                    .adamW(
                            new AdamWTensors(
                                    new Buffer[] {p},
                                    new Buffer[] {f64(new double[] {gradients[step - 1]})},
                                    new Buffer[] {m},
                                    new Buffer[] {v},
                                    null,
                                    new double[] {0.1}),
                            new AdamWStep(0.01, 0.9, 0.99, 1e-8, step, null));
        }
        // Step 1: p = 0.999 - 0.01. Step 2: m = 0.02, v = 0.0031; m / 0.19, v / 0.0199.
        double afterFirst = 1 * (1 - 0.001) - 0.01 * 0.5 / (0.5 + 1e-8);
        double expected = afterFirst * (1 - 0.001) - 0.01 * (0.02 / 0.19) / (Math.sqrt(0.0031 / 0.0199) + 1e-8);
        Close.within(doubles(p)[0], expected, 1e-14, "parameter");
        Close.within(doubles(m)[0], 0.02, 1e-16, "first moment");
        Close.within(doubles(v)[0], 0.0031, 1e-16, "second moment");
    }
}
