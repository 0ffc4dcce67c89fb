package tessera.distill.egosim;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.ToDoubleFunction;
import tessera.distill.egosim.Action.HandState;
import tessera.distill.egosim.Action.Moment;

/**
 * What makes a sound in a clip, found in its motion: things that meet, and for each of {@value #STEPS} steps of the clip how fast
 * things move along each other. Speeds in decimetres per second.
 */
final class Touches {
    /** Steps of a clip. */
    static final int STEPS = 800;

    private static final double RATE = STEPS / EgoSim.SECONDS;

    /** Seconds before a meeting of which the fastest approach counts: hands slow down at the last moment. */
    private static final int APPROACH = (int) (.08 * RATE);

    /** A distance in decimetres that counts as none. */
    private static final double NEAR = .03;

    /** What creeps more slowly sticks without a sound. */
    private static final double CREEP = .25;

    /** Acceleration that contents bear without moving, in decimetres per second squared. */
    private static final double CALM = 8;

    /** The angle from upright at which liquids begin to run out. */
    private static final double BRIM = .5;

    /** Who meets. */
    enum Kind {
        /** A hand and the object. */
        HAND,
        /** The object and the table. */
        TABLE,
        /** The object and its lid. */
        LID,
        /** A spoon and the wall of a vessel. */
        SPOON
    }

    /**
     * Two things meet, or part, which is softer.
     *
     * @param speed of the approach, or a lower one that sounds alike
     */
    record Meeting(Kind kind, int step, double speed) {}

    final List<Meeting> meetings = new ArrayList<>();

    /** The object's underside over the table. */
    final double[] scrape = new double[STEPS];

    /** Hands, or what they hold to stir with, over the object. */
    final double[] rub = new double[STEPS];

    /** The lid in its seat. */
    final double[] lid = new double[STEPS];

    /** The object in a hand. */
    final double[] carry = new double[STEPS];

    /** The side of the object that is squeezed, as a share of its width each second. */
    final double[] press = new double[STEPS];

    /** Acceleration of the held object beyond what its contents bear, in decimetres per second squared. */
    final double[] jolt = new double[STEPS];

    /** Liquid that runs out, as a share of all of it each second. */
    final double[] flow = new double[STEPS];

    private final Mesh mesh;
    private final boolean vessel;
    private final Moment[] moments = new Moment[STEPS + 1];

    Touches(Action action, Mesh mesh, Timbre timbre) {
        this.mesh = mesh;
        vessel = timbre.contents() == Timbre.Contents.OPEN_LIQUID;
        Arrays.setAll(moments, i -> action.at(i / (double) STEPS));
        hands();
        table();
        cover();
        contents();
        for (int i = 0; i < STEPS; i++) {
            if (isHeld(i)) {
                press[i] = RATE * Math.abs(moments[i + 1].squash() - moments[i].squash());
            }
        }
    }

    private boolean isHeld(int step) {
        return moments[step].hands().stream().anyMatch(HandState::touches);
    }

    private void hands() {
        for (int side : new int[] {-1, 1}) {
            var gaps = new double[STEPS + 1];
            double before = 0;
            for (int i = 0; i <= STEPS; i++) {
                gaps[i] = Double.POSITIVE_INFINITY;
                for (HandState hand : moments[i].hands()) {
                    gaps[i] = hand.side() == side ? hand.gap() : gaps[i];
                }
            }
            meet(Kind.HAND, gaps, Action.TOUCH, 0);
            for (int i = 0; i < STEPS; i++) {
                for (HandState hand : moments[i].hands()) {
                    if (hand.side() == side && hand.touches()) {
                        Vec slip = slip(i, hand, side);
                        double speed = slip.length();
                        rub[i] += above(speed, CREEP);
                        // A spoon meets the wall wherever it turns across the vessel.
                        if (vessel && before * slip.x() < 0 && speed > CREEP) {
                            meetings.add(new Meeting(Kind.SPOON, i, .3 * speed));
                        }
                        before = slip.x();
                    }
                }
            }
        }
    }

