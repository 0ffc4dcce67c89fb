package tessera.distill.sweep;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.evaluation.Interval;
import tessera.distill.report.Axis;
import tessera.distill.report.HtmlReport;
import tessera.distill.report.Json;
import tessera.distill.report.PointChart;
import tessera.distill.sweep.Result.Measured;
import tessera.distill.train.Settings;
import tessera.tensor.io.AtomicFile;

/**
 * The results of a sweep as CSV, JSON and a page. The Pareto front are the cells than which none is both better and faster.
 *
 * @param title what was swept
 * @param measure what {@link Quality#value} is
 * @param results of all cells
 */
public record SweepReport(String title, String measure, List<Result> results) {
    private static final double MIB = 1 << 20;

    public SweepReport {
        results = List.copyOf(results);
    }

    /** A cell that was measured. */
    public record Point(Cell cell, Measured measured) {
        double percent() {
            return 100 * measured.quality().value().mean();
        }

        double share() {
            return 100 * measured.share();
        }
    }

    /** The cells that were measured, in the order of their times. */
    private List<Point> points() {
        List<Point> points = new ArrayList<>();
        for (Result result : results) {
            Measured measured = result.measured();
            if (measured != null) {
                points.add(new Point(result.cell(), measured));
            }
        }
        points.sort(Comparator.comparingDouble(Point::share)
                .thenComparing(Comparator.comparingDouble(Point::percent).reversed()));
        return points;
    }

    /** The cells than which none takes less time and is at least as good, from the fastest to the best. */
    public List<Point> front() {
        return front(points());
    }

    private static List<Point> front(List<Point> ascending) {
        List<Point> front = new ArrayList<>();
        for (Point point : ascending) {
            if (front.isEmpty() || point.percent() > front.getLast().percent()) {
                front.add(point);
            }
        }
        return front;
    }

    /** The front in words, a line for each cell. */
    public List<String> lines() {
        return front().stream()
                .map(point -> String.format(
                        Locale.ROOT,
                        "%-52s %s %%, %.3f ms (%.1f %% of the unmasked student's), %.3f GFLOPs",
                        name(point.cell),
                        point.measured.quality().value(),
                        point.measured.milliseconds(),
                        point.share(),
                        point.measured.gflops().all()))
                .toList();
    }

    /** Writes {@code sweep.csv}, {@code sweep.json} and {@code report.html} into a folder. */
    public void write(Path folder, Settings settings) {
        write(folder.resolve("sweep.csv"), csv());
        write(folder.resolve("sweep.json"), json(settings) + "\n");
        page().write(folder.resolve("report.html"));
    }

