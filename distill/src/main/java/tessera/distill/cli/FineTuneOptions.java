package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.fewshot.FineTuning;

/** How {@code --head finetune} trains. */
final class FineTuneOptions {
    private static final String STEPS = "--tune-steps";
    private static final String RATE = "--tune-lr";
    private static final String AUGMENT = "--tune-augment";

    @Option(names = STEPS, paramLabel = "N", description = "Steps of an episode with --head finetune. Default: 50")
    private @Nullable Integer steps;

    @Option(
            names = RATE,
            paramLabel = "X",
            description =
                    "Its highest learning rate, of the head; each block below has .75 of the one above it. Default: 0.001")
    private @Nullable Double rate;

    @Option(names = AUGMENT, description = "Crop and flip its rgb clips at random in every step. Default: as they are")
    private boolean augment;

    /** Refuses impossible numbers, and what says how to train where nothing is. */
    void check(HeadChoice head) {
        if (!head.isFineTuning()) {
            String given = steps != null ? STEPS : rate != null ? RATE : augment ? AUGMENT : null;
            if (given != null) {
                throw new IllegalArgumentException(given + " is for --head finetune but --head is "
                        + EnumWords.of(head.kind()) + "; leave one of them away");
            }
            return;
        }
        if (steps != null && (steps < 1 || steps > 100_000)) {
            throw new IllegalArgumentException(STEPS + " is " + steps + "; pass 1 to 100000");
        }
        if (rate != null && (!(rate > 0) || rate.isInfinite())) {
            throw new IllegalArgumentException(RATE + " is " + rate + "; pass a positive learning rate such as 0.001");
        }
    }

    FineTuning fineTuning(long seed) {
        FineTuning standard = FineTuning.defaults();
        return standard.withSteps(steps == null ? standard.steps() : steps)
                .withRate(rate == null ? standard.rate() : rate)
                .withAugment(augment)
                .withSeed(seed);
    }
}
