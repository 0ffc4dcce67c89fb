package tessera.distill.egosim;

import java.util.Arrays;

/** A hand's 21 joints in the usual order: wrist, then thumb, index, middle, ring, little finger from the palm outwards. */
final class Hand {
    static final int JOINTS = 21;

    /** Where each joint hangs. */
    static final int[] PARENT = {-1, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19};

    /** Radius at each joint in decimetres. */
    static final double[] RADIUS = {
        .27, .2, .145, .125, .1, .19, .11, .1, .085, .19, .115, .105, .085, .19, .11, .1, .08, .17, .1, .085, .07
    };

    private static final Vec[] KNUCKLE = {
        new Vec(-.24, .28, -.06),
        new Vec(-.27, .90, 0),
        new Vec(-.08, .95, .03),
        new Vec(.11, .90, .01),
        new Vec(.28, .80, -.04)
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
     * The places of the 21 joints of a right hand (side 1) or a left one (side -1) whose wrist frame has x away from the
     * right thumb, y along the fingers and z out of the back of the hand.
     */
    static Vec[] joints(Pose wrist, Fingers fingers, int side, double scale) {
        var local = new Vec[JOINTS];
        local[0] = Vec.ZERO;
        for (int f = 0; f < 5; f++) {
            int first = 1 + 4 * f;
            local[first] = KNUCKLE[f];
            double curl = f == 0 ? fingers.thumb : f == 1 ? fingers.index : fingers.others;
            double spread = SPREAD[f] * fingers.spread;
            double bend = 0;
            for (int j = 0; j < 3; j++) {
                bend += curl * (j == 0 ? 1.15 : j == 1 ? 1.6 : 1.0) + (j == 0 ? .06 : .1);
                Vec way = f == 0
                        ? new Vec(-.75 + .75 * curl + .35 * j * curl, .62, -.15 - .75 * curl - .2 * j * curl)
                        : new Vec(
                                Math.sin(spread) * Math.cos(bend), Math.cos(spread) * Math.cos(bend), -Math.sin(bend));
                local[first + j + 1] = local[first + j].plus(way.times(LENGTH[f][j] / Math.sqrt(way.dot(way))));
            }
        }
        return Arrays.stream(local)
                .map(p -> wrist.map(new Vec(scale * side * p.x(), scale * p.y(), scale * p.z())))
                .toArray(Vec[]::new);
    }
}
