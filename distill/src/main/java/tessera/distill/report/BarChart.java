package tessera.distill.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;

/** Bars from 0 in groups, one bar of each series in a group, with intervals. */
public final class BarChart {
    private static final double GAP = 0.28;
    private static final double LABEL_WIDTH = 30;

    private record Series(String name, double[] values, double[] intervals) {}

    private record Reference(double y, String label) {}

    private final String title;
    private final Axis yAxis;
    private final List<String> groups;
    private final List<Series> series = new ArrayList<>();
    private @Nullable Reference reference;

    /**
     * An empty chart.
     *
     * @param title what the chart shows, read out by screen readers
     * @param groups names below the groups; long ones are broken at spaces
     */
    public BarChart(String title, Axis yAxis, List<String> groups) {
        if (yAxis.logarithmic()) {
            throw new IllegalArgumentException("bar_chart: bars begin at 0; pass a linear axis");
        }
        this.title = title;
        this.yAxis = yAxis;
        this.groups = List.copyOf(groups);
    }

    /**
     * Adds a bar to each group.
     *
     * @param values height in each group, 0 or more; NaN draws no bar
     * @param intervals half width of each interval, 0 for none
     * @throws IllegalArgumentException if there is not one of each for every group, or a value is negative
     */
    public BarChart series(String name, double[] values, double[] intervals) {
        if (values.length != groups.size() || intervals.length != groups.size()) {
            throw new IllegalArgumentException(
                    "bar_chart: series " + name + " has " + values.length + " values and " + intervals.length
                            + " intervals for " + groups.size() + " groups; pass one of each for every group");
        }
        for (double v : values) {
            if (v < 0) {
                throw new IllegalArgumentException(
                        "bar_chart: series " + name + " has the value " + v + "; bars stand on 0, so pass 0 or more");
            }
        }
        series.add(new Series(name, values.clone(), intervals.clone()));
        return this;
    }

    /** Draws a dashed horizontal line, such as the accuracy of chance. */
    public BarChart reference(double y, String label) {
        reference = new Reference(y, label);
        return this;
    }

    /** The chart as an SVG element. */
    public String svg() {
        Scale.Range range = new Scale.Range(false);
        range.include(0);
        for (Series s : series) {
            for (int g = 0; g < groups.size(); g++) {
                range.include(s.values[g] + s.intervals[g]);
            }
        }
        if (reference != null) {
            range.include(reference.y);
        }
        Frame frame = new Frame(title, series.stream().map(Series::name).toList(), yAxis, range);
        Scale y = frame.y;
        // The name of the reference line stands to the right of all bars.
        double right = Frame.RIGHT - (reference == null ? 0 : Svg.textWidth(reference.label) + 4);
        double groupWidth = (right - frame.left) / Math.max(1, groups.size());
        double barWidth = Math.min(64, groupWidth * (1 - GAP) / Math.max(1, series.size()));
        for (int g = 0; g < groups.size(); g++) {
            double middle = frame.left + (g + 0.5) * groupWidth;
            double x = middle - barWidth * series.size() / 2;
            for (int i = 0; i < series.size(); i++) {
                drawBar(frame, y, x + i * barWidth, barWidth, i, g);
            }
            drawName(frame.svg, middle, groupWidth - 8, groups.get(g));
        }
        frame.drawBaseLine();
        frame.drawLegend();
        if (reference != null) {
            frame.drawReference(y.at(reference.y), reference.label);
        }
        return frame.svg.finish();
    }

    private void drawBar(Frame frame, Scale y, double x, double width, int index, int group) {
        double value = series.get(index).values[group];
        double interval = series.get(index).intervals[group];
        if (!Double.isFinite(value)) {
            return;
        }
        frame.svg.rect(x + 1, y.at(value), width - 2, Frame.BOTTOM - y.at(value), Svg.colour(index));
        double middle = x + width / 2;
        double head = y.at(value);
        if (interval > 0) {
            head = y.at(value + interval);
            frame.drawInterval(
                    middle, y.at(Math.max(0, value - interval)), head, "currentColor", Math.min(5, width / 4));
        }
        if (width >= LABEL_WIDTH) {
            frame.svg.text(middle, head - 5, "middle", String.format(Locale.ROOT, "%.1f", value));
        }
    }

    /** Two lines at most below the axis. */
    private static void drawName(Svg svg, double x, double room, String name) {
        int space = Svg.textWidth(name) <= room ? -1 : middleSpace(name);
        if (space < 0) {
            svg.text(x, Frame.BOTTOM + 18, "middle", name);
        } else {
            svg.text(x, Frame.BOTTOM + 18, "middle", name.substring(0, space));
            svg.text(x, Frame.BOTTOM + 34, "middle", name.substring(space + 1));
        }
    }

    /** The space nearest to the middle, or -1. */
    private static int middleSpace(String name) {
        int best = -1;
        for (int i = name.indexOf(' '); i >= 0; i = name.indexOf(' ', i + 1)) {
            if (best < 0 || Math.abs(2 * i - name.length()) < Math.abs(2 * best - name.length())) {
                best = i;
            }
        }
        return best;
    }
}
