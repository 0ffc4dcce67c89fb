package tessera.kernels.cpu;

/**
 * The error function and what is made of it, to full double precision by the rational Chebyshev approximations of W. J. Cody
 * ("Rational Chebyshev approximations for the error function", Mathematics of Computation 23, 1969).
 */
public final class Erf {
    private static final double SMALL = 0.46875;
    private static final double ONE_OVER_SQRT_PI = 0.5641895835477563;

    private static final double[] A = {
        3.1611237438705655, 113.86415415105016, 377.485237685302, 3209.3775891384694, 0.18577770618460315
    };
    private static final double[] B = {23.601290952344122, 244.02463793444417, 1282.6165260773723, 2844.236833439171};
    private static final double[] C = {
        0.5641884969886701, 8.883149794388377, 66.11919063714163, 298.6351381974001,
        881.952221241769, 1712.0476126340707, 2051.0783778260716, 1230.3393547979972,
        2.1531153547440383e-08
    };
    private static final double[] D = {
        15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903,
        3290.7992357334597, 4362.619090143247, 3439.3676741437216, 1230.3393548037495
    };
    private static final double[] P = {
        0.30532663496123236,
        0.36034489994980445,
        0.12578172611122926,
        0.016083785148742275,
        0.0006587491615298378,
        0.016315387137302097
    };
    private static final double[] Q = {
        2.568520192289822, 1.8729528499234673, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918
    };

    private Erf() {}

    /** {@code 2 / sqrt(pi)} times the integral of {@code exp(-t^2)} from 0 to x. */
    public static double erf(double x) {
        double y = Math.abs(x);
        if (y <= SMALL) {
            return small(x);
        }
        return Math.copySign(1 - complement(y), x);
    }

    /** erf to 1.5e-7, absolute (Abramowitz and Stegun 7.1.26); enough for f32 and faster. */
    static double erfFast(double x) {
        double size = Math.abs(x);
        double t = 1 / (1 + 0.3275911 * size);
        double polynomial =
                t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
        return Math.copySign(1 - polynomial * Math.exp(-size * size), x);
    }

    /** {@code 1 - erf(x)}, accurate where it is small. */
    public static double erfc(double x) {
        if (Math.abs(x) <= SMALL) {
            return 1 - small(x);
        }
        return x < 0 ? 2 - complement(-x) : complement(x);
    }

    /** The distribution function of the standard normal, accurate in both tails. */
    public static double normalCdf(double x) {
        return 0.5 * erfc(-x * Math.sqrt(0.5));
    }

    /** {@code x Phi(x)} with the normal distribution function Phi. */
    public static double gelu(double x) {
        return x * normalCdf(x);
    }

    /** {@link #gelu} to f32 accuracy. */
    public static float gelu(float x) {
        return (float) (0.5 * x * (1 + erfFast(x * Math.sqrt(0.5))));
    }

    private static double small(double x) {
        return ratio(x, A, B, x * x);
    }

    /**
     * {@code factor * N(x) / D(x)}. The last coefficient of each belongs to the lowest power, before it they descend; the highest of N
     * stands behind the lowest, that of D is 1.
     */
    private static double ratio(double factor, double[] n, double[] d, double x) {
        int degree = d.length;
        double numerator = n[degree] * x;
        double denominator = x;
        for (int i = 0; i < degree - 1; i++) {
            numerator = (numerator + n[i]) * x;
            denominator = (denominator + d[i]) * x;
        }
        return factor * (numerator + n[degree - 1]) / (denominator + d[degree - 1]);
    }

    /** erfc of {@code y > SMALL}. */
    private static double complement(double y) {
        if (y > 27) {
            return 0;
        }
        double ratio = y <= 4 ? ratio(1, C, D, y) : tail(y);
        // exp(-y^2) in two factors, because the rounding error of y^2 would be magnified.
        double coarse = Math.floor(y * 16) / 16;
        return Math.exp(-coarse * coarse) * Math.exp(-(y - coarse) * (y + coarse)) * ratio;
    }

    private static double tail(double y) {
        double square = 1 / (y * y);
        return (ONE_OVER_SQRT_PI - ratio(square, P, Q, square)) / y;
    }
}
