package tessera.distill.sweep;

import java.util.List;
import java.util.function.Function;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.evaluation.Interval;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.nn.inference.Predictor;

/**
 * Accuracy over few-shot episodes, the same of every cell, with the 95 % interval over them. Heads are fitted on features that are seen
 * as queries are.
 *
 * @param clips to look at
 * @param episodes of these clips, one or more
 * @param evaluation of features {@code [P][clips][D]}
 * @param seed determines the masks
 */
public record EpisodeJudge(
        SweepClips clips, List<Episode> episodes, Function<double[][][], FewShotEvaluation> evaluation, long seed)
        implements Judge {
    private static final int BATCH = 16;

    @Override
    public String measure() {
        return "accuracy over episodes";
    }

    @Override
    public Quality judge(Setup setup) {
        try (Predictor predictor = Predictor.of(setup.student(), setup.masking(), seed)) {
            double[][][] features =
                    FeatureExtraction.extract(predictor, clips.count(), BATCH, clips::batch, done -> {});
            FewShotEvaluation.Result result = evaluation.apply(features).evaluate(episodes, done -> {});
            Accuracy accuracy = result.accuracy();
            return new Quality(new Interval(accuracy.mean(), accuracy.interval95()), result.calibrationError(), null);
        }
    }
}
