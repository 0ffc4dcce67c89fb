package tessera.distill.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.report.Progress;
import tessera.distill.stage.RunContext;
import tessera.distill.stage.StopSignal;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** What both training stages are told. */
final class TrainingOptions {

    @Option(
            names = "--out",
            required = true,
            paramLabel = "DIR",
            description = "Folder of the run: weights, checkpoint, metrics.jsonl. The same command resumes there.")
    private Path out = Path.of("");

    @Option(
            names = "--batch",
            paramLabel = "N",
            defaultValue = "16",
            description = "Clips per step. Default: ${DEFAULT-VALUE}")
    private int batch;

    @Option(
            names = "--steps",
            paramLabel = "N",
            defaultValue = "600",
            description = "Steps in all. Default: ${DEFAULT-VALUE}")
    private long steps;

    @Option(
            names = "--lr",
            paramLabel = "X",
            description =
                    "Highest learning rate, after a tenth of the steps as warm-up. Default: 1e-3 in pretrain, 5e-4 in"
                            + " distill")
    private @Nullable Double lr;

    @Option(
            names = "--clip-norm",
            paramLabel = "X",
            description =
                    "Scale the gradients of a step so that their global norm is at most X, for example 5. Default: off")
    private @Nullable Double clipNorm;

    @Option(
            names = "--drop-path",
            paramLabel = "P",
            defaultValue = "0",
            description =
                    "Leave the last encoder block's branches out of a sample with this probability, those before with less"
                            + " (stochastic depth). Default: ${DEFAULT-VALUE}")
    private double dropPath;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Determines weights, order, masks and augmentation. Default: ${DEFAULT-VALUE}")
    private long seed;

    @Option(names = "--no-augment", description = "Train on the pictures as they are: no random crops, no flips.")
    private boolean plain;

    @Option(names = "--quiet", description = "Show no progress.")
    private boolean quiet;

    Path out() {
        return out;
    }

    int batch() {
        return batch;
    }

    long steps() {
        return steps;
    }

    double lr(double standard) {
        return lr == null ? standard : lr;
    }

    /** 0 for any norm. */
    double clipNorm() {
        return clipNorm == null ? 0 : clipNorm;
    }

    double dropPath() {
        return dropPath;
    }

    long seed() {
        return seed;
    }

    boolean augment() {
        return !plain;
    }

    /** A run that stops with a checkpoint when the process is asked to end. */
    RunContext context(Device device, DType compute) {
        StopSignal stop = new StopSignal();
        stop.onShutdown(() -> System.err.println("tessera: stopped and saved; run the same command to resume"));
        return new RunContext(System.err, Progress.Style.detect(quiet), stop, device, compute);
    }

    /** Refuses impossible numbers and places. */
    void check(double maskRatio) {
        if (batch < 1 || steps < 1) {
            throw new IllegalArgumentException(
                    "--batch is " + batch + " and --steps " + steps + "; pass 1 or more of each");
        }
        double rate = lr(1);
        if (!(rate > 0) || Double.isInfinite(rate)) {
            throw new IllegalArgumentException("--lr is " + rate + "; pass a positive learning rate such as 0.001");
        }
        if (clipNorm != null && (!(clipNorm > 0) || clipNorm.isInfinite())) {
            throw new IllegalArgumentException("--clip-norm is " + clipNorm
                    + "; pass a positive norm such as 5, or leave it away for unclipped gradients");
        }
        if (!(dropPath >= 0 && dropPath < 1)) {
            throw new IllegalArgumentException(
                    "--drop-path is " + dropPath + "; pass a probability of 0 or more and less than 1 such as 0.1");
        }
        if (!(maskRatio > 0 && maskRatio < 1)) {
            throw new IllegalArgumentException("--mask-ratio is " + maskRatio
                    + " but training hides some tokens and shows some; pass a share between 0 and 1 such as 0.75");
        }
        Outputs.requireFolder(out);
    }
}
