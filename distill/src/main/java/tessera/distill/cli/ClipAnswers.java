package tessera.distill.cli;

import java.util.AbstractList;
import java.util.ArrayList;
import java.util.List;
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
        int at = 0;
        List<Prediction.Answer> answers = new ArrayList<>();
        for (Prediction.Answer head : heads) {
            List<Prediction.Score> scores = new ArrayList<>(head.scores().size());
            for (Prediction.Score score : head.scores()) {
                scores.add(new Prediction.Score(score.label(), row.probabilities[at++]));
            }
            answers.add(new Prediction.Answer(head.head(), scores));
        }
        return new Prediction(answers, row.passes);
    }

    @Override
    public int size() {
        return rows.size();
    }

    private int labels() {
        return heads.stream().mapToInt(head -> head.scores().size()).sum();
    }
}
