package tessera.distill.stage;

import java.util.List;
import tessera.distill.egosim.Modality;
import tessera.distill.egosim.Split;
import tessera.distill.fewshot.Accuracy;

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
     * @param model {@code undistilled}, {@code distilled} or {@code teacher}
     * @param modality what the model looks at
     * @param split whose classes the episodes are of
     */
    public record Score(
            String model,
            Modality modality,
            double maskRatio,
            int ensemble,
            Split split,
            int shots,
            Accuracy accuracy) {}

    /**
     * How much better one score is than another on the test classes, episode by episode.
     *
     * @param what the two scores
     * @param accuracy the differences' mean and interval
     */
    public record Difference(String what, int shots, Accuracy accuracy) {}

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
}
