package tessera.distill.evaluation;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;

class EvaluationTest {
    private static final int CLIPS = 300;

    /** Scores three times too sure: labels are drawn from a third of them. */
    private static HeadLogits scores(String head, int classes, long seed) {
        Random random = new Random(seed);
        double[][] values = new double[CLIPS][classes];
        for (double[] row : values) {
            for (int c = 0; c < classes; c++) {
                row[c] = 6 * random.nextGaussian();
            }
        }
        return new HeadLogits(
                head, IntStream.range(0, classes).mapToObj(c -> head + c).toList(), values);
    }

    private static int[] labels(HeadLogits head, long seed) {
        Random random = new Random(seed);
        double[][] p = head.probabilities(3);
        int[] labels = new int[CLIPS];
        for (int i = 0; i < CLIPS; i++) {
            double draw = random.nextDouble();
            while (labels[i] < p[i].length - 1 && draw >= p[i][labels[i]]) {
                draw -= p[i][labels[i]++];
            }
        }
        return labels;
    }

    @Test
    void everyHeadIsJudgedAndVerbsWithNounsAreActions() {
        HeadLogits verbs = scores("verb", 7, 1);
        HeadLogits nouns = scores("noun", 3, 2);
        HeadLogits other = scores("other", 4, 3);
        Map<String, int[]> labels = Map.of("verb", labels(verbs, 4), "noun", labels(nouns, 5));
        Map<String, Double> temperatures = Evaluation.temperatures(List.of(verbs, nouns, other), labels);
        assertEquals(Set.of("verb", "noun"), temperatures.keySet());
        var tail = new Evaluation.Tail(Set.of("verb0"), Set.of("noun1"));
        Evaluation evaluation = Evaluation.of(List.of(verbs, nouns, other), labels, temperatures, tail);
        assertEquals(
                List.of("verb", "noun"),
                evaluation.heads().stream().map(Evaluation.OfHead::head).toList());
        Evaluation.OfHead verb = evaluation.head("verb").orElseThrow();
        int[] ofVerb = requireNonNull(labels.get("verb"));
        int[] ofNoun = requireNonNull(labels.get("noun"));
        Close.within(verb.top1().value(), Classification.topK(verbs.values(), ofVerb, 1), 1e-12, "top-1");
        Close.within(verb.top5().value(), Classification.topK(verbs.values(), ofVerb, 5), 1e-12, "top-5");
        assertTrue(verb.top5().hits() < CLIPS, "seven classes are more than five");
        assertEquals(
                new Share(CLIPS, CLIPS), evaluation.head("noun").orElseThrow().top5(), "three classes are not");
        Evaluation.Scaled scaled = requireNonNull(verb.scaled());
        Close.within(scaled.temperature(), 3, .6, "temperature");
        double before = verb.reliability().expectedCalibrationError();
        double after = scaled.reliability().expectedCalibrationError();
        assertTrue(after < before / 2, before + " became " + after);
        assertEquals(ActionAccuracy.of(verbs, ofVerb, nouns, ofNoun, tail.verbs(), tail.nouns()), evaluation.action());
        assertEquals(requireNonNull(evaluation.action()).all(), evaluation.accuracy());
        assertTrue(requireNonNull(evaluation.action()).tailOr().clips() > 0);
    }

    @Test
    void headsWithoutLabelsAreLeftOut() {
        HeadLogits verbs = scores("verb", 7, 1);
        HeadLogits nouns = scores("noun", 3, 2);
        Evaluation evaluation =
                Evaluation.of(List.of(verbs, nouns), Map.of("noun", labels(nouns, 5)), Map.of(), Evaluation.Tail.NONE);
        assertNull(evaluation.action());
        assertNull(evaluation.heads().getFirst().scaled());
        assertEquals(evaluation.heads().getFirst().top1(), evaluation.accuracy());
        assertFalse(evaluation.head("verb").isPresent());
        var none = assertThrows(
                IllegalArgumentException.class,
                () -> Evaluation.of(List.of(verbs), Map.of("noun", labels(nouns, 5)), Map.of(), Evaluation.Tail.NONE));
        assertTrue(String.valueOf(none.getMessage()).contains("the student's heads are [verb]"), none.getMessage());
    }

    @Test
    void thePageHasATableDiagramsAndCurves() {
        HeadLogits verbs = scores("verb", 7, 1);
        HeadLogits nouns = scores("noun", 3, 2);
        Map<String, int[]> labels = Map.of("verb", labels(verbs, 4), "noun", labels(nouns, 5));
        Evaluation evaluation = Evaluation.of(
                List.of(verbs, nouns), labels, Map.of("verb", 3.0), new Evaluation.Tail(Set.of(), Set.of("noun1")));
        Gflops once = new Gflops(2, 1.5);
        String one = EvaluationReport.of(
                        "a student", List.of(new EvaluationReport.Looked("1x1", 1, 1, once, evaluation)))
                .html();
        assertEquals(3, one.split("<svg ", -1).length - 1, "verb, verb at its temperature, noun");
        assertTrue(one.contains("action, tail verb or noun"), "a row of the tail");
        assertFalse(one.contains("action, tail verb and noun"), "no verb is rare, so there is no such row");
        assertFalse(one.contains("NaN"), one);
        String several = EvaluationReport.of(
                        "a student",
                        List.of(
                                new EvaluationReport.Looked("1x1", 1, 1, once, evaluation),
                                new EvaluationReport.Looked("2x3", 6, 6, once.times(6), evaluation)))
                .html();
        assertEquals(6, several.split("<svg ", -1).length - 1, "and three curves");
        assertTrue(several.contains("6 views"), several);
    }
}
