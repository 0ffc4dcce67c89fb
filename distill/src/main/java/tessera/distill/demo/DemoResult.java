package tessera.distill.demo;

import java.util.List;
import java.util.Locale;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.report.Json;

/**
 * What a demo found out.
 *
 * @param machine where latency was measured
 * @param plan how everything was made
 * @param seeds one result for each seed, in the plan's order
 * @param costs of a clip for every mask ratio and ensemble of the plan's grid
 * @param seconds that this call took; less where earlier calls had done some of the training
 */
public record DemoResult(Machine machine, DemoPlan plan, List<SeedResult> seeds, List<Cost> costs, double seconds) {

    /** The scores of one seed's models. */
    public record SeedResult(long seed, List<Score> scores, List<Difference> differences) {}

    /**
     * Few-shot accuracy of a model. All scores of one seed, split and number of shots are of the same episodes.
     *
     * @param modality what the model looks at
     * @param split whose classes the episodes are of
     */
    public record Score(
            Model model,
            Modality modality,
            double maskRatio,
            int ensemble,
            Split split,
            int shots,
            Accuracy accuracy) {}

    /**
     * How much better one score is than another on the test classes, episode by episode.
     *
     * @param accuracy the differences' mean and interval
     */
    public record Difference(Comparison what, int shots, Accuracy accuracy) {}

    /**
     * Cost of the distilled student's features of one clip.
     *
     * @param milliseconds median latency with a batch of one
     * @param speedup median over the rounds of the first cell's latency over this one's
     * @param gflops billions of floating-point operations in all matrix products; a multiply-add counts as 2
     * @param gflopsWithoutAttention the same without the products inside attention, as common profilers count
     */
    public record Cost(
            double maskRatio,
            int ensemble,
            double milliseconds,
            double speedup,
            double gflops,
            double gflopsWithoutAttention) {}

    /** What was judged. */
    public enum Model {
        /** The RGB student before distillation. */
        UNDISTILLED,
        /** The RGB student. */
        DISTILLED,
        /** A teacher that looks at its own modality. */
        TEACHER;

        /** In lower case, as results are written. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Two scores that are compared. */
    public enum Comparison {
        DISTILLED_MINUS_UNDISTILLED("distilled minus undistilled"),
        MASKED_MINUS_UNMASKED("distilled, masked minus unmasked");

        private final String words;

        Comparison(String words) {
            this.words = words;
        }

        /** In words, as results are written. */
        @Override
        public String toString() {
            return words;
        }
    }

    /** One JSON object, as {@code results.json} holds it. */
    public String json() {
        return Json.text(this, DemoPlan::written);
    }
}
