package tessera.jmh.peers;

import java.util.Locale;

/** What products are computed in, and how far a result may be from that of f32. */
public enum Precision {
    F32(1e-3),
    BF16(.05),
    /** What rounds right differs by less than .03; where sums of bytes saturate, by .23 and more. */
    INT8(.05);

    private final double tolerance;

    Precision(double tolerance) {
        this.tolerance = tolerance;
    }

    /** The largest root-mean-square difference from our f32, relative to its root mean square, that is taken for rounding. */
    public double tolerance() {
        return tolerance;
    }

    /** As tables and files write it. */
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }
}
