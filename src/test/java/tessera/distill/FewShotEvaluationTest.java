package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;

class FewShotEvaluationTest {
    private static final int[] LABELS =
            IntStream.range(0, 8 * 24).map(i -> i % 8).toArray();

    /** Class means plus noise; {@code spread} is the distance of the means in units of the noise. */
    private static double[][] features(double spread, int dimensions, long seed) {
        Random means = new Random(0);
        double[][] centre = new double[8][dimensions];
        for (double[] c : centre) {
            for (int j = 0; j < dimensions; j++) {
                c[j] = spread * means.nextGaussian();
            }
        }
        Random noise = new Random(seed);
        double[][] x = new double[LABELS.length][dimensions];
        for (int i = 0; i < x.length; i++) {
            for (int j = 0; j < dimensions; j++) {
                x[i][j] = centre[LABELS[i]][j] + noise.nextGaussian();
            }
        }
        return x;
    }

    @Test
    void equalPassesGiveWhatOnePassGives() {
        double[][] x = features(0.2, 32, 1);
        List<Episode> episodes = new EpisodeSampler(LABELS, 5, 5, 15, 2).draw(20);
        var one = new FewShotEvaluation(new double[][][] {x}, new LogisticRegression()).evaluate(episodes, n -> {});
        var two = new FewShotEvaluation(new double[][][] {x, x}, new LogisticRegression()).evaluate(episodes, n -> {});
        Close.within(two.accuracy().mean(), one.accuracy().mean(), 2e-3, "accuracy of two equal passes");
        assertTrue(
                one.accuracy().mean() > 0.3 && one.accuracy().mean() < 0.95,
                one.accuracy().toString());
    }

    @Test
    void independentPassesHelp() {
        List<Episode> episodes = new EpisodeSampler(LABELS, 5, 5, 15, 2).draw(60);
        double[][] a = features(0.2, 32, 1);
        var one = new FewShotEvaluation(new double[][][] {a}, new LogisticRegression()).evaluate(episodes, n -> {});
        var four = new FewShotEvaluation(
                        new double[][][] {a, features(0.2, 32, 2), features(0.2, 32, 3), features(0.2, 32, 4)},
                        new LogisticRegression())
                .evaluate(episodes, n -> {});
        assertTrue(four.accuracy().mean() > one.accuracy().mean() + 0.05, one.accuracy() + " -> " + four.accuracy());
    }

    @Test
    void supportComesFromEveryPass() {
        double[][] a = features(0.3, 16, 1);
        double[][] other = features(0.3, 16, 2);
        Episode episode = new EpisodeSampler(LABELS, 5, 1, 15, 4).next();
        double[][] changed = other.clone();
        for (int clip : episode.support()) {
            changed[clip] = new double[16];
        }
        var whole = new FewShotEvaluation(new double[][][] {a, other}, new LogisticRegression()).evaluate(episode);
        var blank = new FewShotEvaluation(new double[][][] {a, changed}, new LogisticRegression()).evaluate(episode);
        assertTrue(!java.util.Arrays.deepEquals(whole.probabilities(), blank.probabilities()));
    }

    @Test
    void theParallelResultEqualsTheSequentialOneAndProgressCountsUp() {
        List<Episode> episodes = new EpisodeSampler(LABELS, 5, 5, 15, 6).draw(40);
        var evaluation = new FewShotEvaluation(new double[][][] {features(0.2, 24, 5)}, new LogisticRegression());
        List<Integer> counts = new ArrayList<>();
        var result = evaluation.evaluate(episodes, counts::add);
        assertEquals(IntStream.rangeClosed(1, 40).boxed().toList(), counts);
        for (int i = 0; i < episodes.size(); i++) {
            assertArrayEquals(
                    evaluation.evaluate(episodes.get(i)).probabilities(),
                    result.episodes().get(i).probabilities());
        }
        double ece = 100 * result.calibrationError();
        assertTrue(ece > 0 && ece < 50, "calibration error " + ece);
    }

    @Test
    void badFeaturesAreRefusedWithALineThatNamesThem() {
        double[][] x = features(0.2, 4, 1);
        double[][] broken = features(0.2, 4, 1);
        broken[17][2] = Double.NaN;
        var head = new LogisticRegression();
        var nan = assertThrows(
                IllegalArgumentException.class, () -> new FewShotEvaluation(new double[][][] {x, broken}, head));
        assertTrue(
                requireNonNull(nan.getMessage()).contains("feature 2 of clip 17 of pass 1 is NaN"), nan.getMessage());
        var ragged = assertThrows(
                IllegalArgumentException.class,
                () -> new FewShotEvaluation(new double[][][] {x, new double[3][4]}, head));
        assertTrue(
                requireNonNull(ragged.getMessage()).contains("pass 1 has 3 clips but pass 0 has 192"),
                ragged.getMessage());
        var evaluation = new FewShotEvaluation(new double[][][] {new double[5][4]}, head);
        Episode episode = new EpisodeSampler(LABELS, 5, 1, 15, 4).next();
        assertThrows(IllegalArgumentException.class, () -> evaluation.evaluate(List.of(episode), n -> {}));
        assertThrows(
                IllegalArgumentException.class,
                () -> evaluation.evaluate(List.of(), n -> {}).accuracy());
    }

    @Test
    void theIntervalIsTwoSidedNormalOnThePopulationDeviation() {
        Accuracy a = Accuracy.of(new double[] {0.2, 0.4, 0.6, 0.8});
        Close.within(a.mean(), 0.5, 1e-15, "mean");
        Close.within(a.std(), Math.sqrt(0.05), 1e-15, "population deviation");
        Close.within(a.interval95(), 1.96 * Math.sqrt(0.05) / 2, 1e-15, "interval");
        assertEquals(4, a.episodes());
        assertEquals("50.00 ± 21.91", a.toString());
        assertThrows(IllegalArgumentException.class, () -> Accuracy.of(new double[] {Double.NaN}));
    }
}
