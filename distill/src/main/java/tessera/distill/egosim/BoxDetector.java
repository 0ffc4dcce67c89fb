package tessera.distill.egosim;

import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.Boxes;
import tessera.distill.egosim.Scene.Thing;

/**
 * From things to boxes: the truth, or what a detector makes of it. A detector errs as follows; the figures are our choice, of the
 * order of a good detector's on first-person video, and are not measured on one.
 *
 * <ul>
 *   <li>Corners: each coordinate moves by normal errors of the box's width or height times a quality that is drawn for each clip,
 *       {@value #BEST} to {@value #WORST} in a usual home and more in noise ({@link Conditions#haze}), and grows by half with each width of
 *       the picture that the box moves in a second; {@value #SHARED} of the variance is the whole box's, and moves it.
 *   <li>Missed: a thing is lost for a while, {@value #LOST} of seen frames and the length of its blur in widths of the picture begin such a
 *       while and {@value #FOUND} of lost ones end it; beside that, a frame misses it with the probability {@value #HIDDEN} times its hidden share.
 *   <li>False boxes: a frame has one with the probability {@value #FALSE} and {@value #FALSE_IN_NOISE} times the grain, of any place and size, a hand's one time in five.
 *   <li>Scores: {@code .97 - 3 e - .3 h + .05 n}, where e is the mean error of the coordinates over the box's size, h the hidden share
 *       and n normal; false boxes have a uniform score from .05 to .6. All lie in [.05, 1].
 *   <li>Classes: {@value #TAKEN} of hands, {@value #TAKEN_GLOVES} of gloved ones, are taken for objects and {@value #TAKEN} of objects for hands; {@value #SIDES} of hands get the other
 *       side and {@value #CONTACT} the other state of contact.
 * </ul>
 */
final class BoxDetector {
    static final double BEST = .02;
    static final double WORST = .06;
    static final double SHARED = .5;
    static final double LOST = .02;
    static final double FOUND = .4;
    static final double HIDDEN = .3;
    static final double FALSE = .15;
    static final double FALSE_IN_NOISE = .1;
    static final double TAKEN = .02;
    static final double TAKEN_GLOVES = .06;
    static final double SIDES = .03;
    static final double CONTACT = .08;

    /** What is hidden more than this is no thing to be found. */
    private static final double LEAST_SEEN = .1;

    private static final double LEAST_SCORE = .05;

    private final double frameSeconds;
    private final Conditions conditions;
    private final Draws draws;
    private final double quality;
    private final boolean[] lost = new boolean[Boxes.PER_FRAME];
    /** The true boxes of the frame before. */
    private @Nullable Box[] before = new @Nullable Box[Boxes.PER_FRAME];

    /** @param frameSeconds from a frame to the next */
    BoxDetector(double frameSeconds, Conditions conditions, Draws draws) {
        this.frameSeconds = frameSeconds;
        this.conditions = conditions;
        this.draws = draws;
        quality = draws.uniform(BEST, WORST) * conditions.haze();
        for (int i = 0; i < lost.length; i++) {
            lost[i] = draws.chance(LOST / (LOST + FOUND));
        }
    }

    /**
     * The true boxes of a frame, each at its thing's place, null where a thing is not to be seen.
     *
     * @param size of the frame in pixels
     */
    static @Nullable Box[] truth(List<Thing> things, int size) {
        var boxes = new @Nullable Box[Boxes.PER_FRAME];
        for (Thing thing : things) {
            boxes[thing.place()] = box(thing, size);
        }
        return boxes;
    }

    private static @Nullable Box box(Thing thing, int size) {
        Outline outline = thing.outline();
        double left = Math.max(0, outline.left / size);
        double top = Math.max(0, outline.top / size);
        double right = Math.min(1, outline.right / size);
        double bottom = Math.min(1, outline.bottom / size);
        boolean seen = outline.visible > 0 && outline.share() >= LEAST_SEEN;
        if (!seen || !(right > left && bottom > top)) {
            return null;
        }
        if (thing.side() == 0) {
            return new Box(left, top, right, bottom, 1, Boxes.OBJECT, 0, 0);
        }
        int side = thing.side() > 0 ? Boxes.RIGHT : Boxes.LEFT;
        return new Box(left, top, right, bottom, 1, Boxes.HAND, side, thing.touching() ? Box.TOUCHING : Box.FREE);
    }

