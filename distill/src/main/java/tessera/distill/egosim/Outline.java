package tessera.distill.egosim;

/** Where one thing is in a frame: the bounds of all that is drawn of it, and how much of that can be seen. Used by one thread. */
final class Outline {
    /** Bounds in pixels; they may lie outside the frame, and the lower ones exceed the upper ones where nothing is drawn. */
    double left = Double.POSITIVE_INFINITY;

    double top = Double.POSITIVE_INFINITY;
    double right = Double.NEGATIVE_INFINITY;
    double bottom = Double.NEGATIVE_INFINITY;

    /** Samples of the frame that the thing would fill alone. */
    int covered;

    /** Samples of the frame that show it. */
    int visible;

    /** A disc around a place is drawn. */
    void include(double x, double y, double radius) {
        left = Math.min(left, x - radius);
        top = Math.min(top, y - radius);
        right = Math.max(right, x + radius);
        bottom = Math.max(bottom, y + radius);
    }

    /** The share of the thing's part within the frame that nothing hides. */
    double share() {
        return covered == 0 ? 0 : visible / (double) covered;
    }
}
