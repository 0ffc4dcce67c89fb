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
 * Few-shot accuracy.
 *
 * <p>For each episode a {@link FewShotHead} learns from the support clips' features of their passes; a logistic regression in the
 * papers. Each query is then classified by the mean over its P passes of its class probabilities. A
 * pass holds the features of clips under one mask, so P passes are an ensemble of P masks; one pass is plain
 * inference. MM-CDFSL (ECCV 2024) fits on one mask per support clip, which {@link #withSupportViews} does; seeing support and query
 * clips through equally many, as here without it, costs nothing at inference and makes masked accuracy come closer to unmasked. What
 * learns from clips rather than features, such as {@link FineTuning}, is a {@link Learner} of its own.
 *
 * <p>Immutable and safe to share between threads, if its source is.
 */
public final class FewShotEvaluation {
    private final Learner learner;

    /** Learns from the support clips of an episode and answers for its queries. */
    @FunctionalInterface
    public interface Learner {
        /**
         * What it says of an episode; called for one episode after the other.
         *
         * @param number of the episode, from 0
         */
        Answers learn(int number, Episode episode);
    }

    /**
     * What was learned says of an episode's clips.
     *
     * @param queries class probabilities, {@code [P][queries][ways]}, P passes of 1 or more
     * @param support those of the support clips by classifiers like it that did not see them, {@code [S][support clips][ways]}, or empty
     *     where nothing could be held out. Computed when asked for
     */
    public record Answers(double[][][] queries, Supplier<double[][][]> support) {}

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

    /** Learns from features. */
    private record OnFeatures(Source source, FewShotHead head, int @Nullable [] groups) implements Learner {
        @Override
        public Answers learn(int number, Episode episode) {
            Views views = source.see(number, episode);
            int[] of = groups == null
                    ? null
                    : IntStream.of(episode.support()).map(clip -> groups[clip]).toArray();
            FewShotHead.Learned learned = head.learn(views.support(), episode.supportLabels(), episode.ways(), of);
            return new Answers(answers(learned.classifier(), views.queries()), learned.heldOut());
        }
    }

    /** A classifier's class probabilities of features, {@code [P][clips][classes]}. */
    static double[][][] answers(FewShotClassifier classifier, double[][][] features) {
        return Arrays.stream(features)
                .map(pass -> Arrays.stream(pass).map(classifier::probabilities).toArray(double[][]::new))
                .toArray(double[][][]::new);
    }

    /**
     * Checks and keeps the features; the caller must not change them afterwards.
     *
     * @param passes {@code [P][clips][D]}, finite
     * @throws IllegalArgumentException if there is no pass, passes differ in shape, or a feature is not finite; the
     *     message names the pass and the clip
     */
    public FewShotEvaluation(double[][][] passes, FewShotHead head) {
        this(passes, head, null);
    }

    /**
     * As {@link #FewShotEvaluation(double[][][], FewShotHead)}, with support clips that are held out in groups.
     *
     * @param groups of every clip, which are held out together, or null if each is its own
     */
    public FewShotEvaluation(double[][][] passes, FewShotHead head, int @Nullable [] groups) {
        this(kept(passes), head, groups);
    }

    /** An evaluation of features that are made for each episode. */
    public FewShotEvaluation(Source source, FewShotHead head) {
        this(source, head, null);
    }

    /** As {@link #FewShotEvaluation(Source, FewShotHead)}, with support clips that are held out in groups. */
    public FewShotEvaluation(Source source, FewShotHead head, int @Nullable [] groups) {
        this(new OnFeatures(source, head, groups));
    }

    /** An evaluation of what learns in another way than by a head on features. */
    public FewShotEvaluation(Learner learner) {
        this.learner = learner;
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
     * @throws IllegalStateException if it is no evaluation of features
     */
    public FewShotEvaluation withSupportViews(int views) {
        if (!(learner instanceof OnFeatures(Source source, FewShotHead head, int[] groups))) {
            throw new IllegalStateException("few_shot: what learns from clips has no passes of support clips");
        }
        if (views < 1) {
            throw new IllegalArgumentException(
                    "few_shot: heads are to be fitted on " + views + " passes of the support clips; pass 1 or more");
        }
        Source fewer = (number, episode) -> {
            Views all = source.see(number, episode);
            if (all.support.length < views) {
                throw new IllegalArgumentException("few_shot: heads are to be fitted on " + views
                        + " passes of the support clips but there are " + all.support.length
                        + "; extract more, or lower the number");
            }
            return new Views(Arrays.copyOf(all.support, views), all.queries);
        };
        return new FewShotEvaluation(fewer, head, groups);
    }

    /**
     * Evaluates episodes, those of features in parallel on the common pool, or on the pool of the calling worker, others one after
     * the other on the calling thread. The result does not depend on the number of threads.
     *
     * @param progress told the number of finished episodes, perhaps from worker threads but one call at a time, ascending
     * @throws IllegalArgumentException if there is no episode or one names a clip that has no features
     */
    public Result evaluate(List<Episode> episodes, IntConsumer progress) {
        return new Result(each(episodes, this::evaluate, progress));
    }

    /** What is done with an episode. */
    private interface Work<T> {
        T of(int number, Episode episode);
    }

    private <T> List<T> each(List<Episode> episodes, Work<T> work, IntConsumer progress) {
        int[] finished = {0};
        IntStream numbers = IntStream.range(0, episodes.size());
        return (learner instanceof OnFeatures ? numbers.parallel() : numbers)
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
        double[][][] queries = learner.learn(number, episode).queries();
        double[][] probabilities = IntStream.range(0, episode.queries().length)
                .mapToObj(query -> mean(queries, query))
                .toArray(double[][]::new);
        return new EpisodeResult(probabilities, episode.queryLabels());
    }

    /** Probabilities are averaged, not logits. */
    private static double[] mean(double[][][] passes, int query) {
        double[] mean = new double[passes[0][query].length];
        for (double[][] pass : passes) {
            for (int k = 0; k < mean.length; k++) {
                mean[k] += pass[query][k] / passes.length;
            }
        }
        return mean;
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
        Answers answers = learner.learn(number, episode);
        double[][][] heldOut = answers.support().get();
        return new PassByPass(
                EnsemblePasses.of(answers.queries(), episode.queryLabels()),
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