    /** Replaces the next frame's true boxes by found ones. */
    void disturb(@Nullable Box[] boxes, List<Thing> things) {
        var hidden = new double[Boxes.PER_FRAME];
        for (Thing thing : things) {
            hidden[thing.place()] = 1 - thing.outline().share();
        }
        @Nullable Box[] truth = boxes.clone();
        for (int i = 0; i < boxes.length; i++) {
            Box box = truth[i];
            double speed = speed(before[i], box);
            double loses = Math.min(.6, LOST + conditions.blur(speed));
            lost[i] = lost[i] ? !draws.chance(FOUND) : draws.chance(loses);
            boolean missed = lost[i] || draws.chance(HIDDEN * hidden[i]);
            boxes[i] = box == null || missed ? null : found(box, hidden[i], speed);
        }
        before = truth;
        if (draws.chance(Math.min(.6, FALSE + FALSE_IN_NOISE * conditions.grain()))) {
            // Frames never hold so many things that one has this place.
            boxes[Boxes.PER_FRAME - 1] = invented();
        }
    }

    /** In widths of the picture a second; 0 where a thing was not to be seen before. */
    private double speed(@Nullable Box from, @Nullable Box to) {
        if (from == null || to == null) {
            return 0;
        }
        double x = from.left() + from.right() - to.left() - to.right();
        double y = from.top() + from.bottom() - to.top() - to.bottom();
        return .5 * Math.hypot(x, y) / frameSeconds;
    }

    private Box found(Box box, double hidden, double speed) {
        double spread = quality * (1 + .5 * speed);
        double shared = spread * Math.sqrt(SHARED);
        double own = spread * Math.sqrt(1 - SHARED);
        double x = shared * draws.normal();
        double y = shared * draws.normal();
        double[] errors = {
            x + own * draws.normal(), y + own * draws.normal(), x + own * draws.normal(), y + own * draws.normal()
        };
        double sum = 0;
        for (double error : errors) {
            sum += Math.abs(error);
        }
        double score = Math.clamp(.97 - 3 * sum / errors.length - .3 * hidden + .05 * draws.normal(), LEAST_SCORE, 1);
        double taken = box.isHand() && conditions.gloves() ? TAKEN_GLOVES : TAKEN;
        boolean hand = box.isHand() != draws.chance(taken);
        int side = 0;
        int state = 0;
        if (hand) {
            boolean right = box.isHand() ? (box.side() == Boxes.RIGHT) != draws.chance(SIDES) : draws.chance(.5);
            boolean touching = box.isHand() ? (box.state() == Box.TOUCHING) != draws.chance(CONTACT) : draws.chance(.5);
            side = right ? Boxes.RIGHT : Boxes.LEFT;
            state = touching ? Box.TOUCHING : Box.FREE;
        }
        return bounded(
                box.left() + errors[0] * box.width(),
                box.top() + errors[1] * box.height(),
                box.right() + errors[2] * box.width(),
                box.bottom() + errors[3] * box.height(),
                score,
                hand ? Boxes.HAND : Boxes.OBJECT,
                side,
                state);
    }

    private Box invented() {
        double width = draws.uniform(.05, .4);
        double height = draws.uniform(.05, .4);
        double left = draws.uniform(0, 1 - width);
        double top = draws.uniform(0, 1 - height);
        double score = draws.uniform(LEAST_SCORE, .6);
        boolean hand = draws.chance(.2);
        int side = hand ? draws.pick(Boxes.LEFT, Boxes.RIGHT) : 0;
        int state = hand ? draws.pick(Box.FREE, Box.TOUCHING) : 0;
        return bounded(left, top, left + width, top + height, score, hand ? Boxes.HAND : Boxes.OBJECT, side, state);
    }

    /** A box within the frame that is not empty. */
    private static Box bounded(
            double left, double top, double right, double bottom, double score, int kind, int side, int state) {
        double least = 1e-3;
        double x = Math.clamp(left, 0, 1 - least);
        double y = Math.clamp(top, 0, 1 - least);
        return new Box(
                x, y, Math.clamp(right, x + least, 1), Math.clamp(bottom, y + least, 1), score, kind, side, state);
    }
}
