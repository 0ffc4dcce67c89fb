package tessera.distill.evaluation;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.TestDevices;

/** Reliability and temperature. */
class CalibrationTest {
    private static HeadLogits head(double[]... values) {
        List<String> labels =
                IntStream.range(0, values[0].length).mapToObj(c -> "c" + c).toList();
        return new HeadLogits("verb", labels, values);
    }

    @Test
    void reliabilityAgreesWithTheReference() {
        Golden golden = Golden.open("losses-schedules");
        HeadLogits logits = head(golden.rows("ece.logits"));
        int[] labels = golden.ints("ece.labels");
        double[][] probabilities = logits.probabilities();
        Reliability reliability = Reliability.of(probabilities, labels);
        double error = reliability.expectedCalibrationError();
        Close.within(100 * error, 100 * golden.doubles("ece.value")[0], 1e-4, "calibration error");
        assertEquals(Classification.expectedCalibrationError(probabilities, labels, 15), error);
        assertEquals(15, reliability.bins().size());
        assertEquals(
                500,
                reliability.bins().stream().mapToInt(Reliability.Bin::count).sum());
        Close.within(reliability.accuracy(), Classification.topK(probabilities, labels, 1), 1e-12, "accuracy");
        double byHand = 0;
        for (Reliability.Bin bin : reliability.bins()) {
            if (bin.count() > 0) {
                assertTrue(bin.confidence() > bin.from() && bin.confidence() <= bin.to(), bin.toString());
                byHand += bin.count() / 500.0 * Math.abs(bin.accuracy() - bin.confidence());
            }
        }
        Close.within(byHand, error, 1e-12, "sum over the bins");
    }

    /** Confidences that a device made in single precision. */
    @Test
    void reliabilityOfSinglePrecision() {
        reliabilityOfSinglePrecision(Device.cpu());
    }

