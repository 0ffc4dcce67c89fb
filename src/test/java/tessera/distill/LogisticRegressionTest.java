package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.Golden;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.fewshot.LogisticRegression;

class LogisticRegressionTest {
    private static final Golden GOLDEN = Golden.open("fewshot-logistic");

    @ParameterizedTest
    @ValueSource(strings = {"case0", "case1", "case2"})
    void agreesWithTheReference(String name) {
        int classes = (int) GOLDEN.shape(name + ".coef")[0];
        var fit = new LogisticRegression(1, 1e-9, 1000)
                .fit(GOLDEN.rows(name + ".support"), GOLDEN.ints(name + ".support_labels"), classes);
        assertTrue(fit.converged(), "converged in " + fit.iterations());
        LinearClassifier head = fit.classifier();
        Close.relative(flat(head.coefficients()), GOLDEN.doubles(name + ".coef"), 1e-5, "coefficients");
        // The intercepts are free up to a common constant: only their differences can be compared.
        double[] intercepts = centred(head.intercepts());
        double[] expected = centred(GOLDEN.doubles(name + ".intercept"));
        for (int k = 0; k < classes; k++) {
            Close.within(intercepts[k], expected[k], 1e-5, "intercept " + k);
        }

        double[][] first = GOLDEN.rows(name + ".query_mask1");
        double[][] second = GOLDEN.rows(name + ".query_mask2");
        double[][] ensemble = new double[first.length][];
        for (int q = 0; q < first.length; q++) {
            ensemble[q] = head.ensemble(new double[][] {first[q], second[q]});
            first[q] = head.probabilities(first[q]);
            second[q] = head.probabilities(second[q]);
        }
        Close.relative(flat(first), GOLDEN.doubles(name + ".prob1"), 1e-5, "probabilities of mask 1");
        Close.relative(flat(second), GOLDEN.doubles(name + ".prob2"), 1e-5, "probabilities of mask 2");
        Close.relative(flat(ensemble), GOLDEN.doubles(name + ".prob_ensemble"), 1e-5, "mean of probabilities");
        Close.within(
                new EpisodeResult(ensemble, GOLDEN.ints(name + ".query_labels")).accuracy(),
                GOLDEN.doubles(name + ".accuracy")[0],
                1e-12,
                "accuracy");
    }

    @Test
    void theDefaultToleranceGivesProbabilitiesWithinOneInAThousand() {
        LinearClassifier head = new LogisticRegression()
                .fit(GOLDEN.rows("case1.support"), GOLDEN.ints("case1.support_labels"), 5)
                .classifier();
        double[][] queries = GOLDEN.rows("case1.query_mask1");
        double[][] expected = GOLDEN.rows("case1.prob1");
        for (int q = 0; q < queries.length; q++) {
            double[] p = head.probabilities(queries[q]);
            for (int k = 0; k < p.length; k++) {
                Close.within(p[k], expected[q][k], 1e-3, "query " + q + " class " + k);
            }
        }
    }

    /** At the minimum {@code W_k = C sum_i (1[y_i = k] - p_ik) x_i}, and the residuals of each class sum to nothing. */
    @ParameterizedTest
    @ValueSource(doubles = {1e-3, 1, 1e3})
    void fulfilsTheNormalEquationsForEveryPenalty(double c) {
        Random random = new Random(3);
        double[][] x = new double[40][6];
        int[] y = new int[40];
        for (int i = 0; i < x.length; i++) {
            y[i] = i % 4;
            for (int j = 0; j < 6; j++) {
                x[i][j] = 30 * random.nextGaussian() + (j == y[i] ? 25 : 0);
            }
        }
        var fit = new LogisticRegression(c, 1e-7, 5000).fit(x, y, 4);
        assertTrue(fit.converged(), "converged in " + fit.iterations());
        double[][] w = fit.classifier().coefficients();
        for (int k = 0; k < 4; k++) {
            double[] expected = new double[6];
            double residuals = 0;
            for (int i = 0; i < x.length; i++) {
                double residual = (y[i] == k ? 1 : 0) - fit.classifier().probabilities(x[i])[k];
                residuals += c * residual;
                for (int j = 0; j < 6; j++) {
                    expected[j] += c * residual * x[i][j];
                }
            }
            for (int j = 0; j < 6; j++) {
                Close.within(w[k][j], expected[j], 1e-6, "W[" + k + "][" + j + "]");
            }
            Close.within(residuals, 0, 1e-6, "residuals of class " + k);
        }
    }

