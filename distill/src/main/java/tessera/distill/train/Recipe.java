package tessera.distill.train;

import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Views;
import tessera.nn.MaskStrategy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/**
 * How a stage trains, whatever it trains. Made from {@link #defaults}, or those of a stage, by its {@code with} methods.
 *
 * @param batch clips per batch, 1 to 65536, of which a step has one or {@code accumulate}
 * @param steps in all
 * @param rate the learning rate
 * @param optimiser how weights are updated
 * @param maskRatio share of masked tokens, in [0, 1)
 * @param strategy which tokens are masked, where the ratio masks some
 * @param dropPath stochastic depth's rate in the student's last block, in [0, 1)
 * @param augment whether clips are seen in random views: those of {@code views}, or, as MM-CDFSL has it, RGB alone cropped and
 *     flipped
 * @param views how all modalities of a clip are seen, or null for MM-CDFSL's crops and flips
 * @param seed determines weights, order, masks and augmentation
 * @param accumulate batches whose gradients make a step, 1 to 256: as one batch with the clips of all, in the memory of one. But for rounding it
 *     gives the same, except that what is left out at random (dropout, stochastic depth) is drawn otherwise
 */
public record Recipe(
        int batch,
        long steps,
        LearningRate rate,
        Optimiser optimiser,
        double maskRatio,
        MaskStrategy strategy,
        double dropPath,
        boolean augment,
        @Nullable Views views,
        long seed,
        int accumulate) {
    private static final String VIEWS = "views";
    /** The largest number of clips of a batch: what training keeps of more fits into the memory of no device. */
    public static final int MOST_BATCH = 65_536;

    /** The largest number of batches of a step. */
    public static final int MOST_ACCUMULATED = 256;

    public Recipe {
        if (batch < 1 || steps < 1) {
            throw new IllegalArgumentException(
                    "a recipe of " + steps + " steps of " + batch + " clips; pass 1 or more of each");
        }
        if (batch > MOST_BATCH) {
            throw new IllegalArgumentException("batches of " + batch + " clips, more than the memory of any device"
                    + " holds; pass " + MOST_BATCH + " or fewer, and accumulate batches for larger steps");
        }
        if (accumulate < 1 || accumulate > MOST_ACCUMULATED) {
            throw new IllegalArgumentException("gradients of " + accumulate + " batches make a step; pass 1 to "
                    + MOST_ACCUMULATED + ", and larger batches for more clips");
        }
    }

    /** What stages have in common where they do not say otherwise: the one place of the defaults. */
    public static Recipe defaults() {
        return new Recipe(
                16,
                600,
                LearningRate.over(600, 1e-3),
                new Optimiser(.9, .999, 1e-8, .05, Optimiser.Decays.ALL, 0),
                .75,
                MaskStrategy.tubes(),
                0,
                true,
                null,
                1,
                1);
    }

    /** The same with other batches. */
    public Recipe withBatch(int clips) {
        return new Recipe(
                clips, steps, rate, optimiser, maskRatio, strategy, dropPath, augment, views, seed, accumulate);
    }

    /**
     * The same over a number of steps, with the standard decay of its shape from a highest rate: {@link LearningRate#over} or
     * {@link LearningRate#linear}.
     */
    public Recipe over(long allSteps, double highestRate) {
        boolean straight = rate.shape() == LearningRate.Shape.LINEAR;
        return withRate(
                allSteps,
                straight ? LearningRate.linear(allSteps, highestRate) : LearningRate.over(allSteps, highestRate));
    }

    /** The same over a number of steps, with a learning rate of one's own. */
    public Recipe withRate(long allSteps, LearningRate other) {
        return new Recipe(
                batch, allSteps, other, optimiser, maskRatio, strategy, dropPath, augment, views, seed, accumulate);
    }

    /** The same with another optimiser. */
    public Recipe withOptimiser(Optimiser other) {
        return new Recipe(batch, steps, rate, other, maskRatio, strategy, dropPath, augment, views, seed, accumulate);
    }

    /** The same with gradients clipped to a norm, 0 for any. */
    public Recipe withClipNorm(double norm) {
        Optimiser o = optimiser;
        return withOptimiser(new Optimiser(o.beta1(), o.beta2(), o.eps(), o.weightDecay(), o.decays(), norm));
    }

    /** The same with another share of masked tokens. */
    public Recipe withMaskRatio(double ratio) {
        return new Recipe(batch, steps, rate, optimiser, ratio, strategy, dropPath, augment, views, seed, accumulate);
    }

    /** The same with other masks. */
    public Recipe withStrategy(MaskStrategy other) {
        return new Recipe(batch, steps, rate, optimiser, maskRatio, other, dropPath, augment, views, seed, accumulate);
    }

    /** The same with another rate of stochastic depth. */
    public Recipe withDropPath(double probability) {
        return new Recipe(
                batch, steps, rate, optimiser, maskRatio, strategy, probability, augment, views, seed, accumulate);
    }

    /** The same with or without random crops and flips. */
    public Recipe withAugment(boolean wanted) {
        return new Recipe(
                batch, steps, rate, optimiser, maskRatio, strategy, dropPath, wanted, views, seed, accumulate);
    }

    /** The same with clips seen in other views, or null for MM-CDFSL's crops and flips. */
    public Recipe withViews(@Nullable Views others) {
        return new Recipe(
                batch, steps, rate, optimiser, maskRatio, strategy, dropPath, augment, others, seed, accumulate);
    }

    /** The same with another seed. */
    public Recipe withSeed(long other) {
        return new Recipe(
                batch, steps, rate, optimiser, maskRatio, strategy, dropPath, augment, views, other, accumulate);
    }

    /** The same with steps of the gradients of several batches. */
    public Recipe withAccumulate(int batches) {
        return new Recipe(batch, steps, rate, optimiser, maskRatio, strategy, dropPath, augment, views, seed, batches);
    }

    /** The settings by name. */
    public Settings settings() {
        return addTo(Settings.NONE);
    }

    /**
     * How the model of a finished file looked at clips in training: by the views of the settings in its metadata, or by the published
     * ones where these have none.
     *
     * @throws IllegalArgumentException if the settings cannot be read
     */
    public static Views viewsOf(Path file) {
        try (SafetensorsFile open = Safetensors.open(file)) {
            String settings = open.metadata().get(Trainer.SETTINGS);
            Map<String, String> parts = new TreeMap<>();
            if (settings != null && Settings.parse(settings).values().get(VIEWS) instanceof Map<?, ?> views) {
                views.forEach((name, value) -> parts.put(name.toString(), String.valueOf(value)));
            }
            return Views.of(parts);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": its settings cannot be read (" + e.getMessage() + ")", e);
        }
    }

    /** These settings after others. */
    Settings addTo(Settings settings) {
        Settings all = settings.with("maskRatio", maskRatio)
                .with("maskStrategy", strategy.word())
                .with("batch", batch)
                .with("steps", steps)
                .with("lr", rate.highest())
                .with("minLr", rate.lowest())
                .with("warmupLr", rate.warmupStart())
                .with("warmupSteps", rate.warmupSteps())
                .with("period", rate.period())
                .with("decay", rate.shape())
                .with("weightDecay", optimiser.weightDecay())
                .with("weightDecays", optimiser.decays())
                .with("beta1", optimiser.beta1())
                .with("beta2", optimiser.beta2())
                .with("eps", optimiser.eps())
                .with("clipNorm", optimiser.clipNorm())
                .with("dropPath", dropPath)
                .with("augment", augment)
                .with("seed", seed)
                .with("accumulate", accumulate);
        return views == null ? all : all.with(VIEWS, views);
    }
}
