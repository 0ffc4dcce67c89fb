package tessera.distill.fewshot;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;

class AttentiveFitTest {
    private static final int CLASSES = 3;
    private static final int WIDTH = 8;
    private static final int TOKENS = 12;
    private static final int[] LABELS =
            IntStream.range(0, 30).map(i -> i % CLASSES).toArray();
    private static final AttentiveFit FIT = new AttentiveFit(WIDTH);

    /**
     * Clips of which every token shows some class in columns 0 to 2, and one alone, anywhere, the clip's own: it has 4 in column 3, where
     * others have about 0.
     */
    private static double[][] marked(long seed) {
        Random random = new Random(seed);
        double[][] rows = new double[LABELS.length][TOKENS * WIDTH];
        for (int i = 0; i < rows.length; i++) {
            int chosen = random.nextInt(TOKENS);
            for (int t = 0; t < TOKENS; t++) {
                for (int j = 0; j < WIDTH; j++) {
                    rows[i][t * WIDTH + j] = .3 * random.nextGaussian();
                }
                rows[i][t * WIDTH + (t == chosen ? LABELS[i] : random.nextInt(CLASSES))] += 2;
                rows[i][t * WIDTH + 3] += t == chosen ? 4 : 0;
            }
        }
        return rows;
    }

    /** Clips whose tokens all show their class. */
    private static double[][] alike(long seed) {
        Random random = new Random(seed);
        double[][] rows = new double[LABELS.length][TOKENS * WIDTH];
        for (int i = 0; i < rows.length; i++) {
            for (int at = 0; at < rows[i].length; at++) {
                rows[i][at] = random.nextGaussian() + (at % WIDTH == LABELS[i] ? 2 : 0);
            }
        }
        return rows;
    }

    private static double[][][] views(double[][]... passes) {
        return passes;
    }

    private static double[] mean(double[] row) {
        double[] mean = new double[WIDTH];
        for (int at = 0; at < row.length; at++) {
            mean[at % WIDTH] += row[at] / (row.length / (double) WIDTH);
        }
        return mean;
    }

    private static double[][] means(double[][] rows) {
        return Arrays.stream(rows).map(AttentiveFitTest::mean).toArray(double[][]::new);
    }

    private static int right(FewShotClassifier classifier, double[][] rows) {
        int right = 0;
        for (int i = 0; i < rows.length; i++) {
            double[] said = classifier.probabilities(rows[i]);
            right += said[LABELS[i]] == Arrays.stream(said).max().orElseThrow() ? 1 : 0;
        }
        return right;
    }

    @Test
    void oneTokenAmongManyIsFound() {
        AttentiveFit.Fit fitted = FIT.fit(views(marked(1)), LABELS, CLASSES, null);
        int attentive = right(fitted.classifier(), marked(2));
        int plain = right(
                HeadFit.of(WIDTH)
                        .fit(views(means(marked(1))), LABELS, CLASSES, null)
                        .classifier(),
                means(marked(2)));
        assertTrue(fitted.heldOut() > .9, "held out and recognised: " + fitted.heldOut());
        assertTrue(attentive >= 28, attentive + " of 30 others by attention");
        assertTrue(plain <= 21, plain + " of 30 others by the plain mean");
        double[] query = fitted.classifier().query();
        assertEquals(
                3,
                IntStream.range(0, WIDTH)
                        .reduce((a, b) -> query[a] > query[b] ? a : b)
                        .orElseThrow(),
                "the column that marks it: " + Arrays.toString(query));
    }

    /** Where the plain mean is as good, it stays: to the last bit what a head on the means gives. */
    @Test
    void whereNothingIsGainedTheMeanStays() {
        AttentiveFit.Fit fitted = FIT.fit(views(alike(1)), LABELS, CLASSES, null);
        assertArrayEquals(new double[WIDTH], fitted.classifier().query());
        assertEquals(Double.POSITIVE_INFINITY, fitted.penalty());
        double[][] others = alike(2);
        HeadFit.Fit plain = HeadFit.of(WIDTH).fit(views(means(alike(1))), LABELS, CLASSES, null);
        assertEquals(plain.c(), fitted.c());
        for (double[] row : others) {
            Close.relative(
                    fitted.classifier().probabilities(row),
                    plain.classifier().probabilities(mean(row)),
                    1e-9,
                    "a query of 0");
        }
        Close.relative(
                Arrays.stream(FIT.heldOut(fitted, views(alike(1)), LABELS, CLASSES, null)[0])
                        .flatMapToDouble(Arrays::stream)
                        .toArray(),
                Arrays.stream(HeadFit.of(WIDTH).heldOut(plain, views(means(alike(1))), LABELS, CLASSES, null)[0])
                        .flatMapToDouble(Arrays::stream)
                        .toArray(),
                1e-9,
                "held out");
    }