    @Tag(FakeCuda.TAG)
    @Test
    void reliabilityOnCuda() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
        reliabilityOfSinglePrecision(TestDevices.cuda().getFirst());
    }

    private static void reliabilityOfSinglePrecision(Device device) {
        Golden golden = Golden.open("losses-schedules");
        try (Scope scope = Scope.open()) {
            double[] confidences = GoldenTensors.tensor(golden, "ece.logits", DType.F32, device)
                    .softmax()
                    .toDoubles();
            double[][] probabilities = new double[confidences.length / 7][];
            for (int i = 0; i < probabilities.length; i++) {
                probabilities[i] = Arrays.copyOfRange(confidences, 7 * i, 7 * i + 7);
            }
            Close.relative(
                    new double[] {
                        Reliability.of(probabilities, golden.ints("ece.labels")).expectedCalibrationError()
                    },
                    golden.doubles("ece.value"),
                    1e-5,
                    "calibration error");
        }
    }

    @Test
    void binsHoldWhatTheyShould() {
        double[][] p = {{.5, .5}, {.75, .25}, {.2, .8}, {1, 0}};
        Reliability reliability = Reliability.of(p, new int[] {0, 1, 1, 0}, 4);
        assertEquals(
                List.of(0, 1, 1, 2),
                reliability.bins().stream().map(Reliability.Bin::count).toList());
        assertEquals(
                List.of(0, 1, 0, 2),
                reliability.bins().stream().map(Reliability.Bin::hits).toList());
        Reliability.Bin last = reliability.bins().getLast();
        Close.within(last.confidence(), .9, 1e-12, "confidence");
        Close.within(last.accuracy(), 1, 0, "accuracy");
        assertTrue(Double.isNaN(reliability.bins().getFirst().accuracy()), "an empty bin has no accuracy");
        Close.within(reliability.confidence(), 3.05 / 4, 1e-12, "mean confidence");
        Close.within(reliability.accuracy(), .75, 1e-12, "accuracy of all");
    }

    /** Scores a or 0 for the right class in a share p of the samples: the confidence becomes p, so T = a / ln(p / (1 - p)). */
    @ParameterizedTest
    @CsvSource({"2, .75", "8, .9", "0.5, .6", "30, .95"})
    void theTemperatureIsTheOneThatCanBeWorkedOut(double a, double p) {
        int n = 200;
        double[][] logits = new double[n][];
        int[] labels = new int[n];
        for (int i = 0; i < n; i++) {
            logits[i] = new double[] {a, 0};
            labels[i] = i < p * n ? 0 : 1;
        }
        double expected = a / Math.log(p / (1 - p));
        double fitted = TemperatureScaling.fit(logits, labels);
        Close.within(fitted / expected, 1, 1e-9, "temperature");
        double error =
                Reliability.of(head(logits).probabilities(fitted), labels).expectedCalibrationError();
        Close.within(error, 0, 1e-9, "calibration error at that temperature");
    }

    @Test
    void theFitIsALeastPointAndFollowsTheScale() {
        // Labels drawn from the scores at a temperature of 2.5.
        Random random = new Random(8);
        double[][] logits = new double[4000][4];
        int[] labels = new int[logits.length];
        for (int i = 0; i < labels.length; i++) {
            for (int c = 0; c < 4; c++) {
                logits[i][c] = 5 * random.nextGaussian();
            }
            double[] p = head(logits[i]).probabilities(2.5)[0];
            double draw = random.nextDouble();
            for (int c = 0; c < 3 && draw >= p[c]; c++) {
                draw -= p[c];
                labels[i] = c + 1;
            }
        }
        double fitted = TemperatureScaling.fit(logits, labels);
        Close.within(fitted, 2.5, .15, "the temperature that the labels were drawn at");
        double least = TemperatureScaling.negativeLogLikelihood(logits, labels, fitted);
        for (double factor : new double[] {.5, .9, .99, 1.01, 1.1, 2}) {
            double there = TemperatureScaling.negativeLogLikelihood(logits, labels, factor * fitted);
            assertTrue(there > least, "at " + factor + " times the temperature: " + there + " against " + least);
        }
        double[][] scaled = new double[logits.length][];
        for (int i = 0; i < scaled.length; i++) {
            scaled[i] = logits[i].clone();
            for (int c = 0; c < scaled[i].length; c++) {
                scaled[i][c] *= 3;
            }
        }
        Close.within(TemperatureScaling.fit(scaled, labels) / fitted, 3, 1e-9, "scores three times as large");
        assertEquals(
                Classification.topK(head(logits).probabilities(), labels, 1),
                Classification.topK(head(logits).probabilities(fitted), labels, 1),
                "a temperature moves no arg-max");
    }

    @Test
    void theLikelihoodIsThatOfTheProbabilities() {
        Random random = new Random(2);
        double[][] logits = new double[20][5];
        int[] labels = new int[20];
        double expected = 0;
        for (int i = 0; i < 20; i++) {
            for (int c = 0; c < 5; c++) {
                logits[i][c] = 3 * random.nextGaussian();
            }
            labels[i] = random.nextInt(5);
        }
        double[][] p = head(logits).probabilities(1.7);
        for (int i = 0; i < 20; i++) {
            expected -= Math.log(p[i][labels[i]]) / 20;
        }
        Close.within(TemperatureScaling.negativeLogLikelihood(logits, labels, 1.7), expected, 1e-12, "likelihood");
    }

    @Test
    void temperaturesHaveLimits() {
        double[][] sure = {{4, 0}, {0, 3}};
        Close.within(TemperatureScaling.fit(sure, new int[] {0, 1}), .01, 1e-12, "always right");
        Close.within(TemperatureScaling.fit(sure, new int[] {1, 0}), 100, 1e-9, "always wrong");
        assertThrows(
                IllegalArgumentException.class,
                () -> TemperatureScaling.fit(new double[][] {{Double.POSITIVE_INFINITY, 0}}, new int[] {0}));
        assertThrows(IllegalArgumentException.class, () -> head(sure).probabilities(0));
        assertThrows(IllegalArgumentException.class, () -> TemperatureScaling.fit(sure, new int[] {0}));
    }
}
