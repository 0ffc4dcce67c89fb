package tessera.distill.egosim;

/** A hand's 21 joints in the usual order: wrist, then thumb, index, middle, ring, little finger from the palm outwards. */
final class Hand {
    static final int JOINTS = 21;

    /** Where each joint hangs. */
    static final int[] PARENT = {-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19};

    /** Radius at each joint in decimetres. */
    static final double[] RADIUS = {
        .27, .2, .145, .125, .1, .19, .11, .1, .085, .19, .115, .105, .085, .19, .11, .1, .08, .17, .1, .085, .07
    };

    private static final double[][] KNUCKLE = {
        {-.24, .28, -.06}, {-.27, .90, 0}, {-.08, .95, .03}, {.11, .90, .01}, {.28, .80, -.04}
    };
    private static final double[][] LENGTH = {
        {.42, .32, .26}, {.44, .27, .22}, {.48, .31, .24}, {.44, .28, .22}, {.35, .2, .18}
    };
    private static final double[] SPREAD = {0, -.16, -.03, .1, .24};

    private Hand() {}

    /** How the fingers are held: 0 stretched to 1 closed, for the index, the other fingers, and the thumb. */
    record Fingers(double index, double others, double thumb, double spread) {
        Fingers towards(Fingers o, double share) {
            return new Fingers(
                    index + share * (o.index - index),
                    others + share * (o.others - others),
                    thumb + share * (o.thumb - thumb),
                    spread + share * (o.spread - spread));
        }
    }

    /**
     * Joint positions, [21 * 3], of a right hand (side 1) or a left one (side -1) whose wrist frame has x away from the
     * right thumb, y along the fingers and z out of the back of the hand.
     */
    static double[] joints(Pose wrist, Fingers fingers, int side, double scale) {
        var local = new double[3 * JOINTS];
        for (int f = 0; f < 5; f++) {
            int first = 1 + 4 * f;
            double[] knuckle = KNUCKLE[f];
            set(local, first, knuckle[0], knuckle[1], knuckle[2]);
            double curl = f == 0 ? fingers.thumb : f == 1 ? fingers.index : fingers.others;
            double bend = 0;
            for (int j = 0; j < 3; j++) {
                double dx;
                double dy;
                double dz;
                if (f == 0) {
                    double inward = .35 * j * curl;
                    dx = -.75 + .75 * curl + inward;
                    dy = .62;
                    dz = -.15 - .75 * curl - .2 * j * curl;
                } else {
                    bend += curl * (j == 0 ? 1.15 : j == 1 ? 1.6 : 1.0) + (j == 0 ? .06 : .1);
                    double spread = SPREAD[f] * fingers.spread;
                    dx = Math.sin(spread) * Math.cos(bend);
                    dy = Math.cos(spread) * Math.cos(bend);
                    dz = -Math.sin(bend);
                }
                double length = LENGTH[f][j] / Math.sqrt(dx * dx + dy * dy + dz * dz);
                int from = 3 * (first + j);
                set(
                        local,
                        first + j + 1,
                        local[from] + length * dx,
                        local[from + 1] + length * dy,
                        local[from + 2] + length * dz);
            }
        }
        var world = new double[3 * JOINTS];
        for (int j = 0; j < JOINTS; j++) {
            double x = scale * side * local[3 * j];
            double y = scale * local[3 * j + 1];
            double z = scale * local[3 * j + 2];
            set(world, j, wrist.mapX(x, y, z), wrist.mapY(x, y, z), wrist.mapZ(x, y, z));
        }
        return world;
    }

    private static void set(double[] points, int joint, double x, double y, double z) {
        points[3 * joint] = x;
        points[3 * joint + 1] = y;
        points[3 * joint + 2] = z;
    }
}
