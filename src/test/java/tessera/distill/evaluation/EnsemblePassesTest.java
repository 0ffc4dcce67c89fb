package tessera.distill.evaluation;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.nn.inference.Stopping;
import tessera.nn.inference.Stopping.Measure;

class EnsemblePassesTest {
    /** Three passes, four clips of two classes. */
    private static final double[][][] P = {
        {{.9, .1}, {.6, .4}, {.45, .55}, {.2, .8}},
        {{.7, .3}, {.1, .9}, {.75, .25}, {.4, .6}},
        {{.8, .2}, {.2, .8}, {.9, .1}, {.3, .7}}
    };

    private static final int[] LABELS = {0, 1, 0, 1};

    @Test
    void fixedEnsemblesAreMeansOfTheirPasses() {
        EnsemblePasses passes = EnsemblePasses.of(P, LABELS);
        assertEquals(3, passes.passes());
        assertEquals(4, passes.clips());
        assertArrayEquals(P[0], passes.fixed(1).probabilities());
        Close.relative(passes.fixed(2).probabilities()[1], new double[] {.35, .65}, 1e-12, "two passes");
        Close.relative(passes.fixed(3).probabilities()[2], new double[] {.7, .3}, 1e-12, "three passes");
        assertEquals(new Share(2, 4), passes.fixed(1).accuracy());
        assertEquals(new Share(4, 4), passes.fixed(2).accuracy());
        assertEquals(3, passes.fixed(3).meanPasses());
    }

    @Test
    void adaptiveEnsemblesStopWhereTheyAreSure() {
        EnsemblePasses passes = EnsemblePasses.of(P, LABELS);
        // Confidences: .9; .6, .65, .7; .55, .6, .7; .8 at once.
        EnsemblePasses.Outcome outcome = passes.adaptive(Stopping.at(.64));
        assertArrayEquals(new int[] {1, 2, 3, 1}, outcome.passes());
        assertEquals(1.75, outcome.meanPasses());
        assertEquals(new Share(4, 4), outcome.accuracy());
        assertArrayEquals(
                new int[] {1, 1, 1, 1}, passes.adaptive(Stopping.at(0)).passes());
        assertArrayEquals(
                new int[] {3, 3, 3, 3}, passes.adaptive(Stopping.at(1.1)).passes());
        assertArrayEquals(
                passes.fixed(3).probabilities(),
                passes.adaptive(Stopping.at(1.1)).probabilities());
        assertArrayEquals(
                passes.fixed(1).probabilities(), passes.adaptive(Stopping.at(0)).probabilities());
    }

    @Test
    void theChosenThresholdIsTheCheapestThatIsGoodEnough() {
        EnsemblePasses passes = EnsemblePasses.of(P, LABELS);
        Stopping rule = passes.choose(Measure.CONFIDENCE, 1, 0);
        // Clip 1 is wrong after one pass (.6) and right after two (.65); clip 2 wrong (.55), then right (.6).
        assertArrayEquals(new int[] {1, 2, 3, 1}, passes.adaptive(rule).passes());
        Close.within(rule.threshold(), .65, 1e-12, "threshold");
        // Half of the clips may be lost: then one pass is enough for all.
        assertArrayEquals(
                new int[] {1, 1, 1, 1},
                passes.adaptive(passes.choose(Measure.CONFIDENCE, 1, .5)).passes());
    }

    /** Every threshold that is a sureness is tried by hand. */
    @Test
    void noOtherThresholdIsCheaper() {
        Random random = new Random(4);
        int clips = 60;
        double[][][] p = new double[4][clips][3];
        int[] labels = new int[clips];
        for (int i = 0; i < clips; i++) {
            labels[i] = random.nextInt(3);
            for (double[][] pass : p) {
                double[] z = {random.nextGaussian(), random.nextGaussian(), random.nextGaussian()};
                z[labels[i]] += .8;
                pass[i] = HeadLogits.softmax(z, 1);
            }
        }
        EnsemblePasses passes = EnsemblePasses.of(p, labels);
        for (Measure measure : Measure.values()) {
            for (double temperature : new double[] {1, 1.9}) {
                for (double tolerance : new double[] {0, .02, .1}) {
                    Stopping chosen = passes.choose(measure, temperature, tolerance);
                    double least = passes.fixed(4).accuracy().hits() - tolerance * clips - 1e-9;
                    assertTrue(passes.adaptive(chosen).accuracy().hits() >= least, "good enough");
                    double cheapest = IntStream.range(0, 3)
                            .boxed()
                            .flatMap(q -> Arrays.stream(passes.fixed(q + 1).probabilities()))
                            .map(answer -> chosen.withThreshold(chosen.sureness(answer)))
                            .map(passes::adaptive)
                            .filter(outcome -> outcome.accuracy().hits() >= least)
                            .mapToDouble(EnsemblePasses.Outcome::meanPasses)
                            .min()
                            .orElse(4);
                    assertEquals(
                            Math.min(4, cheapest),
                            passes.adaptive(chosen).meanPasses(),
                            measure + " " + temperature + " " + tolerance);
                }
            }
        }
    }