    /** The velocity of a hand's finger tips against the part of the object that is under them. */
    private Vec slip(int i, HandState hand, int side) {
        Vec tips = new Vec(0, .95, -.1);
        Vec from = hand.wrist().map(tips);
        for (HandState next : moments[i + 1].hands()) {
            if (next.side() == side) {
                Vec carried = moments[i + 1].object().map(moments[i].object().back(from));
                return next.wrist().map(tips).minus(carried).times(RATE);
            }
        }
        return Vec.ZERO;
    }

    private void table() {
        var heights = new double[STEPS + 1];
        for (int i = 0; i <= STEPS; i++) {
            Pose pose = moments[i].object();
            double lowest = Double.POSITIVE_INFINITY;
            for (Vec v : mesh.vertices) {
                lowest = Math.min(lowest, pose.up().dot(v));
            }
            heights[i] = lowest + pose.origin().z();
        }
        meet(Kind.TABLE, heights, NEAR, .25);
        double r = .6 * mesh.reach;
        Vec[] base = {new Vec(r, 0, 0), new Vec(-.5 * r, .87 * r, 0), new Vec(-.5 * r, -.87 * r, 0)};
        Vec middle = new Vec(0, 0, .5 * mesh.height);
        for (int i = 0; i < STEPS; i++) {
            if (!isHeld(i)) {
                continue;
            }
            if (heights[i] < NEAR) {
                double speed =
                        Arrays.stream(base).mapToDouble(speed(i)).average().orElse(0);
                scrape[i] = above(speed, CREEP);
            } else {
                carry[i] = above(speed(i).applyAsDouble(middle), CREEP);
            }
        }
    }

    /** How fast a place of the object moves. */
    private ToDoubleFunction<Vec> speed(int i) {
        return p -> RATE
                * moments[i + 1]
                        .object()
                        .map(p)
                        .minus(moments[i].object().map(p))
                        .length();
    }

    private void cover() {
        if (mesh.lid.isEmpty()) {
            return;
        }
        Vec top = new Vec(0, 0, mesh.height);
        var lifted = new double[STEPS + 1];
        Arrays.setAll(lifted, i -> moments[i].lid().map(top).minus(top).length());
        meet(Kind.LID, lifted, NEAR, .5);
        for (int i = 0; i < STEPS; i++) {
            double speed = RATE
                    * moments[i + 1]
                            .lid()
                            .map(top)
                            .minus(moments[i].lid().map(top))
                            .length();
            // A hinge is always in its seat, a lid that lifts only at first.
            double seated = mesh.lidKind == Mesh.Lid.HINGED ? 1 : Math.exp(-lifted[i] / .2);
            lid[i] = isHeld(i) ? seated * above(speed, CREEP) : 0;
        }
    }

    private void contents() {
        Vec middle = new Vec(0, 0, .5 * mesh.height);
        double left = 1;
        for (int i = 1; i < STEPS; i++) {
            if (!isHeld(i)) {
                continue;
            }
            Vec bend = moments[i + 1]
                    .object()
                    .map(middle)
                    .plus(moments[i - 1].object().map(middle))
                    .minus(moments[i].object().map(middle).times(2));
            jolt[i] = above(RATE * RATE * bend.length(), CALM);
            double tilt = Math.acos(Math.clamp(moments[i].object().up().z(), -1, 1));
            flow[i] = left * above(tilt, BRIM);
            left -= flow[i] / RATE;
        }
    }

    /** Finds where a distance falls under a bound, and rises over it. */
    private void meet(Kind kind, double[] distances, double bound, double parting) {
        for (int i = 1; i <= STEPS; i++) {
            boolean met = distances[i] < bound;
            if (met == distances[i - 1] < bound) {
                continue;
            }
            double fastest = 0;
            int from = met ? Math.max(1, i - APPROACH) : i;
            int to = met ? i : Math.min(STEPS, i + APPROACH);
            for (int k = from; k <= to; k++) {
                double speed = RATE * Math.abs(distances[k] - distances[k - 1]);
                fastest = Double.isFinite(speed) ? Math.max(fastest, speed) : fastest;
            }
            double strength = met ? fastest : parting * fastest;
            if (strength > 0) {
                meetings.add(new Meeting(kind, Math.min(i, STEPS - 1), strength));
            }
        }
    }

    private static double above(double value, double bound) {
        return Math.max(0, value - bound);
    }
}
