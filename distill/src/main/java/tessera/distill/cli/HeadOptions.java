package tessera.distill.cli;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.fewshot.AttentiveFit;
import tessera.distill.fewshot.FewShotHead;
import tessera.distill.fewshot.HeadFit;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.fewshot.LogisticRegression;
import tessera.nn.Pooling;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/** How tokens become features and how a head is fitted on these: {@code --pooling} and {@code --fit}. */
class HeadOptions {
    private static final String POOLING = "--pooling";
    private static final String FIT = "--fit";

    /** Names of all options. */
    static final List<String> NAMES = List.of(POOLING, FIT);

    private static final String AUTO = "auto";
    /**
     * One voice of {@code auto}.
     *
     * @param weight of its head
     * @param poolings of which the first that suits the student is taken
     */
    private record Voice(double weight, List<Pooling> poolings) {
        static Voice of(double weight, String... words) {
            return new Voice(weight, Stream.of(words).map(Pooling::of).toList());
        }
    }

    /** What moves, what the model makes of a clip, and how the picture looks; weighted by what recognises most on real clips. */
    private static final List<Voice> VOICES = List.of(
            Voice.of(.35, "motion:1@2", "motion:1@1", "motion:1"),
            Voice.of(.35, "mean"),
            Voice.of(.15, "grid:2"),
            Voice.of(.15, "grid:4@0", "grid:2@0"));

    /** How a head is fitted. */
    enum Fit {
        /** On standardised features with a penalty chosen by cross-validation. */
        TUNED,
        /** With C = 1 on the features as they are, as published. */
        PLAIN
    }

    @Option(
            names = POOLING,
            paramLabel = "WORD|auto",
            description =
                    "How tokens become a feature: mean (the papers'), grid:G, motion:G (changes from slot to slot, which do not"
                            + " see what stands still), several with +, attentive (tokens weighted by attention that is fitted"
                            + " with the head), @N for the tokens after N blocks; auto has heads"
                            + " on motion, on the model's feature and on the picture speak as one. Default: auto, and mean with --fit plain")
    private @Nullable String pooling;

    @Option(
            names = FIT,
            paramLabel = "tuned|plain",
            description =
                    "The head's logistic regression: on standardised features with a C chosen by cross-validation on the"
                            + " examples, or with C = 1 on the features as they are (the papers'). Default: tuned")
    private @Nullable Fit fit;

    /** What was asked for. */
    String word() {
        if (pooling != null) {
            return pooling;
        }
        return isTuned() ? AUTO : Pooling.MEAN.toString();
    }

    /** Whether features and penalty are chosen on the examples. */
    boolean isTuned() {
        return fit != Fit.PLAIN;
    }

    /** Whether the user says how a logistic regression is fitted. */
    boolean isFitGiven() {
        return fit != null;
    }

    /** Takes the papers' feature and fit. */
    void setPlain() {
        fit = Fit.PLAIN;
    }

    /** Refuses what was given and is not the papers'. */
    void agree(ParseResult given) {
        ProtocolOptions.agree(given, POOLING, word(), Pooling.MEAN.toString());
        ProtocolOptions.agree(given, FIT, EnumWords.of(isTuned() ? Fit.TUNED : Fit.PLAIN), EnumWords.of(Fit.PLAIN));
    }

    /** Whether tokens are weighted by a query that is fitted with the head. */
    boolean isAttentive() {
        return !word().equals(AUTO) && asked().needsQuery();
    }

    /** Whether a fit holds a second copy of the features. */
    boolean copiesFeatures() {
        return isTuned() && !isAttentive();
    }

    /** Refuses words that mean nothing, before anything is loaded. */
    void check() {
        if (!word().equals(AUTO)) {
            Pooling asked = UsageErrors.naming(this::asked, POOLING);
            if (asked.needsQuery() && !isTuned()) {
                throw new IllegalArgumentException(
                        POOLING + " " + asked + " fits a query and a head on standardised tokens, which " + untuned());
            }
        } else if (!isTuned()) {
            throw new IllegalArgumentException(
                    "--pooling auto pools heads on standardised features, which " + untuned());
        }
    }

    private Pooling asked() {
        try {
            return Pooling.of(word());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(e.getMessage() + ", or auto", e);
        }
    }