    @Test
    void theTemperatureIsThatOfWhatMayBeTheLastAnswer() {
        // Always 90 % sure and right in six of eight cases, whose targets are .9: (6 x .9 + 2 x .1) / 8 = .7 = 9^(1/T)
        // / (1 + 9^(1/T)).
        double[][] sure = new double[8][];
        Arrays.fill(sure, new double[] {.9, .1});
        EnsemblePasses passes = EnsemblePasses.of(new double[][][] {sure, sure}, new int[] {0, 0, 0, 1, 0, 0, 1, 0});
        Close.within(passes.temperature(), Math.log(9) / Math.log(.7 / .3), 1e-6, "temperature");
        Close.within(
                passes.choose(Measure.CONFIDENCE, passes.temperature(), 0).sureness(new double[] {.9, .1}),
                .7,
                1e-6,
                "calibrated");
        assertEquals(1, EnsemblePasses.of(new double[][][] {sure}, new int[8]).temperature());
    }

    /** Without smoothing the temperature would be the least possible one, every answer would be sure, and one mask always enough. */
    @Test
    void whereAllClipsAreRightTheirNumberSaysHowSureOneMayBe() {
        double before = 0;
        for (int clips : new int[] {2, 8, 98}) {
            double[][] sure = new double[clips][];
            Arrays.fill(sure, new double[] {.97, .03});
            EnsemblePasses passes = EnsemblePasses.of(new double[][][] {sure, sure, sure}, new int[clips]);
            Stopping rule = new Stopping(.5, Measure.CONFIDENCE, passes.temperature());
            double confidence = rule.sureness(new double[] {.97, .03});
            Close.within(confidence, (clips + 1.0) / (clips + 2), 1e-6, clips + " clips");
            assertTrue(confidence > before, clips + " clips");
            before = confidence;
            Stopping chosen = passes.choose(Measure.CONFIDENCE, passes.temperature(), 0);
            assertFalse(chosen.isEnough(new double[] {.6, .4}), "an answer that is less sure than any that was seen");
        }
    }

    @Test
    void partsAreJoinedClipAfterClip() {
        EnsemblePasses passes = EnsemblePasses.of(P, LABELS);
        EnsemblePasses both = EnsemblePasses.joined(List.of(passes, passes));
        assertEquals(8, both.clips());
        assertArrayEquals(new int[] {0, 1, 0, 1, 0, 1, 0, 1}, both.labels());
        assertArrayEquals(
                new int[] {1, 2, 3, 1, 1, 2, 3, 1},
                both.adaptive(Stopping.at(.64)).passes());
    }

    @Test
    void whatDoesNotFitIsRefused() {
        assertThrows(IllegalArgumentException.class, () -> EnsemblePasses.of(P, new int[] {0, 1}));
        assertThrows(IllegalArgumentException.class, () -> EnsemblePasses.of(new double[0][][], LABELS));
        EnsemblePasses passes = EnsemblePasses.of(P, LABELS);
        assertThrows(IllegalArgumentException.class, () -> passes.fixed(4));
        assertThrows(IllegalArgumentException.class, () -> passes.choose(Measure.MARGIN, 1, 1.5));
    }

    @Test
    void timedClipsNeedAsManyPassesAsThoseThatWereJudged() {
        int[] plan = {4, 1, 1, 2, 1, 1, 4, 2};
        int[] quantiles = EnsembleTiming.quantiles(plan, 4);
        assertEquals(2 * IntStream.of(plan).sum() / 4, IntStream.of(quantiles).sum());
        int[] same = EnsembleTiming.quantiles(plan, 8);
        Arrays.sort(same);
        assertArrayEquals(new int[] {1, 1, 1, 1, 2, 2, 4, 4}, same);
    }
}
