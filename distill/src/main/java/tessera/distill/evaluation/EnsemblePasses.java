package tessera.distill.evaluation;

import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;
import tessera.nn.inference.Stopping;

/**
 * What the passes of an ensemble say of clips whose classes are known, pass by pass: what fixed ensembles of 1 to P masks and adaptive
 * ones ({@link Stopping}) are worth, and from where on an adaptive one is as good as all P. The arrays belong to it and must not be
 * changed.
 */
public final class EnsemblePasses {
    /** Probabilities count as at least this where their logarithm is taken. */
    private static final double LEAST = 1e-30;

    private final double[][][] answers;
    private final int[] labels;

    private EnsemblePasses(double[][][] answers, int[] labels) {
        if (answers.length == 0) {
            throw new IllegalArgumentException("ensemble_passes: no pass given; pass the probabilities of 1 or more");
        }
        for (double[][] answer : answers) {
            Classification.check("ensemble_passes", answer, labels);
        }
        this.answers = answers;
        this.labels = labels;
    }

    /**
     * Passes whose probabilities are averaged.
     *
     * @param probabilities of each pass by itself, {@code [P][clips][classes]}
     * @param labels {@code [clips]}
     * @throws IllegalArgumentException if they do not fit together, or there is none
     */
    public static EnsemblePasses of(double[][][] probabilities, int[] labels) {
        double[][][] answers = new double[probabilities.length][][];
        for (int p = 0; p < answers.length; p++) {
            int passes = p + 1;
            answers[p] = IntStream.range(0, probabilities[p].length)
                    .mapToObj(clip -> mean(probabilities, passes, clip))
                    .toArray(double[][]::new);
        }
        return new EnsemblePasses(answers, labels);
    }

    /**
     * Passes that were put together in any way.
     *
     * @param answers what 1, 2, .. P passes agree on, {@code [P][clips][classes]}
     * @param labels {@code [clips]}
     */
    public static EnsemblePasses ofAnswers(double[][][] answers, int[] labels) {
        return new EnsemblePasses(answers, labels);
    }

    /** In the order in which {@code LinearClassifier.ensemble} adds, so that both give the same bits. */
    private static double[] mean(double[][][] probabilities, int passes, int clip) {
        double[] mean = new double[probabilities[0][clip].length];
        for (int p = 0; p < passes; p++) {
            for (int c = 0; c < mean.length; c++) {
                mean[c] += probabilities[p][clip][c] / passes;
            }
        }
        return mean;
    }

    /** Several, such as those of many episodes, clip after clip; all of as many passes and classes. */
    public static EnsemblePasses joined(List<EnsemblePasses> parts) {
        if (parts.isEmpty()) {
            throw new IllegalArgumentException("ensemble_passes: nothing to join; pass one or more");
        }
        int passes = parts.getFirst().passes();
        double[][][] answers = new double[passes][][];
        Arrays.setAll(
                answers,
                p -> parts.stream()
                        .flatMap(part -> Arrays.stream(part.answers[p]))
                        .toArray(double[][]::new));
        return new EnsemblePasses(
                answers,
                parts.stream().flatMapToInt(part -> Arrays.stream(part.labels)).toArray());
    }

    /** P. */
    public int passes() {
        return answers.length;
    }

    /** Number of clips. */
    public int clips() {
        return labels.length;
    }

    /** Class of each clip. */
    public int[] labels() {
        return labels.clone();
    }

    /**
     * What came of one way to look at the clips.
     *
     * @param passes of each clip
     * @param probabilities {@code [clips][classes]}
     * @param labels {@code [clips]}
     */
    public record Outcome(int[] passes, double[][] probabilities, int[] labels) {
        /** Passes of a clip. */
        public double meanPasses() {
            return Arrays.stream(passes).average().orElse(Double.NaN);
        }

        public Share accuracy() {
            return new Share(Classification.hits(probabilities, labels, 1), labels.length);
        }

        /** Expected calibration error, in [0, 1]. */
        public double calibrationError() {
            return Reliability.of(probabilities, labels).expectedCalibrationError();
        }
    }

