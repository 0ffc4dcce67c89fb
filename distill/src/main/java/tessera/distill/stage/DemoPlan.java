package tessera.distill.stage;

import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.Geometry;
import tessera.distill.egosim.Modality;
import tessera.distill.stage.ModalityInput.ModelSize;

/**
 * Every setting of a demo: all stages of MM-CDFSL on EgoSim, once for each seed.
 *
 * @param name what the plan is called
 * @param seeds of the replicas; each renders its own clips and trains its own models
 * @param grid tokens per side of the plane
 * @param size of all models
 * @param target where the unlabelled, validation and test clips are filmed
 * @param pretraining of each modality; the seed in it is replaced by the replica's
 * @param distillation the seed in it is replaced by the replica's
 */
public record DemoPlan(
        String name,
        List<Long> seeds,
        Geometry geometry,
        int grid,
        ModelSize size,
        Domain target,
        Clips clips,
        Map<Modality, Pretraining.Settings> pretraining,
        Distillation.Settings distillation,
        Evaluation evaluation) {

    public DemoPlan {
        seeds = List.copyOf(seeds);
        pretraining = Collections.unmodifiableMap(new EnumMap<>(pretraining));
    }

    /**
     * Clips per class.
     *
     * @param flowStatistics clips in all, from which the normalisation of flow is measured
     */
    public record Clips(int source, int target, int validation, int test, int flowStatistics) {}

    /**
     * How models are judged.
     *
     * @param ways classes of an episode
     * @param shots support clips per class, each a series of episodes
     * @param queries query clips per class
     * @param maskRatios of the distilled student's grid; the first stands for the unmasked model that others are
     *     compared with
     * @param ensembles of the distilled student's grid, ascending
     * @param maskRatio at which models are compared, one of the grid
     * @param ensemble with which models are compared, one of the grid
     * @param latencyRounds timed rounds over the grid
     */
    public record Evaluation(
            int ways,
            List<Integer> shots,
            int queries,
            int episodes,
            List<Double> maskRatios,
            List<Integer> ensembles,
            double maskRatio,
            int ensemble,
            int latencyRounds) {}

    /** Minutes on two cores. */
    public static DemoPlan quick(long seed) {
        return new DemoPlan(
                "quick",
                List.of(seed),
                Geometry.SMALL,
                8,
                new ModelSize(128, 6, 4, 64, 2, 2),
                Domain.KITCHEN,
                new Clips(40, 60, 30, 40, 60),
                pretraining(16, 100, 1e-3),
                distillation(32, 100, 5e-4),
                evaluation(200, 30));
    }

    /** An hour on two cores: three seeds, with more of everything. */
    public static DemoPlan full(long seed) {
        return new DemoPlan(
                "full",
                List.of(seed, seed + 1, seed + 2),
                Geometry.SMALL,
                8,
                new ModelSize(128, 6, 4, 64, 2, 2),
                Domain.KITCHEN,
                new Clips(80, 120, 30, 60, 120),
                pretraining(16, 450, 1e-3),
                distillation(32, 300, 5e-4),
                evaluation(600, 100));
    }

    private static Map<Modality, Pretraining.Settings> pretraining(int batch, long steps, double lr) {
        Map<Modality, Pretraining.Settings> settings = new EnumMap<>(Modality.class);
        for (Modality modality : Modality.values()) {
            settings.put(
                    modality,
                    new Pretraining.Settings(
                            modality, true, 1, .5, .9, batch, steps, lr, lr / 100, 1e-6, steps / 10, steps, .05, true, 0));
        }
        return settings;
    }

    private static Distillation.Settings distillation(int batch, long steps, double lr) {
        Map<Modality, Double> weights = new EnumMap<>(Modality.class);
        for (Modality modality : Modality.values()) {
            weights.put(modality, 1.0);
        }
        return new Distillation.Settings(
                weights, .75, batch, steps, lr, lr / 100, 1e-6, steps / 10, steps, .05, true, 0);
    }

    private static Evaluation evaluation(int episodes, int latencyRounds) {
        return new Evaluation(
                5, List.of(1, 5), 15, episodes, List.of(0.0, .5, .75, .9), List.of(1, 2, 4), .75, 2, latencyRounds);
    }
}
