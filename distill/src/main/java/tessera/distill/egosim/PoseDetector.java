package tessera.distill.egosim;

import java.util.Arrays;
import java.util.List;
import tessera.distill.egosim.Hand.Fingers;

/**
 * What a detector makes of hands' true joints: it jitters, misses hands for a while and drops single joints, takes fingers for each other, and
 * sees hands where none are. It gives no confidence: what it finds has heat 1, be it right or wrong. How much it errs depends on speed, blur,
 * occlusion and the clip's {@link Conditions}; the table in {@link Sensors} has the figures. Used by one thread.
 */
final class PoseDetector {
    private static final double FOUND_AGAIN = .4;
    private static final double FALSE_ENDS = .5;

    /** Of fewer joints in the picture no hand is made. */
    private static final int LEAST_JOINTS = 6;

    private final int size;
    private final double frameSeconds;
    private final Conditions conditions;
    private final Draws draws;
    private final double[] quality = new double[2];
    private final boolean[] missing = new boolean[2];
    private double[] falseHand = {};

    /**
     * @param size of the picture in pixels
     * @param frameSeconds from a frame to the next
     */
    PoseDetector(int size, double frameSeconds, Conditions conditions, Draws draws) {
        this.size = size;
        this.frameSeconds = frameSeconds;
        this.conditions = conditions;
        this.draws = draws;
        for (int h = 0; h < 2; h++) {
            quality[h] = draws.uniform(.006, .02) * size;
            missing[h] = draws.chance(.05);
        }
    }

    /**
     * Replaces the true hands of the next frame by found ones.
     *
     * @param hands each 21 (x, y) in pixels; what is not found becomes NaN, and a false hand is added
     * @param next the same hands in the frame after
     * @param hidden of each hand, which of its joints something covers
     */
    void disturb(List<double[]> hands, List<double[]> next, List<boolean[]> hidden) {
        for (int h = 0; h < hands.size(); h++) {
            disturb(h, hands.get(h), speed(hands.get(h), next.get(h)), hidden.get(h));
        }
        boolean shown = falseHand.length > 0;
        if (shown ? !draws.chance(FALSE_ENDS) : draws.chance(.01 * conditions.grain() + .004 * conditions.clutter())) {
            falseHand = shown ? falseHand : invented();
            double[] hand = falseHand.clone();
            jitter(hand, .01 * size * conditions.haze());
            hands.add(hand);
        } else {
            falseHand = new double[0];
        }
    }

    private void disturb(int h, double[] hand, double speed, boolean[] hidden) {
        double covered = 0;
        int inside = 0;
        for (int j = 0; j < Hand.JOINTS; j++) {
            covered += hidden[j] ? 1.0 / Hand.JOINTS : 0;
            inside += isInside(hand[2 * j], hand[2 * j + 1]) ? 1 : 0;
        }
        double outside = 1 - inside / (double) Hand.JOINTS;
        double blur = conditions.blur(speed);
        double gloves = conditions.gloves() ? 1 : 0;
        double lost = Math.min(.6, .02 + .06 * covered + .1 * outside + blur + .05 * gloves);
        missing[h] = missing[h] ? !draws.chance(FOUND_AGAIN) : draws.chance(lost);
        if (draws.chance(Math.min(.5, .01 + .03 * covered + blur + .02 * gloves))) {
            swap(hand);
        }
        double spread = quality[h] * conditions.haze() * (1 + .5 * speed) + .25 * blur * size;
        double shiftX = .7 * spread * draws.normal();
        double shiftY = .7 * spread * draws.normal();
        for (int j = 0; j < Hand.JOINTS; j++) {
            boolean dropped = draws.chance(hidden[j] ? .1 : .02);
            double own = hidden[j] ? 2 * spread : spread;
            hand[2 * j] += shiftX + own * draws.normal();
            hand[2 * j + 1] += shiftY + own * draws.normal();
            if (dropped) {
                hand[2 * j] = Double.NaN;
            }
        }
        if (missing[h] || inside < LEAST_JOINTS) {
            Arrays.fill(hand, Double.NaN);
        }
    }

    /** Mean way of a hand's joints in widths of the picture a second. */
    private double speed(double[] hand, double[] next) {
        double sum = 0;
        int count = 0;
        for (int j = 0; j < Hand.JOINTS; j++) {
            double way = Math.hypot(next[2 * j] - hand[2 * j], next[2 * j + 1] - hand[2 * j + 1]);
            if (!Double.isNaN(way)) {
                sum += way;
                count++;
            }
        }
        return count == 0 ? 0 : sum / count / size / frameSeconds;
    }

    /** Exchanges two neighbouring fingers, all but the thumb. */
    private void swap(double[] hand) {
        int finger = 2 * (5 + 4 * draws.below(3));
        for (int i = finger; i < finger + 8; i++) {
            double other = hand[i + 8];
            hand[i + 8] = hand[i];
            hand[i] = other;
        }
    }

    private void jitter(double[] hand, double spread) {
        for (int i = 0; i < hand.length; i++) {
            hand[i] += spread * draws.normal();
        }
    }

    /** The joints of a hand at any place, turned in any way, a sixth to a third of the picture long. */
    private double[] invented() {
        double curl = draws.uniform(.1, .8);
        Pose turned = Pose.turn(2, draws.uniform(0, 2 * Math.PI)).after(Pose.turn(0, draws.uniform(-.8, .8)));
        Vec[] joints = Hand.joints(turned, new Fingers(curl, curl, .4, .8), draws.sign(), 1);
        // A hand is 1.9 decimetres long.
        double scale = size * draws.uniform(1 / 6.0, 1 / 3.0) / 1.9;
        double x = draws.uniform(.1, .9) * size;
        double y = draws.uniform(.1, .9) * size;
        var hand = new double[2 * Hand.JOINTS];
        for (int j = 0; j < Hand.JOINTS; j++) {
            hand[2 * j] = x + scale * joints[j].x();
            hand[2 * j + 1] = y + scale * joints[j].y();
        }
        return hand;
    }

    private boolean isInside(double x, double y) {
        return x >= 0 && y >= 0 && x < size && y < size;
    }
}
