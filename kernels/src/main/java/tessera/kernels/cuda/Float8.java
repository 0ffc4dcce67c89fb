package tessera.kernels.cuda;

/**
 * Floats of eight bits, e4m3: a sign, four bits of exponent, three of mantissa, no infinities.
 *
 * <p>Source: Micikevicius et al., "FP8 formats for deep learning", 2022, table 1.
 */
final class Float8 {
    /** The largest. */
    static final float LARGEST = 448;

    private static final int NOT_A_NUMBER = 0x7F;
    /** The exponent of the last bit of the smallest numbers. */
    private static final int LEAST = -9;

    private static final int MANTISSA_BITS = 3;

    private Float8() {}

    /** The nearest, of two as near the even one; {@link #LARGEST} for what is larger. */
    static byte of(float value) {
        int sign = value < 0 || 1 / value < 0 ? 0x80 : 0;
        float size = Math.min(Math.abs(value), LARGEST);
        if (Float.isNaN(size)) {
            return (byte) (sign | NOT_A_NUMBER);
        }
        int last = Math.max(Math.getExponent(size) - MANTISSA_BITS, LEAST);
        // As many of the last bit as there are; one more than the mantissa counts makes the next power of two.
        int steps = (int) Math.rint(Math.scalb(size, -last));
        return (byte) (sign | (((last - LEAST) << MANTISSA_BITS) + steps));
    }

    /** The value of the eight bits. */
    static float value(byte bits) {
        int exponent = (bits >> MANTISSA_BITS) & 0xF;
        int mantissa = bits & 7;
        float size = (bits & NOT_A_NUMBER) == NOT_A_NUMBER
                ? Float.NaN
                : exponent == 0
                        ? Math.scalb((float) mantissa, LEAST)
                        : Math.scalb((float) (8 + mantissa), exponent - 1 + LEAST);
        return bits < 0 ? -size : size;
    }
}
