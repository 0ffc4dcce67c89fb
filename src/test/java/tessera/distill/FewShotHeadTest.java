package tessera.distill;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.distill.fewshot.CosineHead;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.fewshot.NearestMean;

/** Heads that papers compare with, against what they are made of. */
class FewShotHeadTest {
    private static final int CLASSES = 4;
    private static final int WIDTH = 7;
    private static final int[] LABELS =
            IntStream.range(0, 12).map(i -> i % CLASSES).toArray();

    private static double[][] rows(long seed, int count, double factor) {
        Random random = new Random(seed);
        double[][] rows = new double[count][WIDTH];
        for (int i = 0; i < count; i++) {
            for (int j = 0; j < WIDTH; j++) {
                rows[i][j] = factor * (5 + random.nextGaussian() + (j == i % CLASSES ? 2 : 0));
            }
        }
        return rows;
    }

    private static double[][][] views(double[][]... passes) {
        return passes;
    }

    private static double[] ask(FewShotHead head, double[][][] views, double[] query) {
        return head.learn(views, LABELS, CLASSES, null).classifier().probabilities(query);
    }

    /** By the formula, of distances. */
    @Test
    void prototypesAreAskedForTheirDistances() {
        double[][] one = rows(1, 12, 1);
        double[][] two = rows(2, 12, 1);
        double[][] means = new double[CLASSES][WIDTH];
        double[] middle = new double[WIDTH];
        for (int i = 0; i < 12; i++) {
            for (int j = 0; j < WIDTH; j++) {
                means[LABELS[i]][j] += (one[i][j] + two[i][j]) / 6;
                middle[j] += (one[i][j] + two[i][j]) / 24;
            }
        }
        double spread = 0;
        for (double[] mean : means) {
            spread += distance(mean, middle) / CLASSES;
        }
        double[] query = rows(3, 1, 1)[0];
        double[] expected = new double[CLASSES];
        double sum = 0;
        for (int k = 0; k < CLASSES; k++) {
            expected[k] = Math.exp(-distance(query, means[k]) / spread);
            sum += expected[k];
        }
        double[] told = ask(new NearestMean(), views(one, two), query);
        for (int k = 0; k < CLASSES; k++) {
            Close.within(told[k], expected[k] / sum, 1e-9, "class " + k);
        }
    }

    private static double distance(double[] a, double[] b) {
        return IntStream.range(0, a.length)
                .mapToDouble(j -> (a[j] - b[j]) * (a[j] - b[j]))
                .sum();
    }

    @Test
    void prototypesDoNotDependOnTheScaleOfFeatures() {
        double[] small = ask(new NearestMean(), views(rows(1, 12, 1)), rows(3, 1, 1)[0]);
        double[] large = ask(new NearestMean(), views(rows(1, 12, 100)), rows(3, 1, 100)[0]);
        double[] equal = ask(new NearestMean(), views(new double[12][WIDTH]), rows(3, 1, 1)[0]);
        for (int k = 0; k < CLASSES; k++) {
            Close.within(large[k], small[k], 1e-9, "class " + k);
            Close.within(equal[k], 1.0 / CLASSES, 1e-12, "means that are all the same");
        }
    }

    /** Two classes with one example each, e1 and e2: the directions are those of e1 - e2 and e2 - e1. */
    @Test
    void cosinesReachTheMinimumThatIsKnown() {
        double[][] examples = {{3, 0}, {0, .1}};
        var classifier = new CosineHead(2)
                .learn(views(examples), new int[] {0, 1}, 2, null)
                .classifier();
        double expected = 1 / (1 + Math.exp(-2 * Math.sqrt(2)));
        Close.within(classifier.probabilities(new double[] {7, 0})[0], expected, 1e-5, "e1");
        Close.within(classifier.probabilities(new double[] {0, 7})[1], expected, 1e-5, "e2");
        Close.within(classifier.probabilities(new double[] {4, 4})[1], .5, 1e-5, "between both");
    }

    @Test
    void cosinesLookAtDirectionsAlone() {
        double[][] examples = rows(1, 12, 1);
        double[][] longer = Arrays.stream(examples)
                .map(row -> Arrays.stream(row).map(x -> x * row[0] * 1e-200).toArray())
                .toArray(double[][]::new);
        double[] query = rows(3, 1, 1)[0];
        double[] one = ask(new CosineHead(), views(examples), query);
        double[] other = ask(
                new CosineHead(),
                views(longer),
                Arrays.stream(query).map(x -> 1e200 * x).toArray());
        for (int k = 0; k < CLASSES; k++) {
            Close.within(other[k], one[k], 1e-4, "class " + k);
        }
        double[] nothing = ask(new CosineHead(), views(examples), new double[WIDTH]);
        Close.within(nothing[2], 1.0 / CLASSES, 1e-12, "a row without a direction");
    }

