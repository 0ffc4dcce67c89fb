package tessera.distill.demo;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import tessera.distill.train.LearningRate;
import tessera.distill.train.Optimiser;
import tessera.distill.train.Recipe;
import tessera.nn.MaskStrategy;

/** Recipes in a plan's JSON: the settings that differ from a standard, by the names that runs write them with. */
final class RecipeFields {
    private RecipeFields() {}

    /**
     * A recipe's standard.
     *
     * @param lowest of the highest learning rate at the end
     * @param warmup of all steps
     */
    record Standard(Recipe recipe, double lowest, double warmup) {
        /** The standard for a number of steps and a highest learning rate. */
        Recipe over(long steps, double lr) {
            long warming = Math.round(steps * warmup);
            return recipe.withRate(
                    steps,
                    new LearningRate(
                            LearningRate.Shape.COSINE, lr, lr * lowest, lr / 100, warming, Math.max(1, steps)));
        }
    }

    static Recipe read(Fields fields, Standard standard) {
        Recipe usual = standard.recipe();
        long steps = fields.whole("steps", usual.steps());
        double lr = fields.number("lr", usual.rate().highest());
        if (steps < 1 || !(lr > 0)) {
            throw new IllegalArgumentException(
                    "steps is " + steps + " and lr is " + lr + "; pass 1 step or more and a positive learning rate");
        }
        Recipe recipe = standard.over(steps, lr);
        LearningRate rate = recipe.rate();
        Optimiser o = recipe.optimiser();
        return recipe.withRate(
                        steps,
                        new LearningRate(
                                rate.shape(),
                                lr,
                                fields.number("minLr", rate.lowest()),
                                fields.number("warmupLr", rate.warmupStart()),
                                fields.whole("warmupSteps", rate.warmupSteps()),
                                fields.whole("period", rate.period())))
                .withBatch(fields.count("batch", recipe.batch()))
                .withAccumulate(fields.count("accumulate", recipe.accumulate()))
                .withMaskRatio(fields.number("maskRatio", recipe.maskRatio()))
                .withStrategy(fields.word("maskStrategy", recipe.strategy(), MaskStrategy::of))
                .withDropPath(fields.number("dropPath", recipe.dropPath()))
                .withAugment(fields.flag("augment", recipe.augment()))
                .withOptimiser(new Optimiser(
                        fields.number("beta1", o.beta1()),
                        fields.number("beta2", o.beta2()),
                        fields.number("eps", o.eps()),
                        fields.number("weightDecay", o.weightDecay()),
                        o.decays(),
                        fields.number("clipNorm", o.clipNorm())));
    }

    /** Adds what {@link #read} makes the recipe of again. */
    static void write(Map<String, Object> into, Recipe recipe, Standard standard) {
        into.put("steps", recipe.steps());
        into.put("lr", recipe.rate().highest());
        Map<String, Object> usual =
                settings(standard.over(recipe.steps(), recipe.rate().highest()));
        settings(recipe).forEach((name, value) -> {
            if (!Objects.equals(value, usual.get(name))) {
                into.put(name, value);
            }
        });
    }

    private static Map<String, Object> settings(Recipe recipe) {
        Map<String, Object> all = new LinkedHashMap<>();
        LearningRate rate = recipe.rate();
        Optimiser o = recipe.optimiser();
        all.put("minLr", rate.lowest());
        all.put("warmupLr", rate.warmupStart());
        all.put("warmupSteps", rate.warmupSteps());
        all.put("period", rate.period());
        all.put("batch", recipe.batch());
        all.put("accumulate", recipe.accumulate());
        all.put("maskRatio", recipe.maskRatio());
        all.put("maskStrategy", recipe.strategy().word());
        all.put("dropPath", recipe.dropPath());
        all.put("augment", recipe.augment());
        all.put("beta1", o.beta1());
        all.put("beta2", o.beta2());
        all.put("eps", o.eps());
        all.put("weightDecay", o.weightDecay());
        all.put("clipNorm", o.clipNorm());
        return all;
    }
}
