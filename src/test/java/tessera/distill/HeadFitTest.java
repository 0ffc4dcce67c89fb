package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.HeadFit;

class HeadFitTest {
    private static final int CLASSES = 3;
    private static final int[] LABELS =
            IntStream.range(0, 24).map(i -> i % CLASSES).toArray();
    private static final int[] NOISE = IntStream.range(0, 6).toArray();
    private static final int[] SIGNAL = IntStream.range(6, 12).toArray();

    /** Six columns of noise, then six of which one for each class is larger by 3. */
    private static double[][] rows(long seed) {
        Random random = new Random(seed);
        double[][] rows = new double[LABELS.length][12];
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < 12; j++) {
                rows[i][j] = random.nextGaussian() + (j == 6 + LABELS[i] ? 3 : 0);
            }
        }
        return rows;
    }

    private static double[][][] views(double[][]... passes) {
        return passes;
    }

    @Test
    void whatTellsClassesApartIsLearned() {
        HeadFit.Fit fitted = new HeadFit(List.of(NOISE, SIGNAL), 1, 1).fit(views(rows(1)), LABELS, CLASSES, null);
        assertTrue(fitted.heldOut() > .8, "held out and recognised: " + fitted.heldOut());
        double[][] others = rows(2);
        int right = 0;
        for (int i = 0; i < others.length; i++) {
            double[] said = fitted.classifier().probabilities(others[i]);
            right += said[LABELS[i]] == Arrays.stream(said).max().orElseThrow() ? 1 : 0;
        }
        assertTrue(right > 18, right + " of 24 others recognised");
    }

    /** A pool of one says what that one says; the logarithm of a pool is the weighted sum of those of its heads. */
    @Test
    void aPoolIsTheWeightedSumOfLogarithms() {
        double[][][] examples = views(Arrays.copyOf(rows(1), CLASSES)); // one each, so that all have the first C
        int[] labels = {0, 1, 2};
        HeadFit.Fit noise = new HeadFit(List.of(NOISE), 1).fit(examples, labels, CLASSES, null);
        HeadFit.Fit signal = new HeadFit(List.of(SIGNAL), 1).fit(examples, labels, CLASSES, null);
        HeadFit.Fit both = new HeadFit(List.of(NOISE, SIGNAL), .6, .2).fit(examples, labels, CLASSES, null);
        assertArrayEquals(new double[6], Arrays.copyOf(signal.classifier().coefficients()[0], 6));
        double[] row = rows(2)[5];
        double[] one = noise.classifier().probabilities(row);
        double[] two = signal.classifier().probabilities(row);
        double[] expected = new double[CLASSES];
        Arrays.setAll(expected, k -> Math.pow(one[k], .75) * Math.pow(two[k], .25));
        double sum = Arrays.stream(expected).sum();
        Arrays.setAll(expected, k -> expected[k] / sum);
        Close.relative(both.classifier().probabilities(row), expected, 1e-9, "pool");
    }

    @Test
    void theFitIsTheSameEveryTime() {
        HeadFit fit = new HeadFit(List.of(NOISE, SIGNAL), .6, .2);
        HeadFit.Fit one = fit.fit(views(rows(1), rows(4)), LABELS, CLASSES, null);
        HeadFit.Fit two = fit.fit(views(rows(1), rows(4)), LABELS, CLASSES, null);
        assertEquals(one.c(), two.c());
        assertArrayEquals(one.classifier().intercepts(), two.classifier().intercepts());
        assertArrayEquals(one.classifier().coefficients(), two.classifier().coefficients());
    }

    /** Units and origins of a model's features mean nothing. */
    @Test
    void unitsDoNotMatter() {
        double[][] given = rows(1);
        double[][] other = Arrays.stream(given)
                .map(row -> Arrays.stream(row).map(x -> 1e-4 * x + 7).toArray())
                .toArray(double[][]::new);
        HeadFit.Fit one = HeadFit.of(12).fit(views(given), LABELS, CLASSES, null);
        HeadFit.Fit two = HeadFit.of(12).fit(views(other), LABELS, CLASSES, null);
        assertEquals(one.c(), two.c());
        for (int i = 0; i < given.length; i++) {
            Close.relative(
                    two.classifier().probabilities(other[i]),
                    one.classifier().probabilities(given[i]),
                    1e-3,
                    "example " + i);
        }
    }

    /** A feature that tells groups apart, each of which has one class, is worth nothing on another group. */
    @Test
    void groupsAreHeldOutTogether() {
        int[] groups = IntStream.range(0, 24).map(i -> i % 6).toArray(); // two groups a class, of four examples each
        double[][] rows = rows(1);
        Random random = new Random(7);
        for (int i = 0; i < rows.length; i++) {
            for (int j = 0; j < 6; j++) {
                rows[i][j] = .3 * random.nextGaussian() + (j == groups[i] ? 5 : 0);
            }
        }
        HeadFit fit = new HeadFit(List.of(NOISE, SIGNAL), .6, .2);
        double mixed = fit.fit(views(rows), LABELS, CLASSES, null).heldOut();
        double apart = fit.fit(views(rows), LABELS, CLASSES, groups).heldOut();
        assertTrue(mixed > .95, "examples of a group on both sides: " + mixed);
        assertTrue(apart < mixed, "groups apart: " + apart);
    }

    @Test
    void withOneExampleEachNothingIsChosen() {
        HeadFit.Fit fitted = new HeadFit(List.of(NOISE, SIGNAL), .6, .2)
                .fit(views(Arrays.copyOf(rows(1), CLASSES)), new int[] {0, 1, 2}, CLASSES, null);
        assertEquals(1, fitted.c());
        assertTrue(Double.isNaN(fitted.heldOut()));
    }

    /** The answer about one query depends on no other. */
    @Test
    void queriesChooseNothing() {
        double[][] clips = rows(1);
        Episode episode = new Episode(
                new int[] {0, 1, 2},
                IntStream.range(0, 15).toArray(),
                Arrays.copyOf(LABELS, 15),
                IntStream.range(15, 24).toArray(),
                Arrays.copyOfRange(LABELS, 15, 24));
        HeadFit fit = new HeadFit(List.of(NOISE, SIGNAL), .6, .2);
        double[] before =
                new FewShotEvaluation(views(clips), fit, null).evaluate(episode).probabilities()[0];
        double[][] other = rows(1);
        for (int i = 16; i < 24; i++) {
            Arrays.setAll(other[i], j -> 100.0 * j);
        }
        assertArrayEquals(
                before,
                new FewShotEvaluation(views(other), fit, null).evaluate(episode).probabilities()[0]);
    }

    @Test
    void whatCannotBeFittedIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> new HeadFit(List.of()));
        assertThrows(IllegalArgumentException.class, () -> new HeadFit(List.of(NOISE, new int[0]), 1, 1));
        assertThrows(IllegalArgumentException.class, () -> new HeadFit(List.of(NOISE, SIGNAL), 1));
        assertThrows(IllegalArgumentException.class, () -> new HeadFit(List.of(NOISE, SIGNAL), 1, 0));
        double[][] rows = rows(1);
        rows[3][8] = Double.NaN;
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class, () -> HeadFit.of(12).fit(views(rows), LABELS, CLASSES, null))
                .getMessage());
        assertTrue(message.contains("must be finite"), message);
    }
}
