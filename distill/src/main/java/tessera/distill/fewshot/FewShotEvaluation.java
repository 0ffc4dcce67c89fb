package tessera.distill.fewshot;

import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.Classification;
import tessera.distill.evaluation.EnsemblePasses;

/**
 * Few-shot accuracy of features.
 *
 * <p>For each episode a logistic regression is fitted on the support clips' features of their passes ({@link
 * LogisticRegression#fitViews}). Each query is then classified by the mean over its P passes of its class probabilities. A
 * pass holds the features of clips under one mask, so P passes are an ensemble of P masks; one pass is plain
 * inference. MM-CDFSL (ECCV 2024) fits on one mask per support clip, which {@link #withSupportViews} does; seeing support and query
 * clips through equally many, as here without it, costs nothing at inference and makes masked accuracy come closer to unmasked.
 *
 * <p>Immutable and safe to share between threads, if its source is.
 */
public final class FewShotEvaluation {
    private final Source source;
    private final Fitter fitter;

    /** Fits a head on support clips. */
    private interface Fitter {
        /**
         * A head on all features.
         *
         * @param views {@code [P][clips][D]}
         */
        Fitted fit(double[][][] views, Episode episode);
    }

    /** Where the features of an episode's clips come from. */
    @FunctionalInterface
    public interface Source {
        /**
         * The features of the clips of an episode; called by several threads.
         *
         * @param number of the episode, from 0
         */
        Views see(int number, Episode episode);
    }

    /**
     * Features of the clips of an episode.
     *
     * @param support {@code [S][support clips][D]}, S passes of 1 or more
     * @param queries {@code [P][queries][D]}, P passes of 1 or more
     */
    public record Views(double[][][] support, double[][][] queries) {}

    /**
     * A head.
     *
     * @param heldOut class probabilities of the support clips by heads like it that did not see them, {@code [P][clips][ways]}, or empty
     */
    private record Fitted(LinearClassifier classifier, Supplier<double[][][]> heldOut) {}

    /**
     * Checks and keeps the features; the caller must not change them afterwards.
     *
     * @param passes {@code [P][clips][D]}, finite
     * @throws IllegalArgumentException if there is no pass, passes differ in shape, or a feature is not finite; the
     *     message names the pass and the clip
     */
    public FewShotEvaluation(double[][][] passes, LogisticRegression head) {
        this(kept(passes), head);
    }

    /**
     * As {@link #FewShotEvaluation(double[][][], LogisticRegression)}, with heads that are tuned on the support clips of each episode.
     *
     * @param groups of every clip, which are held out together, or null if each is its own
     */
    public FewShotEvaluation(double[][][] passes, HeadFit head, int @Nullable [] groups) {
        this(kept(passes), head, groups);
    }

    /** An evaluation of features that are made for each episode. */
    public FewShotEvaluation(Source source, LogisticRegression head) {
        this(
                source,
                (views, episode) -> new Fitted(
                        head.fitViews(views, episode.supportLabels(), episode.ways())
                                .classifier(),
                        () -> head.heldOut(views, episode.supportLabels(), episode.ways(), null)));
    }

    /** As {@link #FewShotEvaluation(Source, LogisticRegression)}, with heads that are tuned on the support clips of each episode. */
    public FewShotEvaluation(Source source, HeadFit head, int @Nullable [] groups) {
        this(source, (views, episode) -> {
            int[] labels = episode.supportLabels();
            int[] of = groups == null
                    ? null
                    : IntStream.of(episode.support()).map(clip -> groups[clip]).toArray();
            HeadFit.Fit fit = head.fit(views, labels, episode.ways(), of);
            return new Fitted(
                    fit.onAll(views[0][0].length), () -> head.heldOut(fit, views, labels, episode.ways(), of));
        });
    }

    private FewShotEvaluation(Source source, Fitter fitter) {
        this.source = source;
        this.fitter = fitter;
    }

    /** Features of every clip as a source. */
    private static Source kept(double[][][] passes) {
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
        return (number, episode) -> new Views(chosen(passes, episode.support()), chosen(passes, episode.queries()));
    }

