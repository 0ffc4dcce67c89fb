package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.TokenMask;

/** How a student looks at clips: ensemble masked inference. */
final class MaskOptions {
    private static final int MOST_MASKS = 1024;

    @Option(
            names = "--mask-ratio",
            paramLabel = "R",
            description =
                    "Share of the tokens that are not looked at, 0 <= R < 1. Default: 0.75, and 0 for a model that has none"
                            + " to mask")
    private @Nullable Double maskRatio;

    @Option(
            names = "--ensemble",
            paramLabel = "P",
            description =
                    "Masks per clip, over which probabilities are averaged. Default: 2, and 1 for a model that has none to"
                            + " mask")
    private @Nullable Integer ensemble;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines the masks and every other draw. Default: ${DEFAULT-VALUE}")
    private long seed = Predictor.Options.SEED;

    /** The masks; refuses numbers that no student can work with, so it is called before anything is loaded. */
    Masking masking() {
        int masks = ensemble == null ? Masking.DEFAULT.ensemble() : ensemble;
        if (masks < 1 || masks > MOST_MASKS) {
            throw new IllegalArgumentException("--ensemble is " + masks + " but a clip is seen through 1 to "
                    + MOST_MASKS + " masks; pass 1 for a single mask");
        }
        return Masking.of(maskRatio == null ? Masking.DEFAULT.ratio() : maskRatio, masks);
    }

    long seed() {
        return seed;
    }

    /** Refuses a ratio that leaves no token of this student's plane, or that was asked for where there is no token to mask. */
    void check(Student student) {
        TokenGrid grid = student.config().grid();
        if (grid != null) {
            TokenMask.maskedCells(grid.plane(), masking().ratio());
        } else if (maskRatio != null && maskRatio > 0) {
            throw new IllegalArgumentException("--mask-ratio is " + maskRatio
                    + " but models of this student's architecture see every token; leave it away");
        }
    }
}