    @Test
    void twoClassesGetOneRowEach() {
        double[][] x = {{-1}, {1}};
        var fit = new LogisticRegression(1, 1e-12, 1000).fit(x, new int[] {0, 1}, 2);
        double[][] w = fit.classifier().coefficients();
        assertEquals(2, w.length);
        // By symmetry w = W[1] = -W[0] solves w = 2 / (1 + exp(2 w)).
        Close.within(w[1][0], -w[0][0], 1e-10, "symmetry");
        Close.within(w[1][0], 2 / (1 + Math.exp(2 * w[1][0])), 1e-10, "fixed point");
    }

    @Test
    void runningOutOfIterationsIsReported() {
        var fit = new LogisticRegression(1, 1e-12, 2)
                .fit(GOLDEN.rows("case2.support"), GOLDEN.ints("case2.support_labels"), 3);
        assertFalse(fit.converged());
        assertEquals(2, fit.iterations());
    }

    @Test
    void theSameDataGiveTheSameBits() {
        double[][] x = GOLDEN.rows("case1.support");
        int[] y = GOLDEN.ints("case1.support_labels");
        assertArrayEquals(
                flat(new LogisticRegression().fit(x, y, 5).classifier().coefficients()),
                flat(new LogisticRegression().fit(x, y, 5).classifier().coefficients()));
    }

    @Test
    void theClassifierKeepsItsOwnCopies() {
        double[][] w = {{1, 2}, {3, 4}};
        var classifier = new LinearClassifier(w, new double[2]);
        w[0][0] = 9;
        classifier.coefficients()[0][0] = 9;
        classifier.intercepts()[0] = 9;
        assertArrayEquals(new double[] {1, 2, 3, 4}, flat(classifier.coefficients()));
        assertArrayEquals(new double[2], classifier.intercepts());
    }

    @Test
    void hugeLogitsDoNotOverflow() {
        var classifier = new LinearClassifier(new double[][] {{1}, {-1}}, new double[2]);
        assertArrayEquals(new double[] {1, 0}, classifier.probabilities(new double[] {1e6}));
    }

    @Test
    void badInputIsRefusedWithALineThatNamesIt() {
        var head = new LogisticRegression();
        refused(
                "feature 1 of example 2 is NaN",
                () -> head.fit(new double[][] {{0, 1}, {1, 0}, {2, Double.NaN}}, new int[] {0, 1, 0}, 2));
        refused(
                "feature 0 of example 0 is Infinity",
                () -> head.fit(new double[][] {{Double.POSITIVE_INFINITY}, {1}}, new int[] {0, 1}, 2));
        refused("class 1 has no example", () -> head.fit(new double[][] {{0}, {1}}, new int[] {0, 0}, 2));
        refused("label 2 of example 1", () -> head.fit(new double[][] {{0}, {1}}, new int[] {0, 2}, 2));
        refused("example 1 has 2 features", () -> head.fit(new double[][] {{0}, {1, 2}}, new int[] {0, 1}, 2));
        refused("2 feature rows but 1 labels", () -> head.fit(new double[][] {{0}, {1}}, new int[] {0}, 2));
        refused("C is 0.0", () -> new LogisticRegression(0, 1e-4, 10));
        var classifier = new LinearClassifier(new double[][] {{1}, {-1}}, new double[2]);
        refused("2 features given but it was fitted on 1", () -> classifier.probabilities(new double[2]));
        refused("feature 0 of the input is NaN", () -> classifier.probabilities(new double[] {Double.NaN}));
    }

    private static void refused(String part, Runnable call) {
        var error = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(requireNonNull(error.getMessage()).contains(part), error.getMessage());
    }

    private static double[] flat(double[][] rows) {
        return Arrays.stream(rows).flatMapToDouble(Arrays::stream).toArray();
    }

    private static double[] centred(double[] values) {
        double mean = Arrays.stream(values).average().orElseThrow();
        return Arrays.stream(values).map(v -> v - mean).toArray();
    }
}