    /** Every clip is looked at through as many masks. */
    public Outcome fixed(int passes) {
        if (passes < 1 || passes > answers.length) {
            throw new IllegalArgumentException(
                    "ensemble_passes: " + passes + " of " + answers.length + " passes; pass 1 to " + answers.length);
        }
        int[] all = new int[labels.length];
        Arrays.fill(all, passes);
        return new Outcome(all, answers[passes - 1], labels);
    }

    /** Clips are looked at through one mask after the other, each until it is sure. */
    public Outcome adaptive(Stopping rule) {
        int[] passes = new int[labels.length];
        double[][] probabilities = new double[labels.length][];
        for (int clip = 0; clip < passes.length; clip++) {
            int p = 0;
            while (p < answers.length - 1 && !rule.isEnough(answers[p][clip])) {
                p++;
            }
            passes[clip] = p + 1;
            probabilities[clip] = answers[p][clip];
        }
        return new Outcome(passes, probabilities, labels);
    }

    /**
     * The temperature at which the answers that may be the last but are not yet of all passes have the least negative log-likelihood,
     * with targets smoothed by the number of clips: where all of a few clips are right, not every answer is sure. 1 with one pass.
     */
    public double temperature() {
        double[][] logarithms = IntStream.range(0, answers.length - 1)
                .boxed()
                .flatMap(p -> Arrays.stream(answers[p]))
                .map(row -> Arrays.stream(row)
                        .map(q -> Math.log(Math.max(q, LEAST)))
                        .toArray())
                .toArray(double[][]::new);
        int[] of = IntStream.range(0, logarithms.length)
                .map(i -> labels[i % labels.length])
                .toArray();
        return logarithms.length == 0 ? 1 : TemperatureScaling.smoothed(logarithms, of, labels.length);
    }

    /**
     * The rule with the fewest passes on average among those that lose no more accuracy than is tolerated against all P passes. All
     * thresholds are looked at; choose on clips other than those that are judged.
     *
     * @param tolerance a share of the clips in [0, 1], such as .005 for half a point
     * @param temperature of the rule
     */
    public Stopping choose(Stopping.Measure measure, double temperature, double tolerance) {
        if (!(tolerance >= 0 && tolerance <= 1)) {
            throw new IllegalArgumentException("adaptive masks: a tolerance of " + tolerance
                    + "; pass a share in [0, 1] such as 0.005 for half a point");
        }
        Stopping never = new Stopping(2, measure, temperature);
        int last = answers.length - 1;
        int hits = Classification.hits(answers[last], labels, 1);
        double least = hits - tolerance * labels.length - 1e-9;
        int[] stops = new int[labels.length];
        Arrays.fill(stops, last);
        double best = never.threshold();
        List<Event> events = events(never);
        for (int i = 0; i < events.size(); i++) {
            Event event = events.get(i);
            hits += hit(event.pass, event.clip) - hit(stops[event.clip], event.clip);
            stops[event.clip] = event.pass;
            boolean whole = i + 1 == events.size() || events.get(i + 1).sureness < event.sureness;
            if (whole && hits >= least) {
                best = event.sureness; // every event makes the passes fewer, so the last one that is good enough is
                // the best
            }
        }
        return never.withThreshold(best);
    }

    /** A threshold from which on a clip ends earlier than at higher ones. */
    private record Event(double sureness, int clip, int pass) {}

    /** From the highest threshold to the lowest. */
    private List<Event> events(Stopping rule) {
        return IntStream.range(0, labels.length)
                .boxed()
                .flatMap(clip -> {
                    double[] sureness = new double[answers.length - 1];
                    double[] before = new double[sureness.length]; // the highest of earlier passes
                    double highest = -1;
                    for (int p = 0; p < sureness.length; p++) {
                        before[p] = highest;
                        sureness[p] = rule.sureness(answers[p][clip]);
                        highest = Math.max(highest, sureness[p]);
                    }
                    return IntStream.range(0, sureness.length)
                            .filter(p -> sureness[p] > before[p])
                            .mapToObj(p -> new Event(sureness[p], clip, p));
                })
                // Of a clip later passes are surer, and come first.
                .sorted(Comparator.comparingDouble((Event event) -> -event.sureness))
                .toList();
    }

    private int hit(int pass, int clip) {
        return Classification.rank(answers[pass][clip], labels[clip]) == 0 ? 1 : 0;
    }
}
