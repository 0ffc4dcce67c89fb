package tessera.distill.report;

import java.util.List;

/** The part that all charts share: legend, grid, ticks and axis labels around the place for the data. */
final class Frame {
    static final double WIDTH = 720;
    static final double HEIGHT = 400;
    static final double RIGHT = WIDTH - 16;
    static final double BOTTOM = HEIGHT - 52;
    private static final double LEGEND_LINE = 20;

    private static final int Y_TICKS = 6;

    final Svg svg;
    final double left;
    final double top;

    /** Where values of the y axis are. */
    final Scale y;

    private final List<String> series;

    /**
     * Lays the frame out, with room for the texts of the y axis on the left, and draws that axis.
     *
     * @param series names for the legend; a single series needs none
     */
    Frame(String title, List<String> series, Axis axis, Scale.Range range) {
        List<Double> ticks = range.roundScale(Y_TICKS, 0, 1).ticks(Y_TICKS);
        double widest = ticks.stream()
                .mapToDouble(t -> Svg.textWidth(Scale.format(t)))
                .max()
                .orElse(0);
        this.svg = new Svg(WIDTH, HEIGHT, title);
        this.series = series;
        this.left = Math.ceil(16 + Svg.FONT + 12 + widest);
        this.top = 14 + legend(false);
        this.y = range.roundScale(Y_TICKS, BOTTOM, top);
        for (double tick : ticks) {
            double at = y.at(tick);
            svg.line(left, at, RIGHT, at, "currentColor", 0.14, 1);
            svg.text(left - 8, at + 4, "end", Scale.format(tick));
        }
        svg.verticalText(16, (top + BOTTOM) / 2, axis.label());
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

    /**
     * Draws the x axis.
     *
     * @param room left free on either side, as a share of the values' range
     * @return where values are
     */
    Scale drawX(Axis axis, Scale.Range range, double room) {
        Scale scale = range.scale(room, left, RIGHT);
        for (double tick : scale.ticks(8)) {
            double x = scale.at(tick);
            svg.line(x, top, x, BOTTOM, "currentColor", 0.08, 1);
            svg.line(x, BOTTOM, x, BOTTOM + 4, "currentColor", 0.6, 1);
            svg.text(x, BOTTOM + 18, "middle", Scale.format(tick));
        }
        drawBaseLine();
        svg.text((left + RIGHT) / 2, HEIGHT - 10, "middle", axis.label());
        return scale;
    }

    void drawBaseLine() {
        svg.line(left, BOTTOM, RIGHT, BOTTOM, "currentColor", 0.6, 1);
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
