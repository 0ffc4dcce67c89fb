package tessera.distill.fewshot;

import tessera.distill.evaluation.Classification;

/**
 * What the head said about the queries of one episode. The arrays belong to the result and must not be changed.
 *
 * @param probabilities {@code [queries][ways]}, rows sum to 1
 * @param labels {@code [queries]} in {@code [0, ways)}
 */
public record EpisodeResult(double[][] probabilities, int[] labels) {
    /** Share of queries whose most probable class is the right one, in [0, 1]. */
    public double accuracy() {
        return Classification.topK(probabilities, labels, 1);
    }
}
