package tessera.nn.inference;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * What a clip shows: an answer by each head, of which the first is the main one. Immutable and thread-safe.
 *
 * @param answers at least one
 * @param passes masks that the clip was looked at through: the ensemble's, or fewer where masks are adaptive; of several clips, the mean
 */
public record Prediction(List<Answer> answers, double passes) {
    public Prediction {
        answers = List.copyOf(answers);
        if (answers.isEmpty()) {
            throw new IllegalArgumentException("a prediction has at least one answer; pass one");
        }
    }

    /**
     * A label with its probability.
     *
     * @param probability in [0, 1]
     */
    public record Score(String label, double probability) {}

    /**
     * The answer of one head.
     *
     * @param head the head's name
     * @param scores every label with its probability, in the order of the head's labels
     */
    public record Answer(String head, List<Score> scores) {
        public Answer {
            scores = List.copyOf(scores);
        }

        /** The likeliest label; of equals the first. */
        public String label() {
            return top(1).getFirst().label();
        }

        /** Its probability, in [0, 1]. */
        public double probability() {
            return top(1).getFirst().probability();
        }

        /** The likeliest labels, the likeliest first; all of them if there are no more than {@code k}. */
        public List<Score> top(int k) {
            return scores.stream()
                    .sorted(Comparator.comparingDouble((Score score) -> -score.probability()))
                    .limit(k)
                    .toList();
        }
    }

    /** The answer of a head. */
    public Answer answer(String head) {
        return answers.stream()
                .filter(answer -> answer.head().equals(head))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no head is called '" + head + "'; there are "
                        + answers.stream().map(Answer::head).toList()));
    }

    /** The main head's likeliest label. */
    public String label() {
        return answers.getFirst().label();
    }

    /** Its probability, in [0, 1]. */
    public double probability() {
        return answers.getFirst().probability();
    }

    /** The main head's likeliest labels, the likeliest first. */
    public List<Score> top(int k) {
        return answers.getFirst().top(k);
    }

    /**
     * The mean of predictions of the same heads, such as those of a recording's clips.
     *
     * @param predictions at least one, each asked for once: a list may make them when it is asked
     */
    public static Prediction mean(List<Prediction> predictions) {
        if (predictions.isEmpty()) {
            throw new IllegalArgumentException("there is no mean of 0 predictions; pass one or more");
        }
        int count = predictions.size();
        Prediction first = predictions.getFirst();
        double[][] mean = new double[first.answers.size()][];
        Arrays.setAll(mean, head -> new double[first.answers.get(head).scores().size()]);
        double[] passes = new double[count];
        int at = 0;
        for (Prediction one : predictions) {
            passes[at++] = one.passes;
            for (int head = 0; head < mean.length; head++) {
                for (int label = 0; label < mean[head].length; label++) {
                    mean[head][label] += one.probability(head, label) / count;
                }
            }
        }
        return first.with(
                (head, label) -> mean[head][label],
                Arrays.stream(passes).average().orElse(Double.NaN));
    }

    /**
     * These probabilities times a weight plus those of another prediction of the same heads times what is left to 1.
     *
     * @param weight in [0, 1]
     */
    Prediction mixed(Prediction other, double weight) {
        return with(
                (head, label) -> weight * probability(head, label) + (1 - weight) * other.probability(head, label),
                weight * passes + (1 - weight) * other.passes);
    }

    private interface Probability {
        double of(int head, int label);
    }

    /** The same labels with other probabilities. */
    private Prediction with(Probability probability, double passes) {
        List<Answer> with = new ArrayList<>();
        for (int h = 0; h < answers.size(); h++) {
            int head = h;
            List<Score> scores = answers.get(h).scores();
            with.add(new Answer(
                    answers.get(h).head(),
                    IntStream.range(0, scores.size())
                            .mapToObj(c -> new Score(scores.get(c).label(), probability.of(head, c)))
                            .toList()));
        }
        return new Prediction(with, passes);
    }

    private double probability(int head, int label) {
        return answers.get(head).scores().get(label).probability();
    }
}
