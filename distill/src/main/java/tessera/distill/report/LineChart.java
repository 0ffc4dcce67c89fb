package tessera.distill.report;

import java.util.ArrayList;
import java.util.List;

/**
 * Curves over a common x axis, such as losses over steps.
 *
 * <p>A series with more points than the chart can show is reduced to means over stretches of equal length, with the raw
 * values in a fainter line behind, cut off where they leave the chart. Points that are not finite, or have no place on a logarithmic axis, interrupt the
 * curve.
 */
public final class LineChart {
    private static final int SHOWN_POINTS = 120;
    private static final int RAW_POINTS = 1200;

    private record Series(String name, double[] x, double[] y) {}

    private final String title;
    private final Axis xAxis;
    private final Axis yAxis;
    private final List<Series> series = new ArrayList<>();

    /**
     * An empty chart.
     *
     * @param title what the chart shows, read out by screen readers
     */
    public LineChart(String title, Axis xAxis, Axis yAxis) {
        this.title = title;
        this.xAxis = xAxis;
        this.yAxis = yAxis;
    }

    /**
     * Adds a curve.
     *
     * @param x ascending
     * @throws IllegalArgumentException if the arrays differ in length
     */
    public LineChart series(String name, double[] x, double[] y) {
        if (x.length != y.length) {
            throw new IllegalArgumentException("line_chart: series " + name + " has " + x.length + " x and " + y.length
                    + " y values; pass as many of each");
        }
        series.add(new Series(name, x.clone(), y.clone()));
        return this;
    }

    /** The chart as an SVG element. */
    public String svg() {
        Scale.Range xRange = new Scale.Range(xAxis.logarithmic());
        Scale.Range yRange = new Scale.Range(yAxis.logarithmic());
        List<Series> smooth = new ArrayList<>();
        for (Series s : series) {
            Series means = thinned(s, SHOWN_POINTS);
            smooth.add(means);
            for (double v : s.x) {
                xRange.include(v);
            }
            for (double v : means.y) {
                yRange.include(v);
            }
        }
        Frame frame = new Frame(title, series.stream().map(Series::name).toList(), yAxis, yRange);
        Scale x = frame.drawX(xAxis, xRange, 0);
        Scale y = frame.y;
        frame.drawLegend();
        for (int i = 0; i < series.size(); i++) {
            Series s = series.get(i);
            if (s.x.length > SHOWN_POINTS) {
                frame.svg.path(path(thinned(s, RAW_POINTS), x, y), Svg.colour(i), 1, 0.3);
            }
        }
        for (int i = 0; i < smooth.size(); i++) {
            frame.svg.path(path(smooth.get(i), x, y), Svg.colour(i), 2, 1);
        }
        return frame.svg.finish();
    }

    /** Means over stretches of equal count; gaps stay gaps only where a whole stretch is not finite. */
    private static Series thinned(Series s, int points) {
        if (s.x.length <= points) {
            return s;
        }
        double[] x = new double[points];
        double[] y = new double[points];
        for (int p = 0; p < points; p++) {
            int from = (int) ((long) p * s.x.length / points);
            int to = (int) ((p + 1L) * s.x.length / points);
            int finite = 0;
            for (int i = from; i < to; i++) {
                x[p] += s.x[i] / (to - from);
                if (Double.isFinite(s.y[i])) {
                    y[p] += s.y[i];
                    finite++;
                }
            }
            y[p] /= finite;
        }
        return new Series(s.name, x, y);
    }

    private static String path(Series s, Scale x, Scale y) {
        StringBuilder path = new StringBuilder();
        boolean drawing = false;
        for (int i = 0; i < s.x.length; i++) {
            boolean shown = x.shows(s.x[i]) && y.shows(s.y[i]);
            if (shown) {
                path.append(drawing ? 'L' : 'M')
                        .append(Svg.number(x.at(s.x[i])))
                        .append(' ')
                        .append(Svg.number(Math.clamp(y.at(s.y[i]), y.toPixel(), y.fromPixel())));
            }
            drawing = shown;
        }
        return path.toString();
    }
}
