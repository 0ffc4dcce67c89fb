package tessera.kernels;

/**
 * The error function and what is made of it, to full double precision by the rational Chebyshev approximations of W. J. Cody
 * ("Rational Chebyshev approximations for the error function", Mathematics of Computation 23, 1969).
 */
final class Erf {
    private static final double SMALL = 0.46875;
    private static final double ONE_OVER_SQRT_PI = 0.56418958354775628695;

    private static final double[] A = {
        3.16112374387056560E00,
        1.13864154151050156E02,
        3.77485237685302021E02,
        3.20937758913846947E03,
        1.85777706184603153E-1
    };
    private static final double[] B = {
        2.36012909523441209E01, 2.44024637934444173E02, 1.28261652607737228E03, 2.84423683343917062E03
    };
    private static final double[] C = {
        5.64188496988670089E-1, 8.88314979438837594E0, 6.61191906371416295E01, 2.98635138197400131E02,
        8.81952221241769090E02, 1.71204761263407058E03, 2.05107837782607147E03, 1.23033935479799725E03,
        2.15311535474403846E-8
    };
    private static final double[] D = {
        1.57449261107098347E01, 1.17693950891312499E02, 5.37181101862009858E02, 1.62138957456669019E03,
        3.29079923573345963E03, 4.36261909014324716E03, 3.43936767414372164E03, 1.23033935480374942E03
    };
    private static final double[] P = {
        3.05326634961232344E-1,
        3.60344899949804439E-1,
        1.25781726111229246E-1,
        1.60837851487422766E-2,
        6.58749161529837803E-4,
        1.63153871373020978E-2
    };
    private static final double[] Q = {
        2.56852019228982242E00,
        1.87295284992346725E00,
        5.27905102951428412E-1,
        6.05183413124413191E-2,
        2.33520497626869185E-3
    };

    private Erf() {}

    /** {@code 2 / sqrt(pi)} times the integral of {@code exp(-t^2)} from 0 to x. */
    static double erf(double x) {
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
    static double erfc(double x) {
        if (Math.abs(x) <= SMALL) {
            return 1 - small(x);
        }
        return x < 0 ? 2 - complement(-x) : complement(x);
    }

    /** The distribution function of the standard normal, accurate in both tails. */
    static double normalCdf(double x) {
        return 0.5 * erfc(-x * Math.sqrt(0.5));
    }

    /** {@code x Phi(x)} with the normal distribution function Phi. */
    static double gelu(double x) {
        return x * normalCdf(x);
    }

    /** {@link #gelu} to f32 accuracy. */
    static float gelu(float x) {
        return (float) (0.5 * x * (1 + erfFast(x * Math.sqrt(0.5))));
    }

    private static double small(double x) {
        double square = x * x;
        double numerator = A[4] * square;
        double denominator = square;
        for (int i = 0; i < 3; i++) {
            numerator = (numerator + A[i]) * square;
            denominator = (denominator + B[i]) * square;
        }
        return x * (numerator + A[3]) / (denominator + B[3]);
    }

    /** erfc of {@code y > SMALL}. */
    private static double complement(double y) {
        if (y > 27) {
            return 0;
        }
        double ratio = y <= 4 ? middle(y) : tail(y);
        // exp(-y^2) in two factors, because the rounding error of y^2 would be magnified.
        double coarse = Math.floor(y * 16) / 16;
        return Math.exp(-coarse * coarse) * Math.exp(-(y - coarse) * (y + coarse)) * ratio;
    }

    private static double middle(double y) {
        double numerator = C[8] * y;
        double denominator = y;
        for (int i = 0; i < 7; i++) {
            numerator = (numerator + C[i]) * y;
            denominator = (denominator + D[i]) * y;
        }
        return (numerator + C[7]) / (denominator + D[7]);
    }

    private static double tail(double y) {
        double square = 1 / (y * y);
        double numerator = P[5] * square;
        double denominator = square;
        for (int i = 0; i < 4; i++) {
            numerator = (numerator + P[i]) * square;
            denominator = (denominator + Q[i]) * square;
        }
        return (ONE_OVER_SQRT_PI - square * (numerator + P[4]) / (denominator + Q[4])) / y;
    }
}