    /** The poolings that suit a student and the masks through which it looks, one or more. */
    List<Pooling> candidates(Student student, Masking masking) {
        if (!word().equals(AUTO)) {
            Pooling asked = asked();
            return UsageErrors.naming(
                    () -> {
                        asked.requireFit(student.config());
                        masking.reduction().requireFit(student.config(), asked);
                        return List.of(asked);
                    },
                    POOLING);
        }
        boolean tubes = masking.ratio() == 0 || masking.strategy().showsTubes();
        List<Pooling> suiting = VOICES.stream()
                .flatMap(voice -> voice.poolings().stream()
                        .filter(offered -> suits(offered, student, masking) && (tubes || !offered.seesMotion()))
                        .limit(1))
                .toList();
        return suiting.isEmpty() ? List.of(Pooling.MEAN) : suiting;
    }

    private static boolean suits(Pooling pooling, Student student, Masking masking) {
        try {
            pooling.requireFit(student.config());
            masking.reduction().requireFit(student.config(), pooling);
            return true;
        } catch (IllegalArgumentException e) {
            return false;
        }
    }

    /** The penalty of what is not tuned; null where there is none. */
    @Nullable
    Double c() {
        return new LogisticRegression().c();
    }

    /** Which option rules a choice on the examples out, and what to do, for messages. */
    String untuned() {
        return "--fit plain does not do; pass --fit tuned";
    }

    /** What learns from features by the {@link Pooling#union} of the candidates. */
    FewShotHead head(List<Pooling> candidates, Student student) {
        if (isAttentive()) {
            return new AttentiveFit(student.config().featureWidth());
        }
        return isTuned() ? tuned(candidates, student) : new LogisticRegression();
    }

    /** The fit of heads on the candidates, by the columns of their {@link Pooling#union}. */
    private static HeadFit tuned(List<Pooling> candidates, Student student) {
        Pooling all = Pooling.union(candidates);
        return new HeadFit(
                candidates.stream()
                        .map(candidate -> all.select(candidate, student.config()))
                        .toList(),
                candidates.stream().mapToDouble(HeadOptions::weight).toArray());
    }

    /** Of the voice that has a pooling; one that is asked for by name stands alone. */
    private static double weight(Pooling pooling) {
        return VOICES.stream()
                .filter(voice -> voice.poolings().contains(pooling))
                .mapToDouble(Voice::weight)
                .findFirst()
                .orElse(1);
    }

    /**
     * A head and what it looks at.
     *
     * @param c how much the examples weigh against the penalty; null where there is none
     * @param heldOut class probabilities of the examples by heads like it that did not see them, {@code [P][clips][classes]}; empty
     *     where a class has one example
     */
    record Fitted(
            LinearClassifier classifier,
            Pooling pooling,
            @Nullable Double c,
            Supplier<double[][][]> heldOut) {}

    /**
     * Fits a head in the way that was asked for.
     *
     * @param views {@code [P][clips][D]} by the union of the candidates
     * @param groups of the clips, which are held out together
     */
    Fitted fit(List<Pooling> candidates, Student student, double[][][] views, int[] labels, int classes, int[] groups) {
        if (!isTuned()) {
            FewShotHead.Learned learned = head(candidates, student).learn(views, labels, classes, groups);
            if (!(learned.classifier() instanceof LinearClassifier linear)) {
                throw new IllegalStateException("a head of a file is linear");
            }
            return new Fitted(linear, candidates.getFirst(), c(), learned.heldOut());
        }
        if (isAttentive()) {
            AttentiveFit fit = new AttentiveFit(student.config().featureWidth());
            AttentiveFit.Fit fitted = fit.fit(views, labels, classes, groups);
            double[] query = fitted.classifier().query();
            float[] rounded = new float[query.length];
            for (int j = 0; j < rounded.length; j++) {
                rounded[j] = (float) query[j];
            }
            return new Fitted(
                    fitted.classifier().linear(),
                    candidates.getFirst().withQuery(rounded),
                    fitted.c(),
                    () -> fit.heldOut(fitted, views, labels, classes, groups));
        }
        HeadFit fit = tuned(candidates, student);
        HeadFit.Fit tuned = fit.fit(views, labels, classes, groups);
        return new Fitted(
                tuned.classifier(),
                Pooling.union(candidates),
                tuned.c(),
                () -> fit.heldOut(tuned, views, labels, classes, groups));
    }
}
