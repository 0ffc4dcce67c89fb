package tessera.distill;

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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.Golden;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeResult;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.fewshot.PublishedNorms;

/** The head's half of the published protocol: fitted on one mask of the support clips, queries answered by the mean over two. */
class PublishedProtocolTest {
    private static final Golden GOLDEN = Golden.open("fewshot-logistic");

    /** An episode of the golden file: support clips first, then the queries. */
    private static Episode episode(String name) {
        int[] support = GOLDEN.ints(name + ".support_labels");
        int[] queries = GOLDEN.ints(name + ".query_labels");
        int ways = (int) GOLDEN.shape(name + ".coef")[0];
        return new Episode(
                IntStream.range(0, ways).toArray(),
                IntStream.range(0, support.length).toArray(),
                support,
                IntStream.range(support.length, support.length + queries.length).toArray(),
                queries);
    }

    /** The clips' features in two passes; those of support clips in the second are noise, for nobody may look at them. */
    private static double[][][] passes(String name) {
        double[][] support = GOLDEN.rows(name + ".support");
        double[][] noise = new double[support.length][support[0].length];
        Random random = new Random(1);
        for (double[] row : noise) {
            Arrays.setAll(row, j -> 5 * random.nextGaussian());
        }
        return new double[][][] {
            joined(support, GOLDEN.rows(name + ".query_mask1")), joined(noise, GOLDEN.rows(name + ".query_mask2"))
        };
    }

    private static double[][] joined(double[][] first, double[][] second) {
        double[][] all = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, all, first.length, second.length);
        return all;
    }

    /** From the coefficients of scikit-learn in the file, by plain loops. */
    private static double[][] reference(String name) {
        double[][] coefficients = GOLDEN.rows(name + ".coef");
        double[] intercepts = GOLDEN.doubles(name + ".intercept");
        double[][] sums = new double[GOLDEN.ints(name + ".query_labels").length][coefficients.length];
        for (String mask : List.of(".query_mask1", ".query_mask2")) {
            double[][] queries = GOLDEN.rows(name + mask);
            for (int q = 0; q < queries.length; q++) {
                double[] scores = new double[coefficients.length];
                double total = 0;
                for (int k = 0; k < scores.length; k++) {
                    double score = intercepts[k];
                    for (int j = 0; j < queries[q].length; j++) {
                        score += coefficients[k][j] * queries[q][j];
                    }
                    scores[k] = Math.exp(score);
                    total += scores[k];
                }
                for (int k = 0; k < scores.length; k++) {
                    sums[q][k] += scores[k] / total / 2;
                }
            }
        }
        return sums;
    }

    private static double accuracy(double[][] probabilities, int[] labels) {
        int right = 0;
        for (int q = 0; q < labels.length; q++) {
            int best = 0;
            for (int k = 1; k < probabilities[q].length; k++) {
                best = probabilities[q][k] > probabilities[q][best] ? k : best;
            }
            right += best == labels[q] ? 1 : 0;
        }
        return right / (double) labels.length;
    }

    @ParameterizedTest
    @ValueSource(strings = {"case0", "case1", "case2"})
    void oneSupportMaskAndTwoQueryMasksAgreeWithTheReference(String name) {
        double[][] expected = reference(name);
        int[] labels = GOLDEN.ints(name + ".query_labels");
        EpisodeResult result = new FewShotEvaluation(passes(name), new LogisticRegression(1, 1e-9, 1000))
                .withSupportViews(1)
                .evaluate(episode(name));
        for (int q = 0; q < expected.length; q++) {
            for (int k = 0; k < expected[q].length; k++) {
                Close.within(result.probabilities()[q][k], expected[q][k], 1e-5, "query " + q + ", class " + k);
            }
        }
        Close.within(result.accuracy(), accuracy(expected, labels), 1e-12, "accuracy");
        Close.within(accuracy(expected, labels), GOLDEN.doubles(name + ".accuracy")[0], 1e-12, "the file's accuracy");
    }

    @Test
    void allViewsAreTheStandardAndTooManyAreRefused() {
        FewShotEvaluation all = new FewShotEvaluation(passes("case0"), new LogisticRegression());
        Episode episode = episode("case0");
        double[][] two = all.evaluate(episode).probabilities();
        assertArrayEquals(two, all.withSupportViews(2).evaluate(episode).probabilities());
        assertFalse(
                Arrays.deepEquals(two, all.withSupportViews(1).evaluate(episode).probabilities()));
        refused(
                () -> all.withSupportViews(3).evaluate(episode),
                "fitted on 3 passes of the support clips but there are 2");
        refused(() -> all.withSupportViews(0), "fitted on 0 passes of the support clips; pass 1 or more");
    }

    /** A source is told which episode it is asked for. */
    @Test
    void featuresMayBeMadeForEachEpisode() {
        double[][][] passes = passes("case2");
        Episode episode = episode("case2");
        int[] asked = new int[3];
        FewShotEvaluation.Source source = (number, wanted) -> {
            synchronized (asked) {
                asked[number]++;
            }
            return new FewShotEvaluation.Views(
                    new double[][][] {Arrays.copyOf(passes[0], wanted.support().length)}, new double[][][] {
                        Arrays.copyOfRange(passes[0], wanted.support().length, passes[0].length),
                        Arrays.copyOfRange(passes[1], wanted.support().length, passes[1].length)
                    });
        };
        List<EpisodeResult> results = new FewShotEvaluation(source, new LogisticRegression())
                .evaluate(List.of(episode, episode, episode), done -> {})
                .episodes();
        assertArrayEquals(new int[] {1, 1, 1}, asked);
        double[][] kept = new FewShotEvaluation(passes, new LogisticRegression())
                .withSupportViews(1)
                .evaluate(episode)
                .probabilities();
        assertEquals(3, results.size());
        results.forEach(result -> assertArrayEquals(kept, result.probabilities()));
    }

    @Test
    void normsThatCannotBeAreRefused() {
        refused(() -> new PublishedNorms(false, 0.0), "norms: 0.0 cannot be added to variances; pass a small positive");
        refused(() -> new PublishedNorms(false, Double.NaN), "norms: NaN");
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