    @Test
    void theGradientIsThatOfTheLoss() {
        Random random = new Random(5);
        double[] mean = random.doubles(WIDTH, -1, 1).toArray();
        double[] scale = random.doubles(WIDTH, .5, 2).toArray();
        double[] spread = random.doubles(WIDTH, .5, 2).toArray();
        double[][] rows = Arrays.copyOf(marked(1), 5);
        rows[2] = Arrays.copyOf(rows[2], 3 * WIDTH); // of fewer tokens
        AttentiveLoss loss =
                new AttentiveLoss(rows, Arrays.copyOf(LABELS, 5), CLASSES, mean, scale, spread, 3, /* penalty= */ .7);
        double[] x = random.doubles(loss.size(), -1, 1).toArray();
        double[] gradient = new double[x.length];
        loss.evaluate(x, gradient);
        double[] numeric = new double[x.length];
        double step = 1e-5;
        for (int j = 0; j < x.length; j++) {
            double[] moved = x.clone();
            moved[j] = x[j] + step;
            double up = loss.evaluate(moved, new double[x.length]);
            moved[j] = x[j] - step;
            numeric[j] = (up - loss.evaluate(moved, new double[x.length])) / (2 * step);
        }
        Close.relative(gradient, numeric, 1e-8, "gradient of head and query");
        int query = CLASSES * (WIDTH + 1);
        Close.relative(
                Arrays.copyOfRange(gradient, query, x.length),
                Arrays.copyOfRange(numeric, query, x.length),
                1e-7,
                "gradient of the query");
    }

    @Test
    void theFitIsTheSameEveryTime() {
        AttentiveFit.Fit one = FIT.fit(views(marked(1), marked(3)), LABELS, CLASSES, null);
        AttentiveFit.Fit two = FIT.fit(views(marked(1), marked(3)), LABELS, CLASSES, null);
        assertTrue(one.penalty() < 2, "a query is fitted: " + one.penalty());
        assertEquals(one.penalty(), two.penalty());
        assertArrayEquals(one.classifier().query(), two.classifier().query());
        assertArrayEquals(
                one.classifier().linear().coefficients(),
                two.classifier().linear().coefficients());
        assertArrayEquals(
                one.classifier().linear().intercepts(),
                two.classifier().linear().intercepts());
    }

    /** Examples of a group are never learned from while others of it are held out; their queries would know the group. */
    @Test
    void groupsAreHeldOutTogether() {
        int[] groups = IntStream.range(0, 30).map(i -> i % 6).toArray(); // two a class
        double[][] rows = marked(1);
        for (int i = 0; i < rows.length; i++) {
            for (int t = 0; t < TOKENS; t++) {
                rows[i][t * WIDTH + 4] += groups[i] == 0 ? 3 : 0;
                rows[i][t * WIDTH + 5] += groups[i] == 1 ? 3 : 0;
                rows[i][t * WIDTH + 6] += groups[i] == 2 ? 3 : 0;
            }
        }
        double mixed = FIT.fit(views(rows), LABELS, CLASSES, null).heldOut();
        double apart = FIT.fit(views(rows), LABELS, CLASSES, groups).heldOut();
        assertFalse(mixed == apart, "groups count: " + mixed);
    }

    @Test
    void withOneExampleEachItIsTheMean() {
        AttentiveFit.Fit fitted = FIT.fit(views(Arrays.copyOf(marked(1), CLASSES)), new int[] {0, 1, 2}, CLASSES, null);
        assertArrayEquals(new double[WIDTH], fitted.classifier().query());
        assertTrue(Double.isNaN(fitted.heldOut()));
        assertEquals(
                0,
                FIT.heldOut(fitted, views(Arrays.copyOf(marked(1), CLASSES)), new int[] {0, 1, 2}, CLASSES, null)
                        .length);
    }

    private static void refused(Runnable call, String part) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call::run).getMessage());
        assertTrue(message.contains(part), message);
    }

    @Test
    void whatIsNoTokensIsRefused() {
        refused(() -> new AttentiveFit(0), "tokens of 0 values");
        double[][][] uneven = views(new double[][] {new double[WIDTH], new double[WIDTH + 1]});
        refused(() -> FIT.fit(uneven, new int[] {0, 1}, 2, null), "has 9 values, which are no tokens of 8");
        double[][] infinite = marked(1);
        infinite[3][5] = Double.NaN;
        refused(() -> FIT.fit(views(infinite), LABELS, CLASSES, null), "is NaN");
        LinearClassifier linear = new LinearClassifier(new double[2][1], new double[2]);
        refused(() -> new AttentiveClassifier(new double[0], linear), "the query is empty");
        refused(() -> new AttentiveClassifier(new double[] {Double.NaN}, linear), "the query is NaN");
        refused(() -> new AttentiveClassifier(new double[1], linear).probabilities(new double[0]), "has 0 values");
    }
}
