package tessera.distill.report;

import java.util.List;

/** The part that all charts share: legend, grid, ticks and axis labels around the place for the data. */
final class Frame {
    static final double WIDTH = 720;
    static final double HEIGHT = 400;
    static final double RIGHT = WIDTH - 16;
    static final double BOTTOM = HEIGHT - 52;
    private static final double LEGEND_LINE = 20;

    final Svg svg;
    final double left;
    final double top;
    private final List<String> series;

    private Frame(Svg svg, double left, double top, List<String> series) {
        this.svg = svg;
        this.left = left;
        this.top = top;
        this.series = series;
    }

    /**
     * Lays the frame out.
     *
     * @param series names for the legend; a single series needs none
     * @param yTicks the y axis' ticks, whose texts decide how much room the left side needs
     */
    static Frame of(String title, List<String> series, List<Double> yTicks) {
        double widest = yTicks.stream()
                .mapToDouble(t -> Svg.textWidth(Scale.format(t)))
                .max()
                .orElse(0);
        double left = Math.ceil(16 + Svg.FONT + 12 + widest);
        Frame plain = new Frame(new Svg(WIDTH, HEIGHT, title), left, 14, series);
        return new Frame(plain.svg, left, 14 + plain.legend(false), series);
    }

    /** The vertical room of the legend; draws it as well if asked. */
    private double legend(boolean draw) {
        if (series.size() < 2) {
            return 0;
        }
        double x = left;
        double y = 14;
        for (int i = 0; i < series.size(); i++) {
            double width = 22 + Svg.textWidth(series.get(i)) + 16;
            if (x > left && x + width > RIGHT) {
                x = left;
                y += LEGEND_LINE;
            }
            if (draw) {
                svg.rect(x, y - 5, 14, 10, Svg.colour(i));
                svg.text(x + 20, y + 4, "start", series.get(i));
            }
            x += width;
        }
        return y + LEGEND_LINE - 14;
    }

    void drawLegend() {
        legend(true);
    }

    void drawX(Axis axis, Scale scale, List<Double> ticks) {
        for (double tick : ticks) {
            double x = scale.at(tick);
            svg.line(x, top, x, BOTTOM, "currentColor", 0.08, 1);
            svg.line(x, BOTTOM, x, BOTTOM + 4, "currentColor", 0.6, 1);
            svg.text(x, BOTTOM + 18, "middle", Scale.format(tick));
        }
        drawBaseLine();
        svg.text((left + RIGHT) / 2, HEIGHT - 10, "middle", axis.label());
    }

    void drawBaseLine() {
        svg.line(left, BOTTOM, RIGHT, BOTTOM, "currentColor", 0.6, 1);
    }

    void drawY(Axis axis, Scale scale, List<Double> ticks) {
        for (double tick : ticks) {
            double y = scale.at(tick);
            svg.line(left, y, RIGHT, y, "currentColor", 0.14, 1);
            svg.text(left - 8, y + 4, "end", Scale.format(tick));
        }
        svg.verticalText(16, (top + BOTTOM) / 2, axis.label());
    }

    /** A dashed horizontal line with a name, such as the accuracy of chance. */
    void drawReference(double y, String label) {
        svg.dashedLine(left, y, RIGHT, y);
        svg.label(RIGHT - Svg.textWidth(label), y - 5, label);
    }

    /** The upright and the two caps of an interval. */
    void drawInterval(double x, double from, double to, String colour, double cap) {
        svg.line(x, from, x, to, colour, 1, 1.5);
        svg.line(x - cap, from, x + cap, from, colour, 1, 1.5);
        svg.line(x - cap, to, x + cap, to, colour, 1, 1.5);
    }
}
