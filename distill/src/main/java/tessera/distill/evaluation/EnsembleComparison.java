package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Axis;
import tessera.distill.report.PointChart;
import tessera.nn.inference.Stopping;

/**
 * Fixed ensembles of 1 to P masks beside adaptive ones: accuracy against passes, work and time.
 *
 * @param rows the fixed ones by their number of masks, then the adaptive ones
 */
public record EnsembleComparison(List<Row> rows) {
    /** Thresholds along the curve of a rule. */
    private static final int CURVE = 40;

    /**
     * One way to look.
     *
     * @param rule of an adaptive ensemble, or null
     * @param passes of a clip, on average
     * @param accuracy a share in [0, 1] with its interval
     * @param calibrationError in [0, 1]
     * @param gflops of a clip, on average
     * @param milliseconds of a clip, on average
     * @param share of the time of P masks in the same rounds
     */
    public record Row(
            @Nullable Stopping rule,
            double passes,
            Interval accuracy,
            double calibrationError,
            Gflops gflops,
            double milliseconds,
            double share) {
        /** In words. */
        public String name() {
            if (rule == null) {
                return String.format(Locale.ROOT, "%.0f %s", passes, passes == 1 ? "mask" : "masks");
            }
            String at = rule.temperature() == 1
                    ? ""
                    : String.format(Locale.ROOT, " at temperature %.2f", rule.temperature());
            return rule.threshold() > 1
                    ? "adaptive, never sure" + at
                    : String.format(Locale.ROOT, "adaptive, %s %.3f%s", rule.measure(), rule.threshold(), at);
        }
    }

    public EnsembleComparison {
        rows = List.copyOf(rows);
    }

    /**
     * Compares.
     *
     * @param judged what the passes say of the clips that are judged, in one part or in several such as episodes
     * @param rules of the adaptive ensembles
     * @param accuracy of the outcomes of the parts, with an interval
     * @param once the work of one pass
     * @param timing of the same rules
     */
    public static EnsembleComparison of(
            List<EnsemblePasses> judged,
            List<Stopping> rules,
            Function<List<EnsemblePasses.Outcome>, Interval> accuracy,
            Gflops once,
            EnsembleTiming timing) {
        EnsemblePasses all = EnsemblePasses.joined(judged);
        int most = all.passes();
        List<Row> rows = new ArrayList<>();
        for (int p = 1; p <= most; p++) {
            int passes = p;
            rows.add(new Row(
                    null,
                    p,
                    accuracy.apply(
                            judged.stream().map(part -> part.fixed(passes)).toList()),
                    all.fixed(p).calibrationError(),
                    once.times(p),
                    timing.fixed()[p - 1],
                    timing.fixed()[p - 1] / timing.fixed()[most - 1]));
        }
        for (int i = 0; i < rules.size(); i++) {
            Stopping rule = rules.get(i);
            EnsemblePasses.Outcome outcome = all.adaptive(rule);
            rows.add(new Row(
                    rule,
                    outcome.meanPasses(),
                    accuracy.apply(
                            judged.stream().map(part -> part.adaptive(rule)).toList()),
                    outcome.calibrationError(),
                    once.times(outcome.meanPasses()),
                    timing.adaptive()[i],
                    timing.share()[i]));
        }
        return new EnsembleComparison(rows);
    }

    /** Names of {@link #cells}' columns. */
    public static final List<String> HEADER = List.of(
            "masks",
            "on average",
            "accuracy (%)",
            "calibration error (%)",
            "GFLOPs",
            "without attention",
            "ms",
            "of the time of all (%)");

    /** A table's cells, a row for each way to look. */
    public List<List<String>> cells() {
        return rows.stream()
                .map(row -> List.of(
                        row.name(),
                        decimals(2, row.passes),
                        row.accuracy.toString(),
                        decimals(2, 100 * row.calibrationError),
                        decimals(3, row.gflops.all()),
                        decimals(3, row.gflops.withoutAttention()),
                        decimals(2, row.milliseconds),
                        decimals(0, 100 * row.share)))
                .toList();
    }

    private static String decimals(int digits, double value) {
        return String.format(Locale.ROOT, "%." + digits + "f", value);
    }

    /** Lines for people, percent and milliseconds. */
    public List<String> lines() {
        List<String> lines = new ArrayList<>();
        for (Row row : rows) {
            lines.add(String.format(
                    Locale.ROOT,
                    "%-46s %.2f masks, accuracy %s %%, calibration error %.2f %%, %.3f GFLOPs (%.3f without attention), %.2f ms"
                            + " (%.0f %%)",
                    row.name(),
                    row.passes,
                    row.accuracy,
                    100 * row.calibrationError,
                    row.gflops.all(),
                    row.gflops.withoutAttention(),
                    row.milliseconds,
                    100 * row.share));
        }
        return lines;
    }

    /**
     * A chart of accuracy against mean passes: the fixed ensembles, and each rule at thresholds from none to never. An SVG element.
     *
     * @param judged as in {@link #of}
     */
    public static String chart(EnsemblePasses judged, List<Stopping> rules) {
        PointChart chart = new PointChart(
                "Accuracy against masks looked through",
                Axis.linear("masks of a clip, on average"),
                Axis.linear("accuracy (%)"));
        List<PointChart.Point> fixed = new ArrayList<>();
        for (int p = 1; p <= judged.passes(); p++) {
            fixed.add(point(judged.fixed(p), "P = " + p));
        }
        chart.series("fixed", fixed);
        for (Stopping rule : rules) {
            List<PointChart.Point> points = new ArrayList<>();
            for (int i = 0; i <= CURVE; i++) {
                PointChart.Point point = point(judged.adaptive(rule.withThreshold((double) i / CURVE)), "");
                if (points.isEmpty() || point.x() > points.getLast().x()) {
                    points.add(point);
                }
            }
            chart.series(
                    rule.temperature() == 1
                            ? "adaptive, " + rule.measure()
                            : String.format(
                                    Locale.ROOT,
                                    "adaptive, %s at temperature %.2f",
                                    rule.measure(),
                                    rule.temperature()),
                    points);
        }
        return chart.svg();
    }

    private static PointChart.Point point(EnsemblePasses.Outcome outcome, String label) {
        return new PointChart.Point(
                outcome.meanPasses(), 100 * outcome.accuracy().value(), 0, label);
    }
}
