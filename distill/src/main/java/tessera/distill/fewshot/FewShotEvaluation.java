package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.Classification;

/**
 * Few-shot accuracy of pre-extracted features.
 *
 * <p>For each episode a logistic regression is fitted on the support clips' features of all passes ({@link
 * LogisticRegression#fitViews}). Each query is then classified by the mean over the P passes of its class probabilities. A
 * pass holds the features of every clip under one mask, so P passes are an ensemble of P masks; one pass is plain
 * inference. MM-CDFSL (ECCV 2024) fits on one mask per support clip; seeing support and query clips through equally many
 * costs nothing at inference and makes masked accuracy come closer to unmasked.
 *
 * <p>Immutable and safe to share between threads.
 */
public final class FewShotEvaluation {
    private final double[][][] passes;
    private final Fitter fitter;

    /** Fits a head on support clips. */
    private interface Fitter {
        /**
         * A head on all features.
         *
         * @param views {@code [P][clips][D]}
         */
        LinearClassifier fit(double[][][] views, Episode episode);
    }

    /**
     * Checks and keeps the features; the caller must not change them afterwards.
     *
     * @param passes {@code [P][clips][D]}, finite
     * @throws IllegalArgumentException if there is no pass, passes differ in shape, or a feature is not finite; the
     *     message names the pass and the clip
     */
    public FewShotEvaluation(double[][][] passes, LogisticRegression head) {
        this(
                passes,
                (views, episode) -> head.fitViews(views, episode.supportLabels(), episode.ways())
                        .classifier());
    }

    /**
     * As {@link #FewShotEvaluation(double[][][], LogisticRegression)}, with heads that are tuned on the support clips of each episode.
     *
     * @param groups of every clip, which are held out together, or null if each is its own
     */
    public FewShotEvaluation(double[][][] passes, HeadFit head, int @Nullable [] groups) {
        this(
                passes,
                (views, episode) -> head.fit(
                                views,
                                episode.supportLabels(),
                                episode.ways(),
                                groups == null
                                        ? null
                                        : IntStream.of(episode.support())
                                                .map(clip -> groups[clip])
                                                .toArray())
                        .onAll(passes[0][0].length));
    }

    private FewShotEvaluation(double[][][] passes, Fitter fitter) {
        if (passes.length == 0 || passes[0].length == 0) {
            throw new IllegalArgumentException(
                    "few_shot: no features given; pass [P][clips][D] with P and clips over 0");
        }
        for (int p = 0; p < passes.length; p++) {
            if (passes[p].length != passes[0].length) {
                throw new IllegalArgumentException("few_shot: pass " + p + " has " + passes[p].length
                        + " clips but pass 0 has " + passes[0].length + "; extract every clip in every pass");
            }
            for (int clip = 0; clip < passes[p].length; clip++) {
                if (passes[p][clip].length != passes[0][0].length) {
                    throw new IllegalArgumentException("few_shot: clip " + clip + " of pass " + p + " has "
                            + passes[p][clip].length + " features but the first has " + passes[0][0].length
                            + "; use one model for all");
                }
                Features.requireFinite("few_shot", "clip " + clip + " of pass " + p, passes[p][clip]);
            }
        }
        this.passes = passes;
        this.fitter = fitter;
    }

    /**
     * Evaluates episodes in parallel on the common pool, or on the pool of the calling worker. The result does not depend
     * on the number of threads.
     *
     * @param progress told the number of finished episodes, from worker threads but one call at a time, ascending
     * @throws IllegalArgumentException if there is no episode or one names a clip that has no features
     */
    public Result evaluate(List<Episode> episodes, IntConsumer progress) {
        int[] finished = {0};
        return new Result(IntStream.range(0, episodes.size())
                .parallel()
                .mapToObj(i -> {
                    EpisodeResult result = evaluate(episodes.get(i));
                    synchronized (finished) {
                        progress.accept(++finished[0]);
                    }
                    return result;
                })
                .toList());
    }

    /** Evaluates one episode on the calling thread. */
    public EpisodeResult evaluate(Episode episode) {
        double[][][] support = Arrays.stream(passes)
                .map(pass -> IntStream.of(episode.support())
                        .mapToObj(clip -> features(pass, clip))
                        .toArray(double[][]::new))
                .toArray(double[][][]::new);
        LinearClassifier classifier = fitter.fit(support, episode);
        double[][] probabilities = IntStream.of(episode.queries())
                .mapToObj(clip -> classifier.ensemble(
                        Arrays.stream(passes).map(pass -> features(pass, clip)).toArray(double[][]::new)))
                .toArray(double[][]::new);
        return new EpisodeResult(probabilities, episode.queryLabels());
    }

    private static double[] features(double[][] pass, int clip) {
        if (clip < 0 || clip >= pass.length) {
            throw new IllegalArgumentException(
                    "few_shot: the episode names clip " + clip + " but there are features of " + pass.length
                            + "; draw episodes from the labels of the same clips");
        }
        return pass[clip];
    }

    /** The results of all episodes, in their order. */
    public record Result(List<EpisodeResult> episodes) {
        /** Mean accuracy with its interval. */
        public Accuracy accuracy() {
            return Accuracy.of(
                    episodes.stream().mapToDouble(EpisodeResult::accuracy).toArray());
        }

        /** Expected calibration error in [0, 1] with 15 bins, over the queries of all episodes together. */
        public double calibrationError() {
            return Classification.expectedCalibrationError(
                    episodes.stream()
                            .flatMap(e -> List.of(e.probabilities()).stream())
                            .toArray(double[][]::new),
                    episodes.stream()
                            .flatMapToInt(e -> IntStream.of(e.labels()))
                            .toArray(),
                    15);
        }
    }
}
