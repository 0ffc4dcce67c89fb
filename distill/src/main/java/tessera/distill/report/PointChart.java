package tessera.distill.report;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Points with vertical intervals and names, such as accuracy against latency; the points of a series are joined. */
public final class PointChart {
    private static final double RADIUS = 4.5;

    /**
     * A point.
     *
     * @param interval half width of the vertical interval, 0 for none
     * @param label text beside the point, empty for none
     */
    public record Point(double x, double y, double interval, String label) {}

    private record Series(String name, List<Point> points, boolean joined) {}

    private record Reference(double y, String label) {}

    private final String title;
    private final Axis xAxis;
    private final Axis yAxis;
    private final List<Series> series = new ArrayList<>();
    private @Nullable Reference reference;

    /**
     * An empty chart.
     *
     * @param title what the chart shows, read out by screen readers
     */
    public PointChart(String title, Axis xAxis, Axis yAxis) {
        this.title = title;
        this.xAxis = xAxis;
        this.yAxis = yAxis;
    }

    /** Adds points of one colour, joined in the order given; points without a place on the axes are left out. */
    public PointChart series(String name, List<Point> points) {
        series.add(new Series(name, List.copyOf(points), true));
        return this;
    }

    /** As {@link #series}, not joined. */
    public PointChart points(String name, List<Point> points) {
        series.add(new Series(name, List.copyOf(points), false));
        return this;
    }

    /** Draws a dashed horizontal line, such as the accuracy of chance. */
    public PointChart reference(double y, String label) {
        reference = new Reference(y, label);
        return this;
    }

    /** The chart as an SVG element. */
    public String svg() {
        Scale.Range xRange = new Scale.Range(xAxis.logarithmic());
        Scale.Range yRange = new Scale.Range(yAxis.logarithmic());
        for (Series s : series) {
            for (Point p : s.points) {
                xRange.include(p.x);
                yRange.include(p.y - p.interval);
                yRange.include(p.y + p.interval);
            }
        }
        if (reference != null) {
            yRange.include(reference.y);
        }
        Frame frame = new Frame(title, series.stream().map(Series::name).toList(), yAxis, yRange);
        Scale x = frame.drawX(xAxis, xRange, 0.07);
        Scale y = frame.y;
        frame.drawLegend();
        LabelPlacer labels = new LabelPlacer(frame.left, frame.top, Frame.RIGHT, Frame.BOTTOM);
        if (reference != null) {
            double at = y.at(reference.y);
            frame.drawReference(at, reference.label);
            double width = Svg.textWidth(reference.label) + 8;
            labels.occupy(Frame.RIGHT - width, at - 18, Frame.RIGHT, at + 2);
        }
        for (int i = 0; i < series.size(); i++) {
            draw(frame, series.get(i).joined, shown(series.get(i), x, y), x, y, Svg.colour(i), labels);
        }
        for (Series s : series) {
            for (Point p : shown(s, x, y)) {
                if (!p.label.isEmpty()) {
                    labels.place(frame.svg, x.at(p.x), y.at(p.y), RADIUS, p.label);
                }
            }
        }
        return frame.svg.finish();
    }

    private static List<Point> shown(Series s, Scale x, Scale y) {
        return s.points.stream().filter(p -> x.shows(p.x) && y.shows(p.y)).toList();
    }

    private static void draw(
            Frame frame, boolean joined, List<Point> points, Scale x, Scale y, String colour, LabelPlacer labels) {
        StringBuilder path = new StringBuilder();
        for (int i = 0; joined && i < points.size(); i++) {
            Point p = points.get(i);
            double px = x.at(p.x);
            double py = y.at(p.y);
            path.append(i == 0 ? 'M' : 'L').append(Svg.number(px)).append(' ').append(Svg.number(py));
            if (i > 0) {
                Point before = points.get(i - 1);
                labels.occupyLine(x.at(before.x), y.at(before.y), px, py);
            }
        }
        if (joined) {
            frame.svg.path(path.toString(), colour, 1.5, 0.55);
        }
        for (Point p : points) {
            double px = x.at(p.x);
            double py = y.at(p.y);
            labels.occupy(px - RADIUS, py - RADIUS, px + RADIUS, py + RADIUS);
            if (p.interval > 0) {
                // On a logarithmic axis the interval may reach below 0, where the axis ends.
                double low = y.shows(p.y - p.interval) ? y.at(p.y - p.interval) : Frame.BOTTOM;
                double high = y.at(p.y + p.interval);
                frame.drawInterval(px, low, high, colour, 4);
                labels.occupy(px - 4, Math.min(low, high), px + 4, Math.max(low, high));
            }
            frame.svg.dot(px, py, RADIUS, colour);
        }
    }
}
