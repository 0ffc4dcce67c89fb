package tessera.distill.report;

import java.util.ArrayList;
import java.util.List;

/** Puts labels beside points where they cover as little as possible of what is drawn already. */
final class LabelPlacer {
    private static final double TEXT_HEIGHT = Svg.FONT;
    private static final double LINE_STEP = 4;

    private record Box(double left, double top, double right, double bottom) {
        double overlap(Box other) {
            double width = Math.min(right, other.right) - Math.max(left, other.left);
            double height = Math.min(bottom, other.bottom) - Math.max(top, other.top);
            return width > 0 && height > 0 ? width * height : 0;
        }

        double area() {
            return (right - left) * (bottom - top);
        }
    }

    private final Box bounds;
    private final List<Box> taken = new ArrayList<>();

    LabelPlacer(double left, double top, double right, double bottom) {
        this.bounds = new Box(left, top, right, bottom);
    }

    void occupy(double left, double top, double right, double bottom) {
        taken.add(new Box(left, top, right, bottom));
    }

    void occupyLine(double x1, double y1, double x2, double y2) {
        int pieces = (int) Math.ceil(Math.hypot(x2 - x1, y2 - y1) / LINE_STEP);
        for (int i = 0; i <= pieces; i++) {
            double x = x1 + (x2 - x1) * i / Math.max(1, pieces);
            double y = y1 + (y2 - y1) * i / Math.max(1, pieces);
            taken.add(new Box(x - 1.5, y - 1.5, x + 1.5, y + 1.5));
        }
    }

    /** Draws the label at the best of the places around the point; the first ones win when several are free. */
    void place(Svg svg, double x, double y, double radius, String label) {
        double width = Svg.textWidth(label);
        double best = Double.POSITIVE_INFINITY;
        Box chosen = bounds;
        for (double distance : new double[] {radius + 4, radius + 14}) {
            double slant = distance * 0.75;
            double[][] corners = {
                {x + distance, y - TEXT_HEIGHT / 2},
                {x - distance - width, y - TEXT_HEIGHT / 2},
                {x + slant, y - slant - TEXT_HEIGHT},
                {x + slant, y + slant},
                {x - slant - width, y - slant - TEXT_HEIGHT},
                {x - slant - width, y + slant},
                {x - width / 2, y - distance - TEXT_HEIGHT},
                {x - width / 2, y + distance},
            };
            for (double[] corner : corners) {
                Box box = new Box(corner[0], corner[1], corner[0] + width, corner[1] + TEXT_HEIGHT);
                double cost = cost(box);
                if (cost < best) {
                    best = cost;
                    chosen = box;
                }
            }
        }
        taken.add(chosen);
        svg.label(chosen.left, chosen.bottom - 2, label);
    }

    private double cost(Box box) {
        double covered = 0;
        for (Box other : taken) {
            covered += box.overlap(other);
        }
        // What lies outside the plot would be cut off or run into the ticks, which is worse than covering something.
        return covered + 10 * (box.area() - box.overlap(bounds));
    }
}
