package tessera.distill.egosim;

import org.jspecify.annotations.Nullable;
import tessera.distill.data.Boxes;

/**
 * A box that a detector of hands and objects gives.
 *
 * @param left and the three others: bounds as shares of the frame, in [0, 1], {@code left < right} and {@code top < bottom}
 * @param score how sure the detector is, in (0, 1]
 * @param kind {@link Boxes#OBJECT} or {@link Boxes#HAND}
 * @param side of a hand: {@link Boxes#LEFT} or {@link Boxes#RIGHT}; 0 for an object
 * @param state of a hand: {@link #FREE} or {@link #TOUCHING}; 0 for an object
 */
record Box(double left, double top, double right, double bottom, double score, int kind, int side, int state) {
    /** 1 more than the numbers of "Understanding human hands in contact at internet scale" (2020), since 0 is padding. */
    static final int FREE = 1;

    /** It touches a portable object. */
    static final int TOUCHING = 4;

    /** Writes a frame of boxes, those that are there first, then padding. */
    static void write(@Nullable Box[] boxes, float[] sample, int frame) {
        int o = frame * Boxes.PER_FRAME * Boxes.NUMBERS;
        int end = o + Boxes.PER_FRAME * Boxes.NUMBERS;
        for (Box box : boxes) {
            if (box != null) {
                sample[o] = (float) box.left;
                sample[o + 1] = (float) box.top;
                sample[o + 2] = (float) box.right;
                sample[o + 3] = (float) box.bottom;
                sample[o + Boxes.SCORE] = (float) box.score;
                sample[o + Boxes.CLASS] = box.kind;
                sample[o + Boxes.SIDE] = box.side;
                sample[o + Boxes.STATE] = box.state;
                o += Boxes.NUMBERS;
            }
        }
        for (; o < end; o += Boxes.NUMBERS) {
            Boxes.pad(sample, o);
        }
    }

    double width() {
        return right - left;
    }

    double height() {
        return bottom - top;
    }

    boolean isHand() {
        return kind == Boxes.HAND;
    }
}
