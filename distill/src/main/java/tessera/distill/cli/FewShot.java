package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Split;
import tessera.distill.egosim.EgoSim;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.train.RunContext;
import tessera.distill.train.Task;
import tessera.nn.ClipShape;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;

/** {@code tessera fewshot}: accuracy over few-shot episodes. */
@Command(
        name = "fewshot",
        description = {
            "Measure a student's accuracy over few-shot episodes, with its 95 %% confidence interval.",
            "With --json, accuracy, interval and calibration error are shares in [0, 1]; the text has them in percent.",
            "Clips of your own lie as for pretrain, not as for learn: DIR/<modality>/<label>/<name>.npy or a video, in the"
                    + " student's modality."
        })
final class FewShot extends ToolCommand {

    private static final String SOURCE = "fewshot needs clips: pass either --clips DIR";

    /** What EgoSim offers for judging; its other splits are for training. */
    enum Judged {
        VALIDATION(Split.VALIDATION),
        TEST(Split.TEST);

        final Split split;

        Judged(Split split) {
            this.split = split;
        }
    }

    @Mixin
    private StudentOptions student;

    @Mixin
    private EgoSimOptions egosim;

    @Option(names = "--clips", paramLabel = "DIR", description = "Labelled clips.")
    private @Nullable Path clips;

    @Option(
            names = "--split",
            paramLabel = "NAME",
            description = "EgoSim's classes: validation (to choose settings by) or test. Default: ${DEFAULT-VALUE}")
    private Judged judged = Judged.TEST;

    @Option(names = "--ways", paramLabel = "N", description = "Classes of an episode. Default: ${DEFAULT-VALUE}")
    private int ways = 5;

    @Option(names = "--shots", paramLabel = "K", description = "Examples of each class. Default: ${DEFAULT-VALUE}")
    private int shots = 5;

    @Option(names = "--queries", paramLabel = "Q", description = "Queries of each class. Default: ${DEFAULT-VALUE}")
    private int queries = 15;

    @Option(names = "--episodes", paramLabel = "N", description = "Number of episodes. Default: ${DEFAULT-VALUE}")
    private int episodes = 600;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        student.masks().masking();
        egosim.check();
        egosim.requireOne(SOURCE, clips);
        requireCounts();
        RunContext context = progress.context(student.compute());
        FewShotEvaluation.Result result;
        Masking masking;
        try (Predictor predictor = student.open()) {
            masking = predictor.masking();
            ClipShape input = predictor.student().config().input();
            Modality modality = Clips.modality(input, student.file());
            Geometry geometry = Clips.geometry(input.frames(), input.height(), modality);
            try (ClipSet set = load(geometry, modality, context)) {
                result = evaluate(predictor, set, modality, context);
            }
        }
        Accuracy accuracy = result.accuracy();
        double calibrationError = result.calibrationError();
        Answer answer = new Answer(
                accuracy.mean(),
                accuracy.interval95(),
                calibrationError,
                ways,
                shots,
                queries,
                episodes,
                masking.ratio(),
                masking.ensemble());
        print(
                answer,
                out -> out.printf(
                        Locale.ROOT,
                        "%d-way %d-shot accuracy %s %% over %d episodes (mask ratio %s, ensemble %d), calibration error"
                                + " %.2f %%%n",
                        ways,
                        shots,
                        accuracy,
                        episodes,
                        masking.ratio(),
                        masking.ensemble(),
                        100 * calibrationError));
    }

    /** Refuses, before anything is opened, episodes that nothing makes, or EgoSim has not enough for. */
    private void requireCounts() {
        requireLeast("--episodes", episodes, 1);
        requireLeast("--ways", ways, 2);
        requireLeast("--shots", shots, 1);
        requireLeast("--queries", queries, 1);
        if (clips == null) {
            requireWays(
                    EgoSim.classes(judged.split).size(),
                    "EgoSim's " + judged.split.name().toLowerCase(Locale.ROOT));
            requireEnough(egosim.perClass(), "each class of EgoSim", "raise --per-class");
        }
    }

    private static void requireLeast(String option, int given, int least) {
        if (given < least) {
            throw new IllegalArgumentException(option + " is " + given + "; pass " + least + " or more");
        }
    }

    private void requireWays(int labels, String where) {
        if (labels < ways) {
            throw new IllegalArgumentException(where + " has " + labels + (labels == 1 ? " label" : " labels")
                    + " but --ways is " + ways + "; lower it or add labels");
        }
    }

    private void requireEnough(int count, String where, String remedy) {
        long taken = (long) shots + queries;
        if (count < taken) {
            throw new IllegalArgumentException(where + " has " + count + (count == 1 ? " clip" : " clips")
                    + " but an episode takes " + taken + " (--shots " + shots + " and --queries " + queries
                    + "); lower these or " + remedy);
        }
    }

    /** Finds the clips, checks that there are enough of each label, and only then reads or renders them. */
    private ClipSet load(Geometry geometry, Modality modality, RunContext context) {
        if (clips == null) {
            return egosim.render(egosim.sim(geometry), judged.split, egosim.domain(), Set.of(modality), context);
        }
        ModalityFolders found = egosim.folders().open(clips, Set.of(modality), geometry);
        Map<String, Integer> counts = found.counts();
        requireWays(counts.size(), clips.toString());
        counts.forEach((label, count) -> requireEnough(count, "label " + label + " of " + clips, "add clips"));
        return Clips.load(found, "load", context);
    }

    /** Accuracy, interval and error as shares in [0, 1]. */
    private record Answer(
            double accuracy,
            double interval95,
            double calibrationError,
            int ways,
            int shots,
            int queries,
            int episodes,
            double maskRatio,
            int ensemble) {}

    private FewShotEvaluation.Result evaluate(Predictor predictor, ClipSet set, Modality modality, RunContext context) {
        List<Episode> drawn = new EpisodeSampler(
                        set.labels(), ways, shots, queries, student.masks().seed())
                .draw(episodes);
        double[][][] features = FeatureExtraction.extract(predictor, set, modality, context);
        FewShotEvaluation evaluation = new FewShotEvaluation(features, new LogisticRegression());
        try (Task task = context.task("episodes", Task.Unit.EPISODES, episodes)) {
            return evaluation.evaluate(drawn, task::advance);
        }
    }
}
