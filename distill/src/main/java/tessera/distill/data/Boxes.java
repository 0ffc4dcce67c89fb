package tessera.distill.data;

import java.util.Arrays;

/**
 * What the numbers of {@link Modality#BOXES} mean: x1, y1, x2, y2 in [0, 1] of the frame's width and height, score, class, side,
 * contact state (Radevski et al., ICCV 2023). Class, side and state are small whole numbers, 0 where they are unknown.
 */
public final class Boxes {
    /** Boxes of a frame, the last of them padding where fewer were found. */
    public static final int PER_FRAME = 14;

    /** Numbers of a box. */
    public static final int NUMBERS = 8;

    /** Place of the score among the numbers of a box. */
    public static final int SCORE = 4;

    /** Place of the class among the numbers of a box. */
    public static final int CLASS = 5;

    /** Place of the side among the numbers of a box. */
    public static final int SIDE = 6;

    /** Place of the contact state among the numbers of a box, 0 to 5. */
    public static final int STATE = 7;

    /** Class of padding. */
    public static final int PADDING = 0;

    /** Class of an object. */
    public static final int OBJECT = 1;

    /** Class of a hand. */
    public static final int HAND = 2;

    /** Side of a left hand. */
    public static final int LEFT = 1;

    /** Side of a right hand. */
    public static final int RIGHT = 2;

    /** Lower right corner of padding, whose upper left corner and other numbers are 0. */
    public static final float PADDING_CORNER = 1e-9f;

    private Boxes() {}

    /** Writes padding over a box that begins at a place of an array. */
    public static void pad(float[] boxes, int at) {
        Arrays.fill(boxes, at, at + NUMBERS, 0);
        boxes[at + 2] = PADDING_CORNER;
        boxes[at + 3] = PADDING_CORNER;
    }

    /** Exchanges left and right of every box of an array; padding stays as it is. */
    static void flip(float[] boxes) {
        for (int at = 0; at < boxes.length; at += NUMBERS) {
            if (boxes[at + CLASS] != PADDING) {
                float left = boxes[at];
                boxes[at] = 1 - boxes[at + 2];
                boxes[at + 2] = 1 - left;
                float side = boxes[at + SIDE];
                boxes[at + SIDE] = side == LEFT ? RIGHT : side == RIGHT ? LEFT : side;
            }
        }
    }
}
