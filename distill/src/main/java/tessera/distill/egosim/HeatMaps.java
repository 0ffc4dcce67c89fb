package tessera.distill.egosim;

import java.util.Arrays;
import java.util.List;
import tessera.distill.data.Geometry;
import tessera.distill.data.JointMaps;

/** Heat maps of hands, as a detector of their joints would give them. */
final class HeatMaps {
    private HeatMaps() {}

    /** Adds hands, each 21 (x, y) in image pixels; joints outside the picture, or NaN, are left out. */
    static void paint(List<double[]> hands, Geometry geometry, double sigma, float[] pose, int offset) {
        int cells = geometry.poseSize();
        for (double[] hand : hands) {
            JointMaps.paint(hand, geometry.size(), geometry.size(), sigma, cells, cells, pose, offset);
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
