package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.nn.TokenReduction;

/** How a student computes fewer tokens than its masks leave visible: {@code --merge} or {@code --run-length}. */
final class ReductionOptions {
    @Option(
            names = "--merge",
            paramLabel = "R",
            description =
                    "Tokens that each block merges away, those most alike into one (ToMe), at most half of them; for --pooling mean."
                            + " Default: ${DEFAULT-VALUE}")
    private int merged;

    @Option(
            names = "--run-length",
            paramLabel = "X",
            description =
                    "Compute a patch once that does not change from time slot to time slot by more than X of 255 on average (RLT);"
                            + " for --pooling mean. Default: every patch is computed")
    private @Nullable Double threshold;

    @Option(
            names = "--token-sizes",
            paramLabel = "both|mean|none",
            description =
                    "Where a token that stands for several counts as often: in attention and in the mean of the tokens, in the mean"
                            + " alone, or nowhere. Default: ${DEFAULT-VALUE}")
    private TokenReduction.Sizes sizes = TokenReduction.Sizes.BOTH;

    /** What was asked for; refuses numbers that no student can work with, so it is called before anything is loaded. */
    TokenReduction reduction() {
        TokenReduction reduction = new TokenReduction(merged, threshold, TokenReduction.Sizes.BOTH);
        if (reduction.isNone() && sizes != TokenReduction.Sizes.BOTH) {
            throw new IllegalArgumentException(
                    "--token-sizes is for tokens that stand for several; pass --merge or --run-length too, or leave it away");
        }
        return reduction.withSizes(sizes);
    }
}