    private static double[][][] chosen(double[][][] passes, int[] clips) {
        return Arrays.stream(passes)
                .map(pass -> IntStream.of(clips)
                        .mapToObj(clip -> features(pass, clip))
                        .toArray(double[][]::new))
                .toArray(double[][][]::new);
    }

    /**
     * The same with heads that are fitted on fewer passes of the support clips than queries have.
     *
     * @param views of the support clips that heads are fitted on, the first ones: 1 as published, up to all that the source gives
     * @throws IllegalArgumentException if it is less than 1; and, when episodes are evaluated, if there are not so many
     */
    public FewShotEvaluation withSupportViews(int views) {
        if (views < 1) {
            throw new IllegalArgumentException(
                    "few_shot: heads are to be fitted on " + views + " passes of the support clips; pass 1 or more");
        }
        return new FewShotEvaluation(source, (all, episode) -> {
            if (all.length < views) {
                throw new IllegalArgumentException("few_shot: heads are to be fitted on " + views
                        + " passes of the support clips but there are " + all.length
                        + "; extract more, or lower the number");
            }
            return fitter.fit(Arrays.copyOf(all, views), episode);
        });
    }

    /**
     * Evaluates episodes in parallel on the common pool, or on the pool of the calling worker. The result does not depend
     * on the number of threads.
     *
     * @param progress told the number of finished episodes, from worker threads but one call at a time, ascending
     * @throws IllegalArgumentException if there is no episode or one names a clip that has no features
     */
    public Result evaluate(List<Episode> episodes, IntConsumer progress) {
        return new Result(each(episodes, this::evaluate, progress));
    }

    /** What is done with an episode. */
    private interface Work<T> {
        T of(int number, Episode episode);
    }

    private static <T> List<T> each(List<Episode> episodes, Work<T> work, IntConsumer progress) {
        int[] finished = {0};
        return IntStream.range(0, episodes.size())
                .parallel()
                .mapToObj(i -> {
                    T result = work.of(i, episodes.get(i));
                    synchronized (finished) {
                        progress.accept(++finished[0]);
                    }
                    return result;
                })
                .toList();
    }

    /** Evaluates one episode, the first, on the calling thread. */
    public EpisodeResult evaluate(Episode episode) {
        return evaluate(0, episode);
    }

    private EpisodeResult evaluate(int number, Episode episode) {
        Views views = source.see(number, episode);
        LinearClassifier classifier = fitter.fit(views.support(), episode).classifier;
        double[][] probabilities = IntStream.range(0, episode.queries().length)
                .mapToObj(query -> classifier.ensemble(
                        Arrays.stream(views.queries()).map(pass -> pass[query]).toArray(double[][]::new)))
                .toArray(double[][]::new);
        return new EpisodeResult(probabilities, episode.queryLabels());
    }

    /**
     * What an episode's head says of its clips pass by pass, of which adaptive ensembles are made.
     *
     * @param queries of the queries; all passes together are what {@link #evaluate(Episode)} gives
     * @param support of the support clips, each by a head that was fitted without it; null where a class has one clip
     */
    public record PassByPass(
            EnsemblePasses queries, @Nullable EnsemblePasses support) {}

    /** Evaluates one episode, the first, on the calling thread, pass by pass. */
    public PassByPass passByPass(Episode episode) {
        return passByPass(0, episode);
    }

    private PassByPass passByPass(int number, Episode episode) {
        Views views = source.see(number, episode);
        Fitted fitted = fitter.fit(views.support(), episode);
        double[][][] queries = Arrays.stream(views.queries())
                .map(pass -> Arrays.stream(pass)
                        .map(fitted.classifier::probabilities)
                        .toArray(double[][]::new))
                .toArray(double[][][]::new);
        double[][][] heldOut = fitted.heldOut.get();
        return new PassByPass(
                EnsemblePasses.of(queries, episode.queryLabels()),
                heldOut.length == 0 ? null : EnsemblePasses.of(heldOut, episode.supportLabels()));
    }

    /** As {@link #evaluate(List, IntConsumer)}, pass by pass. */
    public List<PassByPass> passByPass(List<Episode> episodes, IntConsumer progress) {
        return each(episodes, this::passByPass, progress);
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
