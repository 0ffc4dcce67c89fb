package tessera.distill.demo.mmd;

import java.util.List;
import tessera.distill.demo.Machine;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.Reliability;
import tessera.distill.report.Json;

/**
 * What a demo of the second system found out.
 *
 * @param machine where it ran
 * @param plan how everything was made
 * @param seeds one result for each seed, in the plan's order
 * @param costs of each model, one view of a clip
 * @param seconds that this call took; less where earlier calls had done some of the training
 * @param processorSeconds of all its threads
 */
public record MmdResult(
        Machine machine,
        MmdPlan plan,
        List<SeedResult> seeds,
        List<Cost> costs,
        double seconds,
        double processorSeconds) {

    /** The name of the model that everything is compared with. */
    public static final String BASELINE = "RGB alone";

    /** The name of the mean of the teachers' logits, the upper line. */
    public static final String TOGETHER = "all teachers together";

    public MmdResult {
        seeds = List.copyOf(seeds);
        costs = List.copyOf(costs);
    }

    /**
     * The scores of one seed's models, all on the same test clips.
     *
     * @param reliabilities of the RGB models and of the teachers together, with the most views
     */
    public record SeedResult(long seed, List<Score> scores, List<Calibration> reliabilities) {
        public SeedResult {
            scores = List.copyOf(scores);
            reliabilities = List.copyOf(reliabilities);
        }
    }

    /**
     * What a model is worth with a number of views. Shares in [0, 1].
     *
     * @param model its name
     * @param clips test clips
     * @param action of the clips whose verb and noun are both right
     * @param scaled temperature scaling as a reference: what the calibration errors would be at a temperature of each head, fitted on
     *     held-out clips; only with the most views
     */
    public record Score(
            String model,
            int views,
            int clips,
            double action,
            double verb,
            double noun,
            double verbError,
            double nounError,
            List<Scaled> scaled) {
        public Score {
            scaled = List.copyOf(scaled);
        }

        /** The mean calibration error of both heads. */
        public double error() {
            return (verbError + nounError) / 2;
        }

        /** The same at the temperatures; NaN where none were fitted. */
        public double scaledError() {
            return scaled.stream().mapToDouble(Scaled::error).average().orElse(Double.NaN);
        }
    }

    /** A head's expected calibration error at its temperature. */
    public record Scaled(String head, double temperature, double error) {}

    /** How well the confidences of a model's head are accuracies. */
    public record Calibration(String model, String head, Reliability reliability) {}

    /** Work of a model for one view of a clip. */
    public record Cost(String model, Gflops gflops) {}

    /** One JSON object, as {@code results.json} holds it. */
    public String json() {
        return Json.text(this, MmdPlan::written);
    }
}