    private static void write(Path file, String text) {
        AtomicFile.write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    private List<String> axes() {
        Set<String> axes = new LinkedHashSet<>();
        results.forEach(result -> axes.addAll(result.cell().words().keySet()));
        return List.copyOf(axes);
    }

    /** A line for each cell; shares and accuracies in [0, 1], nothing where nothing was measured. */
    String csv() {
        List<String> axes = axes();
        List<Point> front = front();
        StringBuilder csv = new StringBuilder();
        List<String> header = new ArrayList<>(axes);
        header.addAll(List.of(
                "value",
                "interval",
                "calibration_error",
                "cosine",
                "milliseconds",
                "share_of_reference",
                "gflops",
                "gflops_without_attention",
                "weight_bytes",
                "call_bytes",
                "on_front",
                "refused"));
        csv.append(String.join(",", header)).append('\n');
        for (Result result : results) {
            List<String> cells = new ArrayList<>();
            axes.forEach(axis -> cells.add(result.cell().words().getOrDefault(axis, "")));
            Measured measured = result.measured();
            if (measured == null) {
                cells.addAll(List.of("", "", "", "", "", "", "", "", "", "", "0"));
            } else {
                Quality quality = measured.quality();
                cells.add(Double.toString(quality.value().mean()));
                cells.add(Double.toString(quality.value().half()));
                cells.add(text(quality.calibrationError()));
                cells.add(text(quality.cosine()));
                cells.add(Double.toString(measured.milliseconds()));
                cells.add(Double.toString(measured.share()));
                cells.add(Double.toString(measured.gflops().all()));
                cells.add(Double.toString(measured.gflops().withoutAttention()));
                cells.add(Long.toString(measured.weightBytes()));
                cells.add(Long.toString(measured.callBytes()));
                cells.add(front.stream().anyMatch(point -> point.cell().equals(result.cell())) ? "1" : "0");
            }
            String refused = result.refused();
            cells.add(refused == null ? "" : refused);
            csv.append(cells.stream().map(SweepReport::quoted).collect(Collectors.joining(",")))
                    .append('\n');
        }
        return csv.toString();
    }

    private static String text(@Nullable Double number) {
        return number == null ? "" : number.toString();
    }

    private static String quoted(String cell) {
        return cell.matches("[^,\"\\r\\n]*") ? cell : "\"" + cell.replace("\"", "\"\"") + "\"";
    }

    String json(Settings settings) {
        Map<String, Object> object = new LinkedHashMap<>();
        object.put("title", title);
        object.put("measure", measure);
        object.put("settings", settings.values());
        object.put("front", front().stream().map(point -> point.cell().words()).toList());
        object.put("results", results);
        return Json.text(object);
    }

    HtmlReport page() {
        List<Point> points = points();
        HtmlReport page = new HtmlReport(title);
        page.heading("What is worth choosing");
        page.paragraph(
                "Each point is one combination of settings. Joined are those than which none is both better and faster. Times"
                        + " are those of a clip in percent of what the unmasked student in f32 takes for one clip by itself, measured side by"
                        + " side.");
        page.figure(
                chart(
                        "Answers against time",
                        Axis.log("time of a clip (% of the unmasked student's)"),
                        points,
                        Point::share),
                "");
        page.figure(
                chart(
                        "Answers against work",
                        Axis.log("GFLOPs of a clip, all matrix products"),
                        points,
                        point -> point.measured.gflops().all()),
                "");
        page.table(header(), rows(front(points)), "The front by time, from the fastest to the best.");
        page.heading("All combinations");
        page.table(
                header(),
                rows(points),
                measure
                        + " with its interval; GFLOPs of a clip, of all matrix products and of those outside attention; memory of the"
                        + " weights, and what a call needs beside them at most.");
        List<Result> refused =
                results.stream().filter(result -> result.refused() != null).toList();
        if (!refused.isEmpty()) {
            page.heading("What does not go together");
            refused.forEach(result -> page.paragraph(name(result.cell()) + ": " + result.refused()));
        }
        return page;
    }

    private String chart(String title, Axis x, List<Point> points, ToDoubleFunction<Point> place) {
        List<Point> ascending = points.stream()
                .sorted(Comparator.comparingDouble(place)
                        .thenComparing(
                                Comparator.comparingDouble(Point::percent).reversed()))
                .toList();
        List<Point> front = front(ascending);
        return new PointChart(title, x, Axis.linear(measure + " (%)"))
                .series("front", shown(front, place, true))
                .points(
                        "others",
                        shown(
                                ascending.stream()
                                        .filter(point -> !front.contains(point))
                                        .toList(),
                                place,
                                false))
                .svg();
    }

    private static List<PointChart.Point> shown(List<Point> points, ToDoubleFunction<Point> place, boolean named) {
        return points.stream()
                .map(point -> new PointChart.Point(
                        place.applyAsDouble(point),
                        point.percent(),
                        named ? half(point.measured.quality().value()) : 0,
                        named ? name(point.cell) : ""))
                .toList();
    }

    private static double half(Interval interval) {
        return Double.isNaN(interval.half()) ? 0 : 100 * interval.half();
    }

    /** The words of a cell with the names of what are numbers. */
    static String name(Cell cell) {
        return cell.words().entrySet().stream()
                .filter(word -> !word.getValue().equals(SweepAxis.NO_STRATEGY))
                .map(word ->
                        word.getValue().matches("[0-9.]+") ? word.getKey() + " " + word.getValue() : word.getValue())
                .collect(Collectors.joining(", "));
    }

    private List<String> header() {
        List<String> header = new ArrayList<>(axes());
        header.addAll(List.of(
                measure + " (%)",
                "calibration error (%)",
                "cosine",
                "ms",
                "of the time (%)",
                "GFLOPs",
                "without attention",
                "weights (MiB)",
                "a call (MiB)"));
        return header;
    }

    private List<List<String>> rows(Collection<Point> points) {
        List<String> axes = axes();
        List<List<String>> rows = new ArrayList<>();
        for (Point point : points) {
            Measured measured = point.measured;
            Double error = measured.quality().calibrationError();
            Double cosine = measured.quality().cosine();
            List<String> row = new ArrayList<>();
            axes.forEach(axis -> row.add(point.cell.words().getOrDefault(axis, "–")));
            row.add(measured.quality().value().toString());
            row.add(error == null ? "–" : decimals(2, 100 * error));
            row.add(cosine == null ? "–" : decimals(4, cosine));
            row.add(decimals(3, measured.milliseconds()));
            row.add(decimals(1, point.share()));
            row.add(decimals(3, measured.gflops().all()));
            row.add(decimals(3, measured.gflops().withoutAttention()));
            row.add(decimals(1, measured.weightBytes() / MIB));
            row.add(decimals(1, measured.callBytes() / MIB));
            rows.add(row);
        }
        return rows;
    }

    private static String decimals(int digits, double value) {
        return String.format(Locale.ROOT, "%." + digits + "f", value);
    }
}
