package tessera.distill.egosim;

import java.util.Arrays;
import java.util.List;
import tessera.distill.data.Geometry;

/** Paints joints as Gaussians of peak 1 into [h, w, 21], the larger value winning. */
final class HeatMaps {
    private static final double REACH = 3;

    private HeatMaps() {}

    /** Adds hands, each 21 (x, y) in image pixels; joints outside the picture, or NaN, are left out. */
    static void paint(List<double[]> hands, Geometry geometry, double sigma, float[] pose, int offset) {
        int cells = geometry.poseSize();
        double pixelsPerCell = geometry.size() / (double) cells;
        double cellSigma = sigma / pixelsPerCell;
        for (double[] hand : hands) {
            for (int j = 0; j < Hand.JOINTS; j++) {
                double px = hand[2 * j];
                double py = hand[2 * j + 1];
                if (!isInside(px, py, geometry)) {
                    continue;
                }
                double x = px / pixelsPerCell - .5;
                double y = py / pixelsPerCell - .5;
                int x0 = Math.max(0, (int) Math.ceil(x - REACH * cellSigma));
                int x1 = Math.min(cells - 1, (int) Math.floor(x + REACH * cellSigma));
                int y0 = Math.max(0, (int) Math.ceil(y - REACH * cellSigma));
                int y1 = Math.min(cells - 1, (int) Math.floor(y + REACH * cellSigma));
                double rate = -.5 / (cellSigma * cellSigma);
                for (int v = y0; v <= y1; v++) {
                    double down = Math.exp(rate * (v - y) * (v - y));
                    for (int u = x0; u <= x1; u++) {
                        float value = (float) (down * Math.exp(rate * (u - x) * (u - x)));
                        int o = offset + (v * cells + u) * Hand.JOINTS + j;
                        pose[o] = Math.max(pose[o], value);
                    }
                }
            }
        }
    }

    private static boolean isInside(double x, double y, Geometry geometry) {
        return x >= 0 && y >= 0 && x < geometry.size() && y < geometry.size();
    }

    /** What a detector makes of true joints: it misses hands for a while, drops joints, and jitters. */
    static final class Detector {
        private final Geometry geometry;
        private final Draws draws;
        private final double[] quality = {0, 0};
        private final boolean[] missing = new boolean[2];

        Detector(Geometry geometry, Draws draws) {
            this.geometry = geometry;
            this.draws = draws;
            for (int h = 0; h < 2; h++) {
                quality[h] = draws.uniform(.006, .02) * geometry.size();
                missing[h] = draws.chance(.08);
            }
        }

        void disturb(List<double[]> hands) {
            for (int h = 0; h < hands.size(); h++) {
                missing[h] = missing[h] ? !draws.chance(.4) : draws.chance(.04);
                double[] hand = hands.get(h);
                double shiftX = .7 * quality[h] * draws.normal();
                double shiftY = .7 * quality[h] * draws.normal();
                int inside = 0;
                for (int j = 0; j < Hand.JOINTS; j++) {
                    double x = hand[2 * j];
                    double y = hand[2 * j + 1];
                    inside += isInside(x, y, geometry) ? 1 : 0;
                    boolean dropped = draws.chance(.03);
                    hand[2 * j] = dropped ? Double.NaN : x + shiftX + quality[h] * draws.normal();
                    hand[2 * j + 1] = y + shiftY + quality[h] * draws.normal();
                }
                // A hand mostly out of the picture is not detected at all.
                if (missing[h] || inside < 6) {
                    Arrays.fill(hand, Double.NaN);
                }
            }
        }
    }
}
