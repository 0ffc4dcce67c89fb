package tessera;

import org.junit.jupiter.api.Assertions;

/** The one place where computed numbers are compared with a tolerance; a NaN on either side always fails. */
public final class Close {
    private Close() {}

    /** Absolute difference. */
    public static void within(double actual, double expected, double tol, String what) {
        if (!(Math.abs(actual - expected) <= tol)) {
            Assertions.fail(what + ": got " + actual + ", expected " + expected + " within " + tol);
        }
    }

    /** 2-norm of the difference over the 2-norm of the expected values. */
    public static void relative(double[] actual, double[] expected, double tol, String what) {
        Assertions.assertEquals(expected.length, actual.length, what + ": length");
        double difference = 0;
        double norm = 0;
        int worst = 0;
        for (int i = 0; i < actual.length; i++) {
            double d = actual[i] - expected[i];
            difference += d * d;
            norm += expected[i] * expected[i];
            if (!(Math.abs(d) <= Math.abs(actual[worst] - expected[worst]))) {
                worst = i;
            }
        }
        double bound = tol * Math.sqrt(norm);
        if (!(Math.sqrt(difference) <= bound)) {
            Assertions.fail("%s: relative error %.3g over %.3g; worst at [%d]: got %s, expected %s"
                    .formatted(what, Math.sqrt(difference / norm), tol, worst, actual[worst], expected[worst]));
        }
    }

    /** 2-norm of the difference over the 2-norm of the expected values. */
    public static void relative(float[] actual, float[] expected, double tol, String what) {
        relative(widen(actual), widen(expected), tol, what);
    }

    private static double[] widen(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return wide;
    }
}
