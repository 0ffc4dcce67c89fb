package tessera.distill.data;

import java.util.Optional;

/** Whether positions in a picture are counted in what they are said to be, pixels or shares of it. */
final class Unit {
    /** Shares may lie a little outside. */
    private static final double LARGEST_SHARE = 1.5;

    /** No share lies so far outside. */
    private static final double PIXELS = 10;

    private Unit() {}

    /**
     * What is wrong, or nothing.
     *
     * @param furthest the largest coordinate of all positions, 0 if there are none
     * @param width of the picture that they are in, 1 if they are shares
     * @param height likewise
     */
    static Optional<String> of(double furthest, double width, double height) {
        double side = Math.min(width, height);
        if (furthest > 0 && furthest <= LARGEST_SHARE && side > 2 * LARGEST_SHARE) {
            return Optional.of(
                    "has all its positions between 0 and " + furthest + ", which are shares and no pixels of "
                            + plain(width) + " x " + plain(height) + " (shares have width and height 1)");
        }
        if (furthest > PIXELS && Math.max(width, height) == 1) {
            return Optional.of("has a position at " + furthest
                    + ", which is no share (pixels have the picture's width and" + " height)");
        }
        return Optional.empty();
    }

    private static String plain(double side) {
        return side == Math.rint(side) ? Long.toString((long) side) : Double.toString(side);
    }
}
