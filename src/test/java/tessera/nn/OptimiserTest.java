package tessera.nn;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.Golden;
import tessera.kernels.DType;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class OptimiserTest {
    private static Map<String, Tensor> parameter(double... values) {
        Map<String, Tensor> parameters = new LinkedHashMap<>();
        parameters.put("x", Tensor.of(values).requiresGrad(true));
        return parameters;
    }

    /** One loss with gradients 3 x^2, and a step. */
    private static void train(Map<String, Tensor> parameters, AdamW optimiser) {
        try (Scope scope = Scope.open()) {
            Tensor x = requireNonNull(parameters.get("x"));
            x.mul(x).mul(x).sum().backward();
        }
        optimiser.step(.01);
    }

    @Test
    void stepsFollowTheFormula() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> parameters = parameter(1, -2);
            AdamW optimiser = new AdamW(parameters, .9, .99, 1e-8, .1, name -> true);
            double[] x = {1, -2};
            double[] m = new double[2];
            double[] v = new double[2];
            for (int step = 1; step <= 5; step++) {
                train(parameters, optimiser);
                for (int i = 0; i < 2; i++) {
                    double g = 3 * x[i] * x[i];
                    m[i] = .9 * m[i] + .1 * g;
                    v[i] = .99 * v[i] + .01 * g * g;
                    double mHat = m[i] / (1 - Math.pow(.9, step));
                    double vHat = v[i] / (1 - Math.pow(.99, step));
                    x[i] = x[i] * (1 - .01 * .1) - .01 * mHat / (Math.sqrt(vHat) + 1e-8);
                }
                Close.relative(requireNonNull(parameters.get("x")).toDoubles(), x, 1e-14, "step " + step);
            }
            assertEquals(5, optimiser.steps());
        }
    }

    /** The norm is of all parameters together; with these numbers some steps are clipped and some are not. */
    @Test
    void clippedStepsFollowTheFormula() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> parameters = parameter(.6, -.5);
            parameters.put("y", Tensor.of(new double[] {.2}).requiresGrad(true));
            AdamW optimiser = new AdamW(parameters, .9, .99, 1e-8, .1, name -> name.equals("x")).clipNorm(1.5);
            double[] w = {.6, -.5, .2};
            double[] m = new double[3];
            double[] v = new double[3];
            int clipped = 0;
            for (int step = 1; step <= 20; step++) {
                try (Scope each = Scope.open()) {
                    Tensor x = requireNonNull(parameters.get("x"));
                    x.mul(x)
                            .mul(x)
                            .sum()
                            .add(parameters.get("y").square().mul(3).sum())
                            .backward();
                }
                optimiser.step(.02);
                double[] g = {3 * w[0] * w[0], 3 * w[1] * w[1], 6 * w[2]};
                double norm = Math.sqrt(g[0] * g[0] + g[1] * g[1] + g[2] * g[2]);
                clipped += norm > 1.5 ? 1 : 0;
                for (int i = 0; i < 3; i++) {
                    double scaled = g[i] * Math.min(1, 1.5 / (norm + 1e-6));
                    m[i] = .9 * m[i] + .1 * scaled;
                    v[i] = .99 * v[i] + .01 * scaled * scaled;
                    double mHat = m[i] / (1 - Math.pow(.9, step));
                    double vHat = v[i] / (1 - Math.pow(.99, step));
                    w[i] = w[i] * (1 - (i < 2 ? .02 * .1 : 0)) - .02 * mHat / (Math.sqrt(vHat) + 1e-8);
                }
                Close.within(requireNonNull(optimiser.gradientNorm()).item(), norm, 1e-12, "norm of step " + step);
                double[] actual = Tensor.concat(0, requireNonNull(parameters.get("x")), parameters.get("y"))
                        .toDoubles();
                Close.relative(actual, w, 1e-12, "step " + step);
            }
            assertTrue(clipped > 0 && clipped < 20, clipped + " steps clipped");
        }
    }

    @Test
    void aNormThatIsNeverReachedChangesNothing() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> plain = parameter(1, -2);
            Map<String, Tensor> clipped = parameter(1, -2);
            AdamW first = new AdamW(plain, .9, .99, 1e-8, .1, name -> true);
            AdamW second = new AdamW(clipped, .9, .99, 1e-8, .1, name -> true).clipNorm(1e6);
            for (int i = 0; i < 3; i++) {
                train(plain, first);
                train(clipped, second);
            }
            assertArrayEquals(
                    requireNonNull(plain.get("x")).toDoubles(),
                    requireNonNull(clipped.get("x")).toDoubles());
            assertNull(first.gradientNorm());
        }
    }

    @Test
    void normsThatAreNotPositiveAreRefused() {
        try (Scope scope = Scope.open()) {
            AdamW optimiser = new AdamW(parameter(1), .9, .99, 1e-8, .1, name -> true);
            for (double norm : new double[] {0, -1, Double.NaN}) {
                IllegalArgumentException e =
                        assertThrows(IllegalArgumentException.class, () -> optimiser.clipNorm(norm));
                assertTrue(
                        requireNonNull(e.getMessage()).contains("norm of " + norm + "; pass a positive number"),
                        e.getMessage());
            }
        }
    }

    @Test
    void gradientsThatAreNotFiniteStayVisible() {
        for (double odd : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
            for (DType type : List.of(DType.F32, DType.F64)) {
                try (Scope scope = Scope.open()) {
                    Tensor x = Tensor.ones(40).to(type).requiresGrad(true);
                    AdamW optimiser = new AdamW(Map.of("x", x), .9, .99, 1e-8, .1, name -> true).clipNorm(1);
                    double[] gradient = new double[40];
                    gradient[7] = odd;
                    x.mul(1).backward(Tensor.of(gradient).to(type));
                    optimiser.step(.01);
                    assertEquals(odd, requireNonNull(optimiser.gradientNorm()).item());
                    double[] after = x.toDoubles();
                    for (int i = 0; i < 40; i++) {
                        boolean spoilt = Double.isNaN(odd) || i == 7;
                        assertEquals(spoilt, Double.isNaN(after[i]), odd + " at 7, weight " + i + " is " + after[i]);
                    }
                }
            }
        }
    }

    @Test
    void onlyParametersWithAGradientMove() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> parameters = parameter(1);
            parameters.put("unused", Tensor.of(new double[] {7}).requiresGrad(true));
            parameters.put("frozen", Tensor.of(new double[] {8}));
            AdamW optimiser = new AdamW(parameters, .9, .99, 1e-8, .1, name -> true);
            train(parameters, optimiser);
            assertEquals(7, parameters.get("unused").item());
            assertEquals(8, parameters.get("frozen").item());
            assertTrue(requireNonNull(parameters.get("x")).item() < 1);
            double after = parameters.get("x").item();
            optimiser.step(.01);
            assertEquals(after, parameters.get("x").item(), "the gradient was forgotten");
            assertFalse(optimiser.state().containsKey("m.frozen"));
        }
    }

    @Test
    void aStepBeforeTheBackwardPassIsRefused() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> parameters = parameter(1, -2);
            Tensor x = requireNonNull(parameters.get("x"));
            AdamW optimiser = new AdamW(parameters, .9, .99, 1e-8, .1, name -> true);
            Tensor first = x.square().sum();
            Tensor second = x.square().sum();
            Tensor third = x.square().sum();
            first.backward();
            optimiser.step(.01);
            String message = requireNonNull(
                    assertThrows(IllegalStateException.class, second::backward).getMessage());
            assertTrue(
                    message.startsWith("square: f64[2], saved for its backward pass, was changed in place by adamw"),
                    message);
            Tensor fourth = x.square().sum();
            optimiser.advance(); // a recorded step has moved them
            assertThrows(IllegalStateException.class, third::backward);
            assertThrows(IllegalStateException.class, fourth::backward);
        }
    }

    @Test
    void matricesDecayAlone() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> parameters = new LinkedHashMap<>();
            parameters.put("fc.weight", Tensor.ones(2, 3));
            parameters.put("fc.bias", Tensor.ones(2));
            parameters.put("norm.weight", Tensor.ones(3));
            parameters.put("mask_token", Tensor.ones(1, 1, 3));
            var decays = AdamW.matrices(parameters);
            assertEquals(
                    "fc.weight",
                    String.join(" ", parameters.keySet().stream().filter(decays).toList()));
        }
    }

    @Test
    void restoredStatesContinueBitEqual() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> straight = parameter(1, -2, .5);
            AdamW first = new AdamW(straight, .9, .99, 1e-8, .1, name -> true).clipNorm(2);
            for (int i = 0; i < 3; i++) {
                train(straight, first);
            }
            Map<String, Tensor> resumed =
                    parameter(requireNonNull(straight.get("x")).toDoubles());
            AdamW second = new AdamW(resumed, .9, .99, 1e-8, .1, name -> true).clipNorm(2);
            second.restore(first.state(), first.steps());
            for (int i = 0; i < 3; i++) {
                train(straight, first);
                train(resumed, second);
                assertArrayEquals(
                        straight.get("x").toDoubles(),
                        requireNonNull(resumed.get("x")).toDoubles());
            }
            CheckpointException e = assertThrows(CheckpointException.class, () -> second.restore(Map.of(), 3));
            assertTrue(
                    requireNonNull(e.getMessage()).contains("optimiser state m.x is missing but the model needs [3]"),
                    e.getMessage());
        }
    }

    @Test
    void cosineScheduleEqualsTheReference() {
        double[] expected = Golden.open("losses-schedules").doubles("cosine.lr");
        Schedule schedule = Schedule.cosine(1e-3, 1e-5, 1e-6, 14, 70);
        for (int step = 0; step < expected.length; step++) {
            Close.within(schedule.at(step), expected[step], 1e-15, "step " + step);
        }
        assertEquals(1e-5, schedule.at(14 + 70));
        assertEquals(1e-5, schedule.at(10_000), "after the period the rate stays at its minimum");
    }

    @Test
    void otherSchedules() {
        assertEquals(.1, Schedule.constant(.1).at(12345));
        Schedule linear = Schedule.linear(1, 10, 110);
        assertEquals(0, linear.at(0));
        assertEquals(.5, linear.at(5));
        assertEquals(1, linear.at(10));
        assertEquals(.5, linear.at(60));
        assertEquals(0, linear.at(110));
        assertEquals(0, linear.at(200));
    }
}
