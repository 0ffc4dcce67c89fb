package tessera.distill.data;

/** Paints the joints of hands as Gaussians of peak 1 into heat maps, the larger value winning where several meet. */
public final class JointMaps {
    /** Joints of a hand: the wrist, then four of each finger from the thumb on. */
    public static final int JOINTS = 21;

    /** In deviations; what lies further from a joint is 0. */
    private static final double REACH = 3;

    private JointMaps() {}

    /**
     * Adds a hand.
     *
     * @param hand x and y of each joint in pixels; joints outside the picture, or NaN, are left out
     * @param height of the picture in pixels
     * @param width of the picture in pixels
     * @param sigma standard deviation in pixels
     * @param maps {@code [rows, columns, 21]} from {@code offset} on
     */
    public static void paint(
            double[] hand, double height, double width, double sigma, int rows, int columns, float[] maps, int offset) {
        double across = width / columns;
        double down = height / rows;
        for (int j = 0; j < JOINTS; j++) {
            double px = hand[2 * j];
            double py = hand[2 * j + 1];
            if (!(px >= 0 && py >= 0 && px < width && py < height)) {
                continue;
            }
            double x = px / across - .5;
            double y = py / down - .5;
            double reachX = REACH * (sigma / across);
            double reachY = REACH * (sigma / down);
            int x0 = Math.max(0, (int) Math.ceil(x - reachX));
            int x1 = Math.min(columns - 1, (int) Math.floor(x + reachX));
            int y0 = Math.max(0, (int) Math.ceil(y - reachY));
            int y1 = Math.min(rows - 1, (int) Math.floor(y + reachY));
            double rateX = rate(sigma / across);
            double rateY = rate(sigma / down);
            for (int v = y0; v <= y1; v++) {
                double vertical = Math.exp(rateY * (v - y) * (v - y));
                for (int u = x0; u <= x1; u++) {
                    float value = (float) (vertical * Math.exp(rateX * (u - x) * (u - x)));
                    int at = offset + (v * columns + u) * JOINTS + j;
                    maps[at] = Math.max(maps[at], value);
                }
            }
        }
    }

    private static double rate(double cells) {
        return -.5 / (cells * cells);
    }
}
