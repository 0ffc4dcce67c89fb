package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;

/** What all training stages are told; the defaults are those of the stage's recipe. */
final class TrainingOptions {
    private final Recipe standard;

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR",
            description = "Folder of the run: weights, checkpoint, metrics.jsonl. The same command resumes there.")
    private Path out = Path.of("");

    @Option(names = "--batch", paramLabel = "N", description = "Clips per step. Default: ${DEFAULT-VALUE}")
    private int batch;

    @Option(
            names = "--accumulate",
            paramLabel = "N",
            description =
                    "Batches whose gradients make a step: as a batch N times as large, in the memory of one. Default:"
                            + " ${DEFAULT-VALUE}")
    private int accumulate;

    @Option(names = "--steps", paramLabel = "N", description = "Steps in all. Default: ${DEFAULT-VALUE}")
    private long steps;

    @Option(
            names = "--lr",
            paramLabel = "X",
            description = "Highest learning rate, after a tenth of the steps as warm-up. Default: ${DEFAULT-VALUE}")
    private double lr;

    @Option(
            names = "--mask-ratio",
            paramLabel = "R",
            description =
                    "Share of masked tokens, 0 < R < 1; 0 masks none where that is the default. Default: ${DEFAULT-VALUE}")
    private double maskRatio;

    @Option(
            names = "--strategy",
            paramLabel = "WORD",
            description =
                    "Which tokens are masked: tube, per-slot, running[:N] or motion (those that move most are shown);"
                            + " pairs, partition and saliency are tube masks here; or CLASS[:TEXT], a MaskStrategy of your own on the"
                            + " class path. Default: tube")
    private @Nullable String strategy;

    @Option(
            names = "--clip-norm",
            paramLabel = "X",
            description =
                    "Scale the gradients of a step so that their global norm is at most X, for example 5. Default: off; 5"
                            + " for train and for distill's class scores")
    private @Nullable Double clipNorm;

    @Option(
            names = "--drop-path",
            paramLabel = "P",
            description =
                    "Leave the last encoder block's branches out of a sample with this probability, those before with"
                            + " less (stochastic depth). Default: 0; 0.2 where train, or distill by class scores, trains a"
                            + " swin3d")
    private @Nullable Double dropPath;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines weights, order, masks and augmentation. Default: ${DEFAULT-VALUE}")
    private long seed;

    @Option(names = "--no-augment", description = "Train on the pictures as they are: no random crops, no flips.")
    private boolean plain;

    @Option(
            names = "--recompute",
            description =
                    "Keep the results of blocks alone and compute what lies between again in the backward pass: less memory,"
                            + " about a third more time, the same weights. A run may be resumed with or without.")
    private boolean recompute;

    @Mixin
    private ReadingOptions reading;

    @Mixin
    private ProgressOption progress;

    @Mixin
    private ComputeOptions compute;

    TrainingOptions(Recipe standard) {
        this.standard = standard;
        batch = standard.batch();
        accumulate = standard.accumulate();
        steps = standard.steps();
        lr = standard.rate().highest();
        maskRatio = standard.maskRatio();
        seed = standard.seed();
    }

    Path out() {
        return out;
    }

    boolean isAugmented() {
        return !plain;
    }

    ReadingOptions reading() {
        return reading;
    }

    /** Another stage's recipe with what the user changes of it. */
    Recipe recipe(Recipe other, ParseResult given) {
        return changed(
                other,
                given.hasMatchedOption("--batch") ? batch : other.batch(),
                given.hasMatchedOption("--steps") ? steps : other.steps(),
                given.hasMatchedOption("--lr") ? lr : other.rate().highest(),
                given.hasMatchedOption("--mask-ratio") ? maskRatio : other.maskRatio());
    }

    /** The stage's recipe with what the user changes of it. */
    Recipe recipe() {
        return changed(standard, batch, steps, lr, maskRatio);
    }

    private Recipe changed(Recipe from, int batch, long steps, double lr, double maskRatio) {
        return from.withBatch(batch)
                .over(steps, lr)
                .withMaskRatio(maskRatio)
                .withStrategy(strategy(from, maskRatio))
                .withClipNorm(clipNorm == null ? from.optimiser().clipNorm() : clipNorm)
                .withDropPath(dropPath == null ? from.dropPath() : dropPath)
                .withAugment(!plain)
                .withSeed(seed)
                .withAccumulate(accumulate);
    }

    private MaskStrategy strategy(Recipe from, double maskRatio) {
        if (strategy == null) {
            return from.strategy();
        }
        if (maskRatio == 0) {
            throw new IllegalArgumentException(
                    "--strategy is " + strategy
                            + " but the mask ratio is 0, so no token is masked; pass --mask-ratio too, or leave --strategy away");
        }
        return MaskOptions.strategy("--strategy", strategy);
    }

    RunContext context() {
        List<Device> devices = compute.devices();
        if (batch % devices.size() != 0) {
            throw new IllegalArgumentException("--batch is " + batch + " but " + devices.size()
                    + " devices share each batch evenly; pass a multiple of " + devices.size() + ", or fewer devices");
        }
        return progress.resumable(devices, compute.precision()).recomputing(recompute);
    }

    /** Refuses impossible numbers and places. */
    void check() {
        if (batch < 1 || steps < 1) {
            throw new IllegalArgumentException(
                    "--batch is " + batch + " and --steps " + steps + "; pass 1 or more of each");
        }
        ToolCommand.requireBatch("--batch", batch);
        if (accumulate < 1 || accumulate > Recipe.MOST_ACCUMULATED) {
            throw new IllegalArgumentException("--accumulate is " + accumulate + "; pass 1 to "
                    + Recipe.MOST_ACCUMULATED + " batches for each step, and a larger --batch for more clips");
        }
        if (!(lr > 0) || Double.isInfinite(lr)) {
            throw new IllegalArgumentException("--lr is " + lr + "; pass a positive learning rate such as 0.001");
        }
        if (clipNorm != null && (!(clipNorm > 0) || clipNorm.isInfinite())) {
            throw new IllegalArgumentException("--clip-norm is " + clipNorm
                    + "; pass a positive norm such as 5, or leave it away for unclipped gradients");
        }
        if (dropPath != null && !(dropPath >= 0 && dropPath < 1)) {
            throw new IllegalArgumentException(
                    "--drop-path is " + dropPath + "; pass a probability of 0 or more and less than 1 such as 0.1");
        }
        if (!(maskRatio > 0 && maskRatio < 1) && !(maskRatio == 0 && standard.maskRatio() == 0)) {
            throw new IllegalArgumentException("--mask-ratio is " + maskRatio
                    + " but training hides some tokens and shows some; pass a share between 0 and 1 such as 0.75");
        }
        if (strategy != null) {
            MaskOptions.strategy("--strategy", strategy);
        }
        Outputs.requireFolder(out);
    }
}
