package tessera.distill.cli;

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
            description = "Share of the tokens that are not looked at, 0 <= R < 1. Default: ${DEFAULT-VALUE}")
    private double maskRatio = Masking.DEFAULT.ratio();

    @Option(
            names = "--ensemble",
            paramLabel = "P",
            description = "Masks per clip, over which probabilities are averaged. Default: ${DEFAULT-VALUE}")
    private int ensemble = Masking.DEFAULT.ensemble();

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines the masks and every other draw. Default: ${DEFAULT-VALUE}")
    private long seed = Predictor.Options.SEED;

    /** The masks; refuses numbers that no student can work with, so it is called before anything is loaded. */
    Masking masking() {
        if (ensemble < 1 || ensemble > MOST_MASKS) {
            throw new IllegalArgumentException("--ensemble is " + ensemble + " but a clip is seen through 1 to "
                    + MOST_MASKS + " masks; pass 1 for a single mask");
        }
        return Masking.of(maskRatio, ensemble);
    }

    long seed() {
        return seed;
    }

    /** Refuses a ratio that leaves no token of this student's plane. */
    void check(Student student) {
        TokenGrid grid = student.config().grid();
        if (grid != null) {
            TokenMask.maskedCells(grid.plane(), maskRatio);
        }
    }
}
