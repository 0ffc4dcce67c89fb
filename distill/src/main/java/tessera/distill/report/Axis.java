package tessera.distill.report;

/**
 * An axis of a chart.
 *
 * @param label what it measures, with the unit
 * @param logarithmic whether equal ratios rather than equal differences have equal length; values at or below 0 then have
 *     no place and are left out
 */
public record Axis(String label, boolean logarithmic) {
    /** An axis of equal differences. */
    public static Axis linear(String label) {
        return new Axis(label, false);
    }

    /** An axis of equal ratios. */
    public static Axis log(String label) {
        return new Axis(label, true);
    }
}
