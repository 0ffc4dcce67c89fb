package tessera.distill.cli;

import java.util.List;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.fewshot.HeadFit;
import tessera.distill.fewshot.LinearClassifier;
import tessera.distill.fewshot.LogisticRegression;
import tessera.nn.Pooling;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/** How tokens become features and how a head is fitted on these: {@code --pooling} and {@code --fit}. */
final class HeadOptions {
    private static final String AUTO = "auto";
    /** What {@code auto} chooses from; the first is taken unless another is clearly better on examples that are held out. */
    private static final List<Pooling> OFFERED = Stream.of(
                    "motion:1@2", "motion:1@1", "motion:2@1", "motion:2", "mean+motion:2", "grid:2", "mean")
            .map(Pooling::of)
            .toList();

    /** How a head is fitted. */
    enum Fit {
        /** On standardised features with a penalty chosen by cross-validation. */
        TUNED,
        /** With C = 1 on the features as they are, as published. */
        PLAIN
    }

    @Option(
            names = "--pooling",
            paramLabel = "WORD|auto",
            description =
                    "How tokens become a feature: mean (the papers'), grid:G, motion:G (changes from slot to slot, which do not"
                            + " see what stands still), several with +, @N for the tokens after N blocks; auto chooses by"
                            + " cross-validation on the examples. Default: auto, and mean with --fit plain")
    private @Nullable String pooling;

    @Option(
            names = "--fit",
            paramLabel = "tuned|plain",
            description =
                    "The head's logistic regression: on standardised features with a C chosen by cross-validation on the"
                            + " examples, or with C = 1 on the features as they are (the papers'). Default: ${DEFAULT-VALUE}")
    private Fit fit = Fit.TUNED;

    /** What was asked for. */
    String word() {
        if (pooling != null) {
            return pooling;
        }
        return isPlain() ? Pooling.MEAN.toString() : AUTO;
    }

    boolean isPlain() {
        return fit == Fit.PLAIN;
    }

    /** Takes the papers' feature and fit. */
    void setPlain() {
        fit = Fit.PLAIN;
    }

    /** Refuses what was given and is not the papers'. */
    void agree(ParseResult given) {
        ProtocolOptions.agree(given, "--pooling", word(), Pooling.MEAN.toString());
        ProtocolOptions.agree(given, "--fit", EnumWords.of(fit), EnumWords.of(Fit.PLAIN));
    }

    /** Refuses words that mean nothing, before anything is loaded. */
    void check() {
        if (!word().equals(AUTO)) {
            Pooling.of(word());
        } else if (isPlain()) {
            throw new IllegalArgumentException(
                    "--pooling auto chooses by cross-validation, which --fit plain does not do; pass --fit tuned");
        }
    }

    /** The poolings to choose from that suit a student and the masks through which it looks, one or more. */
    List<Pooling> candidates(Student student, Masking masking) {
        if (!word().equals(AUTO)) {
            Pooling asked = Pooling.of(word());
            masking.reduction().requireFit(student.config(), asked);
            return List.of(asked);
        }
        boolean tubes = masking.ratio() == 0 || masking.strategy().showsTubes();
        List<Pooling> suiting = OFFERED.stream()
                .filter(offered -> suits(offered, student, masking) && (tubes || !offered.seesMotion()))
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

    /** The fit that chooses among candidates by the columns of their {@link Pooling#union}. */
    static HeadFit tuned(List<Pooling> candidates, Student student) {
        Pooling all = Pooling.union(candidates);
        return new HeadFit(candidates.stream()
                .map(candidate -> all.select(candidate, student.config()))
                .toList());
    }

    /** The published fit. */
    static LogisticRegression plain() {
        return new LogisticRegression();
    }

    /**
     * A head and what it looks at.
     *
     * @param c how much the examples weigh against the penalty
     * @param heldOut class probabilities of the examples by heads like it that did not see them, {@code [P][clips][classes]}; empty
     *     where a class has one example
     */
    record Fitted(LinearClassifier classifier, Pooling pooling, double c, Supplier<double[][][]> heldOut) {}

    /**
     * Fits a head in the way that was asked for.
     *
     * @param views {@code [P][clips][D]} by the union of the candidates
     * @param groups of the clips, which are held out together
     */
    Fitted fit(List<Pooling> candidates, Student student, double[][][] views, int[] labels, int classes, int[] groups) {
        if (isPlain()) {
            LinearClassifier classifier =
                    plain().fitViews(views, labels, classes).classifier();
            return new Fitted(
                    classifier,
                    candidates.getFirst(),
                    plain().c(),
                    () -> plain().heldOut(views, labels, classes, groups));
        }
        HeadFit fit = tuned(candidates, student);
        HeadFit.Fit tuned = fit.fit(views, labels, classes, groups);
        return new Fitted(
                tuned.classifier(),
                candidates.get(tuned.candidate()),
                tuned.c(),
                () -> fit.heldOut(tuned, views, labels, classes, groups));
    }
}
