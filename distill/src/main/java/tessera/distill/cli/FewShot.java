package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Split;
import tessera.distill.evaluation.FeatureExtraction;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.fewshot.Episode;
import tessera.distill.fewshot.EpisodeSampler;
import tessera.distill.fewshot.FewShotEvaluation;
import tessera.distill.fewshot.LogisticRegression;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.distill.train.Task;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/** {@code tessera fewshot}: accuracy over few-shot episodes. */
@Command(
        name = "fewshot",
        mixinStandardHelpOptions = true,
        description = {
            "Measure a student's accuracy over few-shot episodes, with its 95 %% confidence interval.",
            "With --json, accuracy, interval and calibration error are shares in [0, 1]; the text has them in percent.",
            "Clips of your own lie as for pretrain: DIR/<modality>/<label>/<name>.npy, in the student's modality."
        })
final class FewShot implements Callable<Integer> {

    /** What EgoSim offers for judging; its other splits are for training. */
    enum Judged {
        VALIDATION(Split.VALIDATION),
        TEST(Split.TEST);

        final Split split;

        Judged(Split split) {
            this.split = split;
        }

        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonOption json;

    @Mixin
    private StudentOptions student;

    @Mixin
    private EgoSimOptions egosim;

    @Mixin
    private MaskOptions masks;

    @Option(names = "--clips", paramLabel = "DIR", description = "Labelled clips.")
    private @Nullable Path clips;

    @Option(
            names = "--split",
            paramLabel = "NAME",
            defaultValue = "test",
            description = "EgoSim's classes: validation (to choose settings by) or test. Default: ${DEFAULT-VALUE}")
    private Judged judged = Judged.TEST;

    @Option(
            names = "--ways",
            paramLabel = "N",
            defaultValue = "5",
            description = "Classes of an episode. Default: ${DEFAULT-VALUE}")
    private int ways;

    @Option(
            names = "--shots",
            paramLabel = "K",
            defaultValue = "5",
            description = "Examples of each class. Default: ${DEFAULT-VALUE}")
    private int shots;

    @Option(
            names = "--queries",
            paramLabel = "Q",
            defaultValue = "15",
            description = "Queries of each class. Default: ${DEFAULT-VALUE}")
    private int queries;

    @Option(
            names = "--episodes",
            paramLabel = "N",
            defaultValue = "600",
            description = "Number of episodes. Default: ${DEFAULT-VALUE}")
    private int episodes;

    @Option(names = "--quiet", description = "Show no progress.")
    private boolean quiet;

    @Override
    public Integer call() {
        Masking masking = masks.masking();
        egosim.check();
        Path folder = clips;
        if (egosim.wanted() == (folder != null)) {
            throw new IllegalArgumentException(
                    "fewshot needs clips: pass either --clips DIR, or --egosim for the built-in benchmark");
        }
        if (episodes < 1) {
            throw new IllegalArgumentException("--episodes is " + episodes + "; pass 1 or more");
        }
        RunContext context = new RunContext(
                ProgressPrinter.of(quiet), new StopSignal(), student.device(), student.precision());
        try (Student model = student.load()) {
            masks.check(model);
            Modality modality = Clips.modality(model.config().input(), student.file());
            Geometry geometry = Clips.geometry(model.config().input(), modality);
            try (ClipSet set = folder == null
                    ? egosim.render(egosim.sim(geometry), judged.split, egosim.domain(), Set.of(modality), context)
                    : Clips.load(ModalityFolders.open(folder, Set.of(modality), geometry), "load", context)) {
                print(evaluate(model, set, modality, masking, context), masking);
            }
        }
        return ExitCode.OK;
    }

    private FewShotEvaluation.Result evaluate(
            Student model, ClipSet set, Modality modality, Masking masking, RunContext context) {
        List<Episode> drawn = new EpisodeSampler(set.labels(), ways, shots, queries, masks.seed()).draw(episodes);
        double[][][] features = FeatureExtraction.extract(model, set, modality, masking, masks.seed(), context);
        FewShotEvaluation evaluation = new FewShotEvaluation(features, new LogisticRegression());
        try (Task task = context.task("episodes", Task.Unit.EPISODES, episodes)) {
            return evaluation.evaluate(drawn, task::advance);
        }
    }

    private void print(FewShotEvaluation.Result result, Masking masking) {
        PrintWriter out = spec.commandLine().getOut();
        Accuracy accuracy = result.accuracy();
        if (json.wanted()) {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("accuracy", accuracy.mean());
            object.put("interval95", accuracy.interval95());
            object.put("calibrationError", result.calibrationError());
            object.put("ways", ways);
            object.put("shots", shots);
            object.put("queries", queries);
            object.put("episodes", episodes);
            object.put("maskRatio", masking.ratio());
            object.put("ensemble", masking.ensemble());
            JsonOption.print(out, object);
        } else {
            out.printf(
                    Locale.ROOT,
                    "%d-way %d-shot accuracy %s %% over %d episodes (mask ratio %s, ensemble %d), calibration error"
                            + " %.2f %%%n",
                    ways,
                    shots,
                    accuracy,
                    episodes,
                    masking.ratio(),
                    masking.ensemble(),
                    100 * result.calibrationError());
        }
    }
}
