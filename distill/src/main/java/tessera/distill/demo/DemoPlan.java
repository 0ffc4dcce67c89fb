package tessera.distill.demo;

import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.egosim.Domain;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.distill.train.LearningRate;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Recipe;
import tessera.distill.train.Settings;
import tessera.nn.inference.Masking;

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
        Map<Modality, Pretraining> pretraining,
        Distillation distillation,
        Evaluation evaluation) {
    /**
     * Few frames in long patches, so that the plane can be as fine as the papers': a mask that keeps a quarter of 14 x 14
     * cells misses less than one that keeps a quarter of a coarse plane.
     */
    private static final Geometry CLIPS = new Geometry(8, 84, 28);

    private static final Geometry WARM_CLIPS = new Geometry(16, 84, 28);
    private static final int GRID = 14;
    private static final int TUBELET = 4;
    private static final ModelSize SIZE = new ModelSize(128, 4, 4, 64, 1, 2);

    public DemoPlan {
        seeds = List.copyOf(seeds);
        pretraining = Collections.unmodifiableSortedMap(new TreeMap<>(pretraining));
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

        /** Every way of masking that is judged, in order. */
        List<Masking> grid() {
            return maskRatios.stream()
                    .flatMap(ratio -> ensemblesAt(ratio).stream().map(ensemble -> Masking.of(ratio, ensemble)))
                    .toList();
        }

        /** The ensembles to judge at a mask ratio: without masks all passes are equal, so one stands for all. */
        List<Integer> ensemblesAt(double ratio) {
            return ratio == 0 ? List.of(1) : ensembles;
        }
    }

    /** Minutes on two cores. */
    public static DemoPlan quick(long seed) {
        return plan("quick", List.of(seed), new Clips(40, 60, 25, 30, 60), 500, 2500, evaluation(200, 30));
    }

    /** Half an hour to an hour on two cores: three seeds, with more of everything. */
    public static DemoPlan full(long seed) {
        List<Long> seeds = List.of(seed, seed + 1, seed + 2);
        return plan("full", seeds, new Clips(80, 150, 30, 60, 120), 1000, 3200, evaluation(600, 100));
    }

    /**
     * How the student that comes with Tessera is trained ({@link tessera.distill.train.WarmStart}): as the quick demo's, but with twice the
     * frames, for what real videos show is told by how it moves, and two moments tell less of that than four.
     */
    public static DemoPlan warmStart(long seed) {
        Clips clips = new Clips(40, 60, 25, 30, 60);
        return plan("warm start", WARM_CLIPS, List.of(seed), clips, 600, 2500, evaluation(200, 30));
    }

    private static DemoPlan plan(
            String name, List<Long> seeds, Clips clips, long pretraining, long distillation, Evaluation how) {
        return plan(name, CLIPS, seeds, clips, pretraining, distillation, how);
    }

    private static DemoPlan plan(
            String name,
            Geometry geometry,
            List<Long> seeds,
            Clips clips,
            long pretraining,
            long distillation,
            Evaluation how) {
        return new DemoPlan(
                name,
                seeds,
                geometry,
                GRID,
                TUBELET,
                SIZE,
                Domain.KITCHEN,
                clips,
                pretraining(pretraining),
                distillation(distillation),
                how);
    }

    /**
     * Unlike the papers' models these start from random weights, not from Kinetics: so the classes weigh as much as the
     * reconstruction, nothing drops out, and no more tokens are hidden than in distillation.
     */
    private static Map<Modality, Pretraining> pretraining(long steps) {
        double lr = 1e-3;
        LearningRate rate = new LearningRate(LearningRate.Shape.COSINE, lr, lr / 20, lr / 100, steps / 10, steps);
        Map<Modality, Pretraining> all = new TreeMap<>();
        for (Modality modality : Modality.ALL) {
            Recipe recipe = Pretraining.defaults(modality)
                    .recipe()
                    .withRate(steps, rate)
                    .withBatch(8)
                    .withMaskRatio(.75)
                    .withAugment(false)
                    .withSeed(0);
            all.put(modality, new Pretraining(modality, true, 1, 0, recipe));
        }
        return all;
    }

    private static Distillation distillation(long steps) {
        double lr = 1e-3;
        LearningRate rate = new LearningRate(LearningRate.Shape.COSINE, lr, lr / 100, lr / 100, steps / 20, steps);
        Distillation standard = Distillation.defaults();
        return standard.withRecipe(
                standard.recipe().withRate(steps, rate).withAugment(false).withSeed(0));
    }

    private static Evaluation evaluation(int episodes, int latencyRounds) {
        return new Evaluation(
                5, List.of(1, 5), 15, episodes, List.of(0.0, .5, .75, .9), List.of(1, 2, 4), .75, 2, latencyRounds);
    }

    /** The settings by name; the seeds of the stages do not count. */
    Settings settings() {
        return Settings.parse(Json.text(this, DemoPlan::written));
    }

    /** What stands for the settings of the stages that an older demo's plan does not have. */
    Settings defaults() {
        Map<Modality, Pretraining> standard = new TreeMap<>(pretraining);
        standard.replaceAll((modality, own) -> Pretraining.defaults(modality));
        Settings all = settings().with("pretraining", standard).with("distillation", Distillation.defaults());
        return Settings.parse(Json.text(all.values(), DemoPlan::written));
    }

    /** How values of this package are written in JSON. */
    static Object written(Object value) {
        return switch (value) {
            case Modality modality -> modality.id().toUpperCase(Locale.ROOT);
            case Pretraining stage -> stage.settings().values();
            case Distillation stage -> stage.settings().values();
            default -> value;
        };
    }
}
