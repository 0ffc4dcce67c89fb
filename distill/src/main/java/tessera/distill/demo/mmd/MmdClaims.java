package tessera.distill.demo.mmd;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import tessera.distill.demo.mmd.MmdResult.Score;
import tessera.distill.demo.mmd.MmdResult.SeedResult;
import tessera.distill.evaluation.Interval;

/** What the papers claim, beside what a demo's numbers say. */
final class MmdClaims {
    private MmdClaims() {}

    /** What a difference says about the claim that it is over 0. */
    enum Verdict {
        HOLDS("holds"),
        POINTS_THIS_WAY("points this way, within the noise"),
        ONE_SEED_POINTS_THIS_WAY("points this way, with one seed, which tells no interval"),
        DOES_NOT_HOLD("does not hold"),
        OPPOSITE("does not hold: the opposite does");

        private final String words;

        Verdict(String words) {
            this.words = words;
        }

        /**
         * Judges a difference.
         *
         * @param difference its mean, with the 95 % interval over seeds where there are several
         */
        static Verdict of(Interval difference) {
            if (!(difference.mean() > 0)) {
                return difference.mean() + difference.half() < 0 ? OPPOSITE : DOES_NOT_HOLD;
            }
            if (Double.isNaN(difference.half())) {
                return ONE_SEED_POINTS_THIS_WAY;
            }
            return difference.mean() - difference.half() > 0 ? HOLDS : POINTS_THIS_WAY;
        }

        @Override
        public String toString() {
            return words;
        }
    }

    /** A score of every seed, in their order. */
    static double[] ofSeeds(MmdResult result, String model, int views, ToDoubleFunction<Score> figure) {
        return result.seeds().stream()
                .mapToDouble(seed -> figure.applyAsDouble(score(seed, model, views)))
                .toArray();
    }

    /**
     * A model's score.
     *
     * @throws IllegalArgumentException if the model was not judged with this many views
     */
    static Score score(SeedResult seed, String model, int views) {
        return seed.scores().stream()
                .filter(score -> score.model().equals(model) && score.views() == views)
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "no score of " + model + " with " + views + " views; the plan names those judged"));
    }

    /** How much more one score is than another, seed by seed. */
    static Interval difference(
            MmdResult result, String model, int views, String other, int otherViews, ToDoubleFunction<Score> figure) {
        double[] more = ofSeeds(result, model, views, figure);
        double[] less = ofSeeds(result, other, otherViews, figure);
        for (int i = 0; i < more.length; i++) {
            more[i] -= less[i];
        }
        return Interval.overSeeds(more);
    }

    /** A sentence for each claim about a student. */
    static List<String> about(MmdResult result, String student) {
        int most = result.plan().compared();
        int fewest = result.plan().views().getFirst();
        String baseline = MmdResult.BASELINE;
        List<String> sentences = new ArrayList<>();
        Interval accuracy = difference(result, student, most, baseline, most, Score::action);
        sentences.add(sentence(
                "that it is more accurate than the RGB baseline", accuracy, "points of action accuracy", most));
        Interval error = difference(result, baseline, most, student, most, Score::error);
        sentences.add(sentence(
                "that it is better calibrated",
                error,
                "points less of calibration error, mean of verb and noun",
                most));
        if (fewest < most) {
            Interval lead = difference(result, student, fewest, baseline, fewest, Score::action);
            sentences.add(
                    sentence("that it keeps its lead with fewer views", lead, "points of action accuracy", fewest));
            Interval across = difference(result, student, fewest, baseline, most, Score::action);
            sentences.add("With %s it is %s points %s the baseline with %s."
                    .formatted(views(fewest), absolute(across), across.mean() < 0 ? "below" : "above", views(most)));
        }
        return sentences;
    }

    private static String sentence(String claim, Interval difference, String unit, int views) {
        return "The claim %s %s: %s %s with %s."
                .formatted(claim, Verdict.of(difference), signed(difference), unit, views(views));
    }

    private static String views(int number) {
        return number == 1 ? "1 view" : number + " views";
    }

    private static String absolute(Interval difference) {
        return new Interval(Math.abs(difference.mean()), difference.half()).toString();
    }

    /** In points, with its sign: {@code +3.10 ± 1.20}. */
    static String signed(Interval difference) {
        return String.format(Locale.ROOT, difference.mean() < 0 ? "%s" : "+%s", difference);
    }
}
