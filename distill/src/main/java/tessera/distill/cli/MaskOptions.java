package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ClipShape;
import tessera.nn.MaskContext;
import tessera.nn.MaskStrategy;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
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
            names = "--strategy",
            paramLabel = "WORD",
            description =
                    "Which tokens a mask shows: tube (independent, as published), pairs (of masks that differ), partition (no"
                            + " two masks share any), per-slot, running[:N] (cells), motion (what moves most), saliency (what"
                            + " the pass before saw most), or CLASS[:TEXT], a MaskStrategy of your own on the class path."
                            + " Default: pairs")
    private @Nullable String strategy;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Determines the masks and every other draw. Default: ${DEFAULT-VALUE}")
    private long seed = Predictor.Options.SEED;

    private @Nullable Masking masking;

    /** The masks; refuses numbers and words that no student can work with, so it is called before anything is loaded. */
    Masking masking() {
        Masking known = masking;
        if (known == null) {
            known = read();
            masking = known;
        }
        return known;
    }

    private Masking read() {
        int masks = ensemble == null ? Masking.DEFAULT.ensemble() : ensemble;
        requireMasks("--ensemble", masks);
        double ratio = maskRatio == null ? Masking.DEFAULT.ratio() : maskRatio;
        Masking made = UsageErrors.naming(() -> Masking.of(ratio, masks), "--mask-ratio");
        String word = strategy;
        if (word == null) {
            return made;
        }
        if (made.ratio() == 0) {
            throw new IllegalArgumentException("--strategy is " + strategy
                    + " but --mask-ratio is 0, so every token is seen; leave one of them away");
        }
        return made.withStrategy(strategy("--strategy", word));
    }

    /** The strategy that an option's word names. */
    static MaskStrategy strategy(String option, String word) {
        return UsageErrors.naming(() -> MaskStrategy.of(word), option);
    }

    /** Refuses a number of masks that no clip is seen through. */
    static void requireMasks(String option, int masks) {
        if (masks < 1 || masks > MOST_MASKS) {
            throw new IllegalArgumentException(option + " is " + masks + " but a clip is seen through 1 to "
                    + MOST_MASKS + " masks; pass 1 for a single mask");
        }
    }

    /** Takes other masks where the user names none. */
    void standard(MaskStrategy other) {
        if (strategy == null) {
            masking = masking().withStrategy(other);
        }
    }

    /** What a line that tells the masks says of a strategy that is not the standard one. */
    static String strategy(Masking masking) {
        return masking.ratio() == 0 || masking.strategy().equals(Masking.DEFAULT.strategy())
                ? ""
                : ", strategy " + masking.strategy().word();
    }

    long seed() {
        return seed;
    }

    /**
     * Refuses a ratio that leaves no token of this student's plane, or that was asked for where there is no token to mask, and masks
     * that cannot be drawn.
     */
    void check(Student student) {
        TokenGrid grid = student.config().grid();
        if (grid != null) {
            if (TokenMask.maskedCells(grid.plane(), masking().ratio()) > 0) {
                tryToDraw(grid, student.config().input());
            }
        } else if (maskRatio != null && maskRatio > 0) {
            throw new IllegalArgumentException("--mask-ratio is " + maskRatio
                    + " but models of this student's architecture see every token; leave it away");
        } else if (strategy != null) {
            throw new IllegalArgumentException("--strategy is " + strategy
                    + " but models of this student's architecture see every token; leave it away");
        }
    }

    /** Draws the first and the last mask of an empty clip: what is wrong with them shows before there is any work. */
    private void tryToDraw(TokenGrid grid, ClipShape input) {
        MaskStrategy drawing = masking().strategy();
        try (Scope scope = Scope.open()) {
            Tensor empty = Tensor.full(
                    Device.cpu(),
                    DType.F32,
                    Shape.of(1, input.frames(), input.height(), input.width(), input.channels()),
                    0);
            MaskContext first =
                    new MaskContext(Device.cpu(), 1, grid, masking().ratio(), seed, 0, 0, empty, /* saliency= */ null);
            TokenMask mask = drawing.draw(first);
            long count = mask.visible().rank() == 2 ? mask.visibleCount() : -1;
            first.requireVisible(mask, count);
            if (!drawing.looksBack()) {
                MaskContext last = first.withMember(masking().ensemble() - 1);
                last.requireVisible(drawing.draw(last), count);
            }
        }
    }
}
