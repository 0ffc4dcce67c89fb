package tessera.distill.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.train.WarmStart;

/** {@code tessera adapt}: a student of one's own domain from unlabelled videos. */
@Command(
        name = "adapt",
        description = {
            "Make a student for the kind of videos that you have, from unlabelled ones: DIR and the folders below it.",
            "Videos are cut into clips, their optical flow is computed, a model of flow learns to reconstruct it and"
                    + " teaches the student, which ends up in RUN/student.safetensors. With --random a model of RGB does"
                    + " so too. The same command goes on where it was stopped.",
            "Clips of your own in the layout of pretrain (DIR/rgb/..., and DIR/flow and DIR/pose where you have them)"
                    + " are taken as they are; heat maps of hands for cut clips may be put beside them, in RUN/clips/pose."
        })
final class Adapt extends ToolCommand {

    @Option(
            names = "--clips",
            required = true,
            paramLabel = "DIR",
            description = "The videos, at any depth, or clips in the layout of pretrain.")
    private Path clips = Path.of("");

    @Option(
            names = "--start",
            paramLabel = "STUDENT",
            description =
                    "The RGB student (VideoMAE) to start from, whose sizes all models get. Default: the small one that comes with"
                            + " Tessera, trained on EgoSim 2")
    private @Nullable Path start;

    @Option(names = "--random", description = "Start from random weights, in models of the default student's sizes.")
    private boolean random;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "RUN",
            description = "Folder of the run: clips, models, the student. The same command goes on there.")
    private Path out = Path.of("");

    @Mixin
    private CutOptions cutting;

    @Option(
            names = "--pretrain-steps",
            paramLabel = "N",
            description = "Steps of each modality's model. Default: 20 times through the clips, 100 to 600 steps")
    private @Nullable Long pretraining;

    @Option(
            names = "--distill-steps",
            paramLabel = "N",
            description =
                    "Steps of the student. Default: 20 times through the clips, 30 times with --random, 100 to 600"
                            + " steps")
    private @Nullable Long distillation;

    @Option(names = "--batch", paramLabel = "N", description = "Clips per step. Default: ${DEFAULT-VALUE}")
    private int batch = Adaptation.Plan.STANDARD.batch();

    @Option(
            names = "--lr",
            paramLabel = "X",
            description = "Highest learning rate of every stage. Default: 0.001 from random weights; from a student's"
                    + " 0.0003, and 0.0006 where flow teaches it")
    private @Nullable Double lr;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines weights, order and masks. Default: ${DEFAULT-VALUE}")
    private long seed = Adaptation.Plan.STANDARD.seed();

    @Option(
            names = "--skip-broken",
            description = "Leave videos that cannot be decoded out, and tell how many. Without it they are refused.")
    private boolean skipBroken;

    @Mixin
    private ProgressOption progress;

    @Mixin
    private ComputeOptions compute;

    @Override
    void run() {
        compute.check();
        if (random && start != null) {
            throw new IllegalArgumentException(
                    "--start " + start + " and --random exclude each other; pass one of them");
        }
        IdleOptions.refuse(
                given(), CutOptions.PART, "is of no use here, since all of each video is taken; leave it away");
        if (Adaptation.isPrepared(clips)) {
            IdleOptions.refuse(
                    given(),
                    CutOptions.LENGTHS,
                    "says how videos are cut but " + clips + " holds clips already; leave it away");
        }
        Adaptation.Plan plan = new Adaptation.Plan(batch, pretraining, distillation, lr, seed);
        Adaptation.Result result =
                new Adaptation(clips, out, start(), skipBroken).run(cutting, plan, progress.resumable(compute));
        print(result, to -> {
            to.println(result.student());
            to.printf(
                    "from %d clips, taught by %s: %d steps%s, then %d%n",
                    result.clips(),
                    String.join(" and ", result.modalities()),
                    result.pretrainingSteps(),
                    result.modalities().size() == 1 ? "" : " each",
                    result.distillationSteps());
        });
    }

    private @Nullable Path start() {
        return random || start != null ? start : WarmStart.file();
    }
}
