package tessera.distill.evaluation;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.Golden;
import tessera.distill.fewshot.LinearClassifier;

class ClassificationTest {
    @Test
    void calibrationErrorAgreesWithTheReference() {
        Golden golden = Golden.open("losses-schedules");
        double[][] rows = golden.rows("ece.logits");
        double[][] identity = new double[7][7];
        for (int k = 0; k < 7; k++) {
            identity[k][k] = 1;
        }
        var softmax = new LinearClassifier(identity, new double[7]);
        for (int i = 0; i < rows.length; i++) {
            rows[i] = softmax.probabilities(rows[i]);
        }
        double ece = 100 * Classification.expectedCalibrationError(rows, golden.ints("ece.labels"), 15);
        Close.within(ece, 100 * golden.doubles("ece.value")[0], 1e-4, "calibration error");
    }

    @Test
    void aConfidenceOnABinsUpperEdgeBelongsToThatBin() {
        // With two bins .5 is in (0, .5] and .75 in (.5, 1]: gaps of 1 * .5 and 1 * .25 on halves of the samples.
        double[][] p = {{0.5, 0.5}, {0.75, 0.25}};
        Close.within(100 * Classification.expectedCalibrationError(p, new int[] {0, 0}, 2), 37.5, 1e-12, "two bins");
        // In one bin the mean accuracy is 1 / 2 and the mean confidence .625.
        Close.within(100 * Classification.expectedCalibrationError(p, new int[] {0, 1}, 1), 12.5, 1e-12, "one bin");
    }

    @Test
    void perfectConfidenceHasNoError() {
        double[][] p = {{1, 0}, {0, 1}};
        Close.within(100 * Classification.expectedCalibrationError(p, new int[] {0, 1}, 15), 0, 0, "all right");
        Close.within(100 * Classification.expectedCalibrationError(p, new int[] {1, 0}, 15), 100, 0, "all wrong");
    }

    @Test
    void topKCountsLabelsAmongTheHighestScores() {
        double[][] scores = {{3, 2, 1}, {3, 2, 1}, {3, 2, 1}, {0, 0, 0}};
        int[] labels = {0, 1, 2, 1};
        assertEquals(0.25, Classification.topK(scores, labels, 1));
        assertEquals(0.75, Classification.topK(scores, labels, 2));
        assertEquals(1.0, Classification.topK(scores, labels, 3));
    }

    @Test
    void badInputIsRefused() {
        double[][] p = {{0.5, 0.5}};
        int[] label = {0};
        assertThrows(IllegalArgumentException.class, () -> Classification.topK(p, label, 3));
        assertThrows(IllegalArgumentException.class, () -> Classification.topK(p, new int[] {2}, 1));
        assertThrows(IllegalArgumentException.class, () -> Classification.expectedCalibrationError(p, label, 0));
        var nan = assertThrows(
                IllegalArgumentException.class, () -> Classification.topK(new double[][] {{Double.NaN, 1}}, label, 1));
        assertTrue(requireNonNull(nan.getMessage()).contains("NaN"), nan.getMessage());
        var logits = assertThrows(
                IllegalArgumentException.class,
                () -> Classification.expectedCalibrationError(new double[][] {{4, -1}}, label, 15));
        assertTrue(requireNonNull(logits.getMessage()).contains("not logits"), logits.getMessage());
    }
}
