package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.nn.TokenReduction;
import tessera.nn.inference.Student;

/** How a student computes fewer tokens than its masks leave visible: {@code --merge} or {@code --run-length}. */
final class ReductionOptions {
    private static final String MERGE = "--merge";
    private static final String RUN_LENGTH = "--run-length";

    @Option(
            names = MERGE,
            paramLabel = "R",
            description =
                    "Tokens that each block merges away, those most alike into one (ToMe), at most half of them; for --pooling mean."
                            + " Default: ${DEFAULT-VALUE}")
    private int merged;

    @Option(
            names = RUN_LENGTH,
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
        TokenReduction merging = UsageErrors.naming(() -> TokenReduction.merging(merged), MERGE);
        UsageErrors.naming(() -> new TokenReduction(0, threshold, merging.sizes()), RUN_LENGTH);
        TokenReduction reduction =
                UsageErrors.naming(() -> new TokenReduction(merged, threshold, merging.sizes()), MERGE, RUN_LENGTH);
        if (reduction.isNone() && sizes != TokenReduction.Sizes.BOTH) {
            throw new IllegalArgumentException(
                    "--token-sizes is for tokens that stand for several; pass --merge or --run-length too, or leave it away");
        }
        return reduction.withSizes(sizes);
    }

    /** Refuses a student of an architecture, or with heads on a pooling, for which no tokens are taken away. */
    void requireFit(Student student) {
        TokenReduction reduction = reduction();
        UsageErrors.naming(
                () -> {
                    reduction.requireFit(student.config(), student.pooling());
                    return reduction;
                },
                reduction.merged() > 0 ? MERGE : RUN_LENGTH);
    }
}
