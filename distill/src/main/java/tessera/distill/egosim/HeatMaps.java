package tessera.distill.egosim;

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
}
