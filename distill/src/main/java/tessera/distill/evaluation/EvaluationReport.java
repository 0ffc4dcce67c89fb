package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.HtmlReport;

/** What evaluations of one student say, as a page: a table, a reliability diagram of each head, and curves of several ways of looking. */
public final class EvaluationReport {
    private EvaluationReport() {}

    /**
     * One way of looking with what came of it.
     *
     * @param name of the views, such as {@code 2x3} for 2 clips in 3 crops
     * @param views of each clip
     * @param different how many of these show different things: where a clip has no more frames than a model sees, all moments are
     *     the same, and where it is square, all crops
     * @param gflops of all views together
     */
    public record Looked(String name, int views, int different, Gflops gflops, Evaluation evaluation) {}

    /**
     * The page.
     *
     * @param title what was judged
     * @param looked by ascending number of views, at least one; the diagrams are of the last
     */
    public static HtmlReport of(String title, List<Looked> looked) {
        HtmlReport page = new HtmlReport(title);
        page.heading("Accuracy and calibration");
        List<List<String>> rows = new ArrayList<>();
        for (Looked way : looked) {
            rows.addAll(rows(way));
        }
        page.table(
                List.of(
                        "views",
                        "GFLOPs",
                        "without attention",
                        "head",
                        "top-1 (%)",
                        "top-5 (%)",
                        "calibration error (%)",
                        "at a temperature (%)",
                        "temperature"),
                rows,
                "Class scores are averaged over the views of a clip. ± is sqrt(p (100 - p) / n) over the clips. An action is right"
                        + " if its verb and its noun are. GFLOPs are those of a clip, of all matrix products and of those outside"
                        + " attention. Temperatures were fitted on held-out training clips.");
        Looked last = looked.getLast();
        page.heading("Reliability");
        for (Evaluation.OfHead head : last.evaluation.heads()) {
            page.figure(
                    head.reliability().diagram("Reliability of head " + head.head()),
                    "%s, views %s: calibration error %s %% in %d bins; over each bin its share of the clips"
                            .formatted(
                                    head.head(),
                                    last.name,
                                    percent(head.reliability().expectedCalibrationError()),
                                    head.reliability().bins().size()));
            Evaluation.Scaled scaled = head.scaled();
            if (scaled != null) {
                page.figure(
                        scaled.reliability().diagram("Reliability of head " + head.head() + " at its temperature"),
                        "%s at temperature %s, which held-out training clips gave: calibration error %s %%"
                                .formatted(
                                        head.head(),
                                        String.format(Locale.ROOT, "%.3f", scaled.temperature()),
                                        percent(scaled.reliability().expectedCalibrationError())));
            }
        }
        if (looked.size() > 1) {
            page.heading("Accuracy against work");
            AccuracyCurve curve = new AccuracyCurve(
                    title,
                    looked.stream()
                            .map(way -> new AccuracyCurve.Point(
                                    way.views, way.evaluation.accuracy().interval(), way.gflops))
                            .toList());
            AccuracyCurve.charts(List.of(curve)).forEach(chart -> page.figure(chart, ""));
        }
        return page;
    }

    private static List<List<String>> rows(Looked way) {
        List<List<String>> rows = new ArrayList<>();
        for (Evaluation.OfHead head : way.evaluation.heads()) {
            Evaluation.Scaled scaled = head.scaled();
            rows.add(row(
                    way,
                    head.head(),
                    head.top1(),
                    head.top5(),
                    percent(head.reliability().expectedCalibrationError()),
                    scaled == null ? "–" : percent(scaled.reliability().expectedCalibrationError()),
                    scaled == null ? "–" : String.format(Locale.ROOT, "%.3f", scaled.temperature())));
        }
        ActionAccuracy action = way.evaluation.action();
        if (action != null) {
            rows.add(row(way, "action", action.all(), null, "–", "–", "–"));
            addTail(rows, way, "tail verbs", action.tailVerbs());
            addTail(rows, way, "tail nouns", action.tailNouns());
            addTail(rows, way, "action, tail verb and noun", action.tailAnd());
            addTail(rows, way, "action, tail verb or noun", action.tailOr());
        }
        return rows;
    }

    private static void addTail(List<List<String>> rows, Looked way, String name, Share share) {
        if (share.clips() > 0) {
            rows.add(row(way, name, share, null, "–", "–", "–"));
        }
    }

    private static List<String> row(
            Looked way,
            String name,
            Share top1,
            @Nullable Share top5,
            String error,
            String scaled,
            String temperature) {
        return List.of(
                way.name,
                String.format(Locale.ROOT, "%.3f", way.gflops.all()),
                String.format(Locale.ROOT, "%.3f", way.gflops.withoutAttention()),
                name,
                top1.interval().toString(),
                top5 == null ? "–" : top5.interval().toString(),
                error,
                scaled,
                temperature);
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.2f", 100 * share);
    }
}