    /** The mean cross-entropy of the examples is that to which small steps downhill lead. */
    @Test
    void cosinesAreFittedToAMinimum() {
        double[][] examples = rows(1, 12, 1);
        FewShotHead.Learned learned = new CosineHead(10).learn(views(examples), LABELS, CLASSES, null);
        double reached = 0;
        for (int i = 0; i < 12; i++) {
            reached -= Math.log(learned.classifier().probabilities(examples[i])[LABELS[i]]) / 12;
        }
        double[] directions = new double[CLASSES * WIDTH];
        for (int i = 0; i < 12; i++) {
            for (int j = 0; j < WIDTH; j++) {
                directions[LABELS[i] * WIDTH + j] += examples[i][j] / 60;
            }
        }
        for (int step = 0; step < 2000; step++) {
            double[] before = directions.clone();
            for (int j = 0; j < directions.length; j++) {
                double[] more = before.clone();
                double[] less = before.clone();
                more[j] += 1e-5;
                less[j] -= 1e-5;
                directions[j] -= .3 * (loss(examples, more) - loss(examples, less)) / 2e-5;
            }
        }
        Close.within(reached, loss(examples, directions), 1e-3, "mean cross-entropy");
    }

    private static double loss(double[][] examples, double[] directions) {
        double loss = 0;
        for (int i = 0; i < 12; i++) {
            double sum = 0;
            double own = 0;
            for (int k = 0; k < CLASSES; k++) {
                double[] direction = Arrays.copyOfRange(directions, k * WIDTH, (k + 1) * WIDTH);
                double score = 10
                        * dot(direction, examples[i])
                        / Math.sqrt(dot(direction, direction) * dot(examples[i], examples[i]));
                sum += Math.exp(score);
                own = k == LABELS[i] ? score : own;
            }
            loss += (Math.log(sum) - own) / 12;
        }
        return loss;
    }

    private static double dot(double[] a, double[] b) {
        return IntStream.range(0, a.length).mapToDouble(j -> a[j] * b[j]).sum();
    }

    @ParameterizedTest
    @ValueSource(strings = {"logistic", "prototype", "cosine"})
    void everyHeadTellsWhatItIsToldAndHoldsExamplesOut(String word) {
        FewShotHead head = FewShotHead.of(word);
        double[][] rows = rows(1, 12, 1);
        FewShotHead.Learned learned = head.learn(views(rows, rows(2, 12, 1)), LABELS, CLASSES, null);
        double[][][] heldOut = learned.heldOut().get();
        assertEquals(2, heldOut.length);
        int right = 0;
        for (int i = 0; i < 12; i++) {
            double[] told = learned.classifier().probabilities(rows[i]);
            Close.within(Arrays.stream(told).sum(), 1, 1e-9, "sum");
            int label = LABELS[i];
            right += Arrays.stream(told).allMatch(p -> p <= told[label]) ? 1 : 0;
            Close.within(Arrays.stream(heldOut[1][i]).sum(), 1, 1e-9, "held out");
        }
        assertTrue(right >= 11, right + " of 12 examples");
        int few = head.learn(views(Arrays.copyOf(rows, CLASSES)), Arrays.copyOf(LABELS, CLASSES), CLASSES, null)
                .heldOut()
                .get()
                .length;
        assertEquals(0, few, "nothing can be held out of one example a class");
        refused(() -> head.learn(views(rows), new int[] {0, 1}, CLASSES, null), "12 feature rows but 2 labels");
        refused(
                () -> head.learn(views(rows), new int[12], CLASSES, null),
                "class 1 has no example among 12; give every class at least one");
        rows[3][2] = Double.NaN;
        refused(() -> head.learn(views(rows), LABELS, CLASSES, null), "feature 2 of example 3 is NaN");
    }

    @Test
    void whatIsNoHeadIsRefused() {
        refused(() -> FewShotHead.of("finetune"), "no head 'finetune'; pass one of logistic, prototype, cosine");
        assertEquals(new LogisticRegression(), FewShotHead.of("logistic"));
        refused(() -> new CosineHead(0), "scaled by 0.0; pass a positive number such as 2.0");
        refused(() -> new NearestMean().learn(views(), LABELS, CLASSES, null), "no view of the examples given");
    }

    private static void refused(Executable call, String expected) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call).getMessage());
        assertTrue(message.contains(expected), message);
    }
}
