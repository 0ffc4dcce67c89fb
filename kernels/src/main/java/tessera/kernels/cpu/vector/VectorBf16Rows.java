package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.SPECIES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.load;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/** Rows of f32 to bf16: to the nearest, ties to even, NaN to a quiet NaN. */
final class VectorBf16Rows {
    /** Whether vectors are used; they are short ones otherwise, of which one more kind is not worth its code. */
    private static final boolean VECTORS = LANES == 8 || LANES == 16;

    private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
    private static final VectorSpecies<Short> SHORTS = LANES == 16 ? ShortVector.SPECIES_256 : ShortVector.SPECIES_128;
    private static final int HALF = 16;
    /** Just below half a step of bf16; a step's own last bit makes it half where that must be. */
    private static final int ALMOST_HALF = 0x7FFF;

    private static final int QUIET_NAN = 0x7FC0;
    private static final float LOG2_E = (float) (1 / Math.log(2));
    /** The power of two that counts as 0. */
    private static final float LEAST_POWER = -127;
    /** Adding this rounds to an integer, which then stands in the lowest bits. */
    private static final float ROUNDER = 0x1.8p23f;

    private static final int MANTISSA_BITS = 23;
    private static final int ONE_BITS = Float.floatToRawIntBits(1);

    private VectorBf16Rows() {}

    /**
     * Rounds {@code count} f32 values.
     *
     * @param at index of the first in x
     * @param to index of the first in y
     */
    static void narrow(MemorySegment x, long at, long count, MemorySegment y, long to) {
        long end = VECTORS ? VectorMath.whole(count) : 0;
        for (long i = 0; i < end; i += LANES) {
            narrow(load(x, at + i), y, to + i);
        }
        for (long i = end; i < count; i++) {
            y.set(ValueLayout.JAVA_SHORT_UNALIGNED, (to + i) * Short.BYTES, narrow(get(x, at + i)));
        }
    }

    /**
     * Rounds rows of {@code count} f32 values that lie {@code stride} elements apart.
     *
     * @param at index of the first in x
     * @param first index in y, which takes them without gaps
     */
    static void narrow(MemorySegment x, long at, long stride, int rows, int count, MemorySegment y, long first) {
        int end = VECTORS ? VectorMath.whole(count) : 0;
        for (int r = 0; r < rows; r++) {
            long from = at + r * stride;
            long to = first + (long) r * count;
            for (int i = 0; i < end; i += LANES) {
                narrow(load(x, from + i), y, to + i);
            }
            for (int i = end; i < count; i++) {
                y.set(ValueLayout.JAVA_SHORT_UNALIGNED, (to + i) * Short.BYTES, narrow(get(x, from + i)));
            }
        }
    }

    private static void narrow(FloatVector v, MemorySegment y, long at) {
        IntVector bits = v.reinterpretAsInts();
        IntVector odd = bits.lanewise(VectorOperators.LSHR, HALF).and(1);
        IntVector rounded = bits.add(odd.add(ALMOST_HALF)).lanewise(VectorOperators.LSHR, HALF);
        VectorMask<Integer> nan = v.test(VectorOperators.IS_NAN).cast(INTS);
        ShortVector narrow = (ShortVector) rounded.blend(QUIET_NAN, nan).convertShape(VectorOperators.I2S, SHORTS, 0);
        narrow.intoMemorySegment(y, at * Short.BYTES, ByteOrder.nativeOrder());
    }

    /**
     * {@code y[first + i] = exp(factor * x[at + i] + shift)} within 1e-4 of itself, for values up to 1, rounded to bf16, and the f32 sum before that
     * rounding. What is below 2^-126 is 0, NaN makes the sum NaN.
     *
     * <p>2^t = 2^n 2^r with t = n + r and a minimax cubic of r on |r| <= 1/2.
     *
     * @param at index of the first element of x
     * @param n of elements
     * @param first index in y
     */
    static float exps(MemorySegment x, long at, int n, float factor, float shift, MemorySegment y, long first) {
        long to = first * Short.BYTES;
        FloatVector f = all(factor * LOG2_E);
        FloatVector s = all(shift * LOG2_E);
        FloatVector sum = all(0);
        int end = VECTORS ? VectorMath.whole(n) : 0;
        for (int i = 0; i < end; i += LANES) {
            FloatVector e = powerOfTwo(load(x, at + i).fma(f, s));
            sum = sum.add(e);
            // Ties go up: they are as good as those to even here, and cheaper.
            IntVector rounded = e.reinterpretAsInts().add(ALMOST_HALF + 1).lanewise(VectorOperators.LSHR, HALF);
            ((ShortVector) rounded.convertShape(VectorOperators.I2S, SHORTS, 0))
                    .intoMemorySegment(y, to + (long) i * Short.BYTES, ByteOrder.nativeOrder());
        }
        float total = VectorMath.sum(sum);
        for (int i = end; i < n; i++) {
            float e = (float) Math.exp(get(x, at + i) * factor + shift);
            total += e;
            y.set(ValueLayout.JAVA_SHORT_UNALIGNED, to + (long) i * Short.BYTES, narrow(e));
        }
        return total;
    }

    private static FloatVector powerOfTwo(FloatVector t) {
        FloatVector bounded = t.blend(LEAST_POWER, t.compare(VectorOperators.LT, LEAST_POWER));
        FloatVector shifted = bounded.add(ROUNDER);
        FloatVector r = bounded.sub(shifted.sub(ROUNDER));
        FloatVector p = r.fma(all(0.05517167f), all(0.24261113f));
        p = p.fma(r, all(0.69326097f));
        p = p.fma(r, all(0.99992806f));
        // The whole number stands in the lowest bits; with the bias -127 becomes the number 0.
        IntVector power = shifted.reinterpretAsInts().lanewise(VectorOperators.LSHL, MANTISSA_BITS);
        return p.mul(power.add(ONE_BITS).reinterpretAsFloats());
    }

    /** The nearest bf16. */
    static short narrow(float value) {
        int bits = Float.floatToRawIntBits(value);
        int rounded = (bits + ALMOST_HALF + (bits >>> HALF & 1)) >>> HALF;
        return (short) (Float.isNaN(value) ? QUIET_NAN : rounded);
    }
}
