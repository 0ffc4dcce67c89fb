package tessera.distill.cli;

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntToDoubleFunction;
import tessera.nn.inference.Prediction;

/**
 * What a student says of the clips of a recording, by the same heads each. Kept are the floats that it gave, for a day has tens of
 * thousands of clips and a head may have hundreds of labels; a prediction is made of them each time that one is asked for.
 */
final class ClipAnswers extends AbstractList<Prediction> {
    /** @param probabilities of all labels, in which the heads lie one after the other */
    private record Row(float[] probabilities, double passes) {}

    private final List<Row> rows = new ArrayList<>();
    private List<Prediction.Answer> heads = List.of();

    @Override
    public boolean add(Prediction prediction) {
        if (rows.isEmpty()) {
            heads = prediction.answers();
        }
        float[] probabilities = new float[labels()];
        int at = 0;
        for (Prediction.Answer answer : prediction.answers()) {
            for (Prediction.Score score : answer.scores()) {
                probabilities[at++] = (float) score.probability();
            }
        }
        return rows.add(new Row(probabilities, prediction.passes()));
    }

    @Override
    public Prediction get(int clip) {
        Row row = rows.get(clip);
        return prediction(label -> row.probabilities[label], row.passes);
    }

    @Override
    public int size() {
        return rows.size();
    }

    /** The {@link Prediction#mean} of all, to the bit. */
    Prediction mean() {
        double[] mean = new double[labels()];
        for (Row row : rows) {
            for (int label = 0; label < mean.length; label++) {
                mean[label] += (double) row.probabilities[label] / rows.size();
            }
        }
        double passes = rows.stream().mapToDouble(Row::passes).average().orElse(Double.NaN);
        return prediction(label -> mean[label], passes);
    }

    private int labels() {
        return heads.stream().mapToInt(head -> head.scores().size()).sum();
    }

    private Prediction prediction(IntToDoubleFunction probability, double passes) {
        int at = 0;
        List<Prediction.Answer> answers = new ArrayList<>();
        for (Prediction.Answer head : heads) {
            List<Prediction.Score> scores = new ArrayList<>(head.scores().size());
            for (Prediction.Score score : head.scores()) {
                scores.add(new Prediction.Score(score.label(), probability.applyAsDouble(at++)));
            }
            answers.add(new Prediction.Answer(head.head(), scores));
        }
        return new Prediction(answers, passes);
    }
}
