package tessera.kernels;

/** The error function and what is made of it. */
final class Erf {
    private static final double TWO_OVER_ROOT_PI = 2 / Math.sqrt(Math.PI);

    private Erf() {}

    /**
     * erf to about 1e-15, by the series with positive terms only (Abramowitz and Stegun 7.1.6), which loses no digits by
     * cancellation.
     */
    static double erf(double x) {
        double size = Math.abs(x);
        if (!(size < 6)) {
            return Double.isNaN(x) ? x : Math.copySign(1, x);
        }
        double square = size * size;
        double term = size;
        double sum = size;
        for (int n = 1; term > sum * 1e-17; n++) {
            term *= 2 * square / (2 * n + 1);
            sum += term;
        }
        return Math.copySign(Math.min(1, TWO_OVER_ROOT_PI * Math.exp(-square) * sum), x);
    }

    /** erf to 1.5e-7, absolute (Abramowitz and Stegun 7.1.26); enough for f32 and many times faster. */
    static double erfFast(double x) {
        double size = Math.abs(x);
        double t = 1 / (1 + 0.3275911 * size);
        double polynomial =
                t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
        return Math.copySign(1 - polynomial * Math.exp(-size * size), x);
    }

    /** {@code x Phi(x)} with the normal distribution function Phi. */
    static double gelu(double x) {
        return 0.5 * x * (1 + erf(x * Math.sqrt(0.5)));
    }

    /** {@link #gelu} to f32 accuracy. */
    static float gelu(float x) {
        return (float) (0.5 * x * (1 + erfFast(x * Math.sqrt(0.5))));
    }
}
