package tessera.distill.egosim;

import org.jspecify.annotations.Nullable;

/**
 * A box that a detector of hands and objects gives.
 *
 * @param left and the three others: bounds as shares of the frame, in [0, 1], {@code left < right} and {@code top < bottom}
 * @param score how sure the detector is, in (0, 1]
 * @param kind {@link #OBJECT} or {@link #HAND}
 * @param side of a hand: {@link #LEFT} or {@link #RIGHT}; 0 for an object
 * @param state of a hand: {@link #FREE} or {@link #TOUCHING}; 0 for an object
 */
record Box(double left, double top, double right, double bottom, double score, int kind, int side, int state) {
    /** Boxes of a frame, as the networks take them. */
    static final int COUNT = 14;

    /** Numbers of a box. */
    static final int CHANNELS = 8;

    static final int OBJECT = 1;
    static final int HAND = 2;
    static final int LEFT = 1;
    static final int RIGHT = 2;

    /** 1 more than the numbers of "Understanding human hands in contact at internet scale" (2020), since 0 is padding. */
    static final int FREE = 1;

    /** It touches a portable object. */
    static final int TOUCHING = 4;

    private static final float THIN = 1e-9f;

    /** Writes a frame of boxes, those that are there first, then padding. */
    static void write(@Nullable Box[] boxes, float[] sample, int frame) {
        int o = frame * COUNT * CHANNELS;
        int end = o + COUNT * CHANNELS;
        for (Box box : boxes) {
            if (box != null) {
                sample[o] = (float) box.left;
                sample[o + 1] = (float) box.top;
                sample[o + 2] = (float) box.right;
                sample[o + 3] = (float) box.bottom;
                sample[o + 4] = (float) box.score;
                sample[o + 5] = box.kind;
                sample[o + 6] = box.side;
                sample[o + 7] = box.state;
                o += CHANNELS;
            }
        }
        for (; o < end; o += CHANNELS) {
            sample[o + 2] = THIN;
            sample[o + 3] = THIN;
        }
    }

    double width() {
        return right - left;
    }

    double height() {
        return bottom - top;
    }

    boolean isHand() {
        return kind == HAND;
    }
}
