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
 * @param tubelet frames of a patch
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
        int tubelet,
        ModelSize size,
        Domain target,
        Clips clips,
        Map<Modality, Pretraining.Settings> pretraining,
        Distillation.Settings distillation,
        Evaluation evaluation) {
    /**
     * Few frames in long patches, so that the plane can be as fine as the papers': a mask that keeps a quarter of 14 x 14
     * cells misses less than one that keeps a quarter of a coarse plane.
     */
    private static final Geometry CLIPS = new Geometry(8, 84, 28);

    private static final int GRID = 14;
    private static final int TUBELET = 4;
    private static final ModelSize SIZE = new ModelSize(128, 4, 4, 64, 1, 2);

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
            int latencyRounds) {

        /** The ensembles to judge at a mask ratio: without masks all passes are equal, so one stands for all. */
        List<Integer> ensemblesAt(double ratio) {
            return ratio == 0 ? List.of(1) : ensembles;
        }
    }

    /** Minutes on two cores. */
    public static DemoPlan quick(long seed) {
        return new DemoPlan(
                "quick",
                List.of(seed),
                CLIPS,
                GRID,
                TUBELET,
                SIZE,
                Domain.KITCHEN,
                new Clips(40, 60, 25, 30, 60),
                pretraining(500),
                distillation(2500),
                evaluation(200, 30));
    }

    /** Half an hour to an hour on two cores: three seeds, with more of everything. */
    public static DemoPlan full(long seed) {
        return new DemoPlan(
                "full",
                List.of(seed, seed + 1, seed + 2),
                CLIPS,
                GRID,
                TUBELET,
                SIZE,
                Domain.KITCHEN,
                new Clips(80, 150, 30, 60, 120),
                pretraining(1000),
                distillation(3200),
                evaluation(600, 100));
    }

    /**
     * Unlike the papers' models these start from random weights, not from Kinetics: so the classes weigh as much as the
     * reconstruction, nothing drops out, and no more tokens are hidden than in distillation.
     */
    private static Map<Modality, Pretraining.Settings> pretraining(long steps) {
        double lr = 1e-3;
        Map<Modality, Pretraining.Settings> settings = new EnumMap<>(Modality.class);
        for (Modality modality : Modality.values()) {
            settings.put(
                    modality,
                    new Pretraining.Settings(
                            modality,
                            true,
                            1,
                            0,
                            .75,
                            8,
                            steps,
                            lr,
                            lr / 20,
                            lr / 100,
                            steps / 10,
                            steps,
                            .05,
                            0,
                            0,
                            false,
                            0));
        }
        return settings;
    }

    private static Distillation.Settings distillation(long steps) {
        double lr = 1e-3;
        Map<Modality, Double> weights = new EnumMap<>(Modality.class);
        for (Modality modality : Modality.values()) {
            weights.put(modality, 1.0);
        }
        return new Distillation.Settings(
                weights, .75, 16, steps, lr, lr / 100, lr / 100, steps / 20, steps, .05, 0, 0, false, 0);
    }

    private static Evaluation evaluation(int episodes, int latencyRounds) {
        return new Evaluation(
                5, List.of(1, 5), 15, episodes, List.of(0.0, .5, .75, .9), List.of(1, 2, 4), .75, 2, latencyRounds);
    }
}
