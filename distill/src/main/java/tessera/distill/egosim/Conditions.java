package tessera.distill.egosim;

/**
 * What of a clip's filming troubles estimators of flow, pose and boxes: the table in {@link Sensors} says how.
 *
 * @param grain the camera's noise over the brightness of what it sees, 1 in a usual home
 * @param shutter seconds for which a frame is exposed
 * @param gloves whether hands are gloved
 * @param clutter things that lie around
 */
record Conditions(double grain, double shutter, boolean gloves, int clutter) {
    private static final double LEAST = .2;
    private static final double LARGEST = 4;

    /** Noise in levels of 255 over eight times the brightness, 0 to 1, within bounds. */
    static double grain(double noise, double brightness) {
        return Math.clamp(noise / (8 * brightness), LEAST, LARGEST);
    }

    /** By how much more than usual estimators err in such noise. */
    double haze() {
        return .6 + .4 * grain;
    }

    /** How far a thing moves while a frame is exposed, in widths of the picture. */
    double blur(double widthsPerSecond) {
        return shutter * widthsPerSecond;
    }
}
