package tessera.distill.evaluation;

import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import tessera.distill.report.Axis;
import tessera.distill.report.PointChart;

/**
 * The accuracy of one model with more and more views of each clip.
 *
 * @param model its name
 * @param points by ascending number of views
 */
public record AccuracyCurve(String model, List<Point> points) {
    /**
     * One way of looking.
     *
     * @param views of each clip
     * @param accuracy a share in [0, 1] with its interval
     * @param gflops of all views together
     */
    public record Point(int views, Interval accuracy, Gflops gflops) {}

    public AccuracyCurve {
        points = List.copyOf(points);
    }

    /** The charts for a report, as SVG elements: accuracy against views, and against GFLOPs in both conventions. */
    public static List<String> charts(List<AccuracyCurve> curves) {
        return List.of(
                chart(curves, Axis.log("views of a clip"), "against the number of views", Point::views, true),
                chart(
                        curves,
                        Axis.log("GFLOPs of a clip, all matrix products"),
                        "against GFLOPs of all matrix products",
                        point -> point.gflops.all(),
                        false),
                chart(
                        curves,
                        Axis.log("GFLOPs of a clip, without the products within attention"),
                        "against GFLOPs without the products within attention",
                        point -> point.gflops.withoutAttention(),
                        false));
    }

    private static String chart(
            List<AccuracyCurve> curves, Axis x, String against, ToDoubleFunction<Point> place, boolean plain) {
        PointChart chart = new PointChart("Accuracy " + against, x, Axis.linear("accuracy (%)"));
        for (AccuracyCurve curve : curves) {
            chart.series(
                    curve.model,
                    curve.points.stream()
                            .map(point -> new PointChart.Point(
                                    place.applyAsDouble(point),
                                    100 * point.accuracy.mean(),
                                    Double.isNaN(point.accuracy.half()) ? 0 : 100 * point.accuracy.half(),
                                    plain ? "" : label(point.views)))
                            .toList());
        }
        return chart.svg();
    }

    private static String label(int views) {
        return String.format(Locale.ROOT, views == 1 ? "%d view" : "%d views", views);
    }
}
