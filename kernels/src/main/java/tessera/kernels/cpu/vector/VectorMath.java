package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Buffer;
import tessera.kernels.DType;

/**
 * Loads, stores and functions of one f32 vector.
 *
 * <p>Everything here gives the same bits whether it is interpreted or compiled: no reduction leaves its order open, and no
 * function is taken from the platform's mathematical library.
 */
final class VectorMath {
    static final VectorSpecies<Float> SPECIES =
            FloatVector.SPECIES_PREFERRED.length() > 16 ? FloatVector.SPECIES_512 : FloatVector.SPECIES_PREFERRED;
    static final int LANES = SPECIES.length();

    private static final ByteOrder ORDER = ByteOrder.nativeOrder();

    private static final VectorShuffle<Float> SWAP_8 = swap(8);
    private static final VectorShuffle<Float> SWAP_4 = swap(4);
    private static final VectorShuffle<Float> SWAP_2 = swap(2);
    private static final VectorShuffle<Float> SWAP_1 = swap(1);

    private static final float LOG2_E = (float) (1 / Math.log(2));
    /** ln 2 with so few digits that small multiples are exact, and the rest. */
    private static final float LN2_HIGH = 0x1.62ep-1f;

    private static final float LN2_LOW = (float) (Math.log(2) - LN2_HIGH);
    /** Adding this rounds to an integer, which then stands in the lowest bits. */
    private static final float ROUNDER = 0x1.8p23f;

    private static final int ROUNDER_BITS = Float.floatToRawIntBits(ROUNDER);
    private static final int EXPONENT_BIAS = 127;
    private static final int MANTISSA_BITS = 23;
    /** Beyond these exp is 0 and infinite. */
    private static final float EXP_LOW = -105;

    private static final float EXP_HIGH = 89;

    /** Where the normal distribution function is 0 or 1 to f32. */
    static final float PHI_END = 5.7f;
    /** Coefficients of P and Q of the normal distribution function, that of u^i in {@code PHI_P_i} and {@code PHI_Q_i}. */
    static final float PHI_P_0 = 3.989422e-01f;

    static final float PHI_P_1 = 3.4941208e-02f;
    static final float PHI_P_2 = 4.7408324e-03f;
    static final float PHI_P_3 = 1.793946e-04f;
    static final float PHI_P_4 = 6.374194e-06f;
    static final float PHI_P_5 = 2.158026e-08f;
    static final float PHI_Q_1 = 2.5425008e-01f;
    static final float PHI_Q_2 = 2.9260717e-02f;
    static final float PHI_Q_3 = 1.9445568e-03f;
    static final float PHI_Q_4 = 7.676813e-05f;
    static final float PHI_Q_5 = 1.164962e-06f;

    private VectorMath() {}

    static boolean isF32(Buffer x) {
        return x.dtype() == DType.F32;
    }

    static @Nullable MemorySegment segment(@Nullable Buffer x) {
        return x == null ? null : x.segment();
    }

    private static VectorShuffle<Float> swap(int distance) {
        return VectorShuffle.fromOp(SPECIES, i -> (i ^ distance) % LANES);
    }

    static FloatVector load(MemorySegment x, long index) {
        return FloatVector.fromMemorySegment(SPECIES, x, index * Float.BYTES, ORDER);
    }

    static FloatVector load(MemorySegment x, long index, VectorMask<Float> mask) {
        return FloatVector.fromMemorySegment(SPECIES, x, index * Float.BYTES, ORDER, mask);
    }

    static void store(FloatVector v, MemorySegment y, long index) {
        v.intoMemorySegment(y, index * Float.BYTES, ORDER);
    }

    static void store(FloatVector v, MemorySegment y, long index, VectorMask<Float> mask) {
        v.intoMemorySegment(y, index * Float.BYTES, ORDER, mask);
    }

    static float get(MemorySegment x, long index) {
        return x.get(ValueLayout.JAVA_FLOAT_UNALIGNED, index * Float.BYTES);
    }

    static void set(MemorySegment y, long index, float value) {
        y.set(ValueLayout.JAVA_FLOAT_UNALIGNED, index * Float.BYTES, value);
    }

    /** The first {@code count} lanes. */
    static VectorMask<Float> first(int count) {
        return SPECIES.indexInRange(0, count);
    }

    static FloatVector all(float value) {
        return FloatVector.broadcast(SPECIES, value);
    }

    /** Largest multiple of the vector length that is at most {@code count}. */
    static long whole(long count) {
        return count & -LANES;
    }

    static int whole(int count) {
        return count & -LANES;
    }

    /** Sum of all lanes in a fixed order; {@code reduceLanes} may add in another one once it is compiled. */
    static float sum(FloatVector v) {
        FloatVector s = v;
        if (LANES > 8) {
            s = s.add(s.rearrange(SWAP_8));
        }
        if (LANES > 4) {
            s = s.add(s.rearrange(SWAP_4));
        }
        if (LANES > 2) {
            s = s.add(s.rearrange(SWAP_2));
        }
        return s.add(s.rearrange(SWAP_1)).lane(0);
    }

    /** Lane-wise maximum that ignores NaN in {@code x}; the one of the Vector API keeps it and costs several times more. */
    static FloatVector max(FloatVector best, FloatVector x) {
        return best.blend(x, x.compare(VectorOperators.GT, best));
    }

    /**
     * e to the power x within 2 ulp, NaN for NaN: x = n ln 2 + r, a polynomial of r (minimax on |r| <= ln 2 / 2), and
     * 2^n in two steps so that the ends of the range come out right.
     */
    static FloatVector exp(FloatVector x) {
        FloatVector bounded = x.blend(EXP_LOW, x.compare(VectorOperators.LT, EXP_LOW));
        bounded = bounded.blend(EXP_HIGH, bounded.compare(VectorOperators.GT, EXP_HIGH));
        FloatVector shifted = bounded.fma(all(LOG2_E), all(ROUNDER));
        FloatVector n = shifted.sub(ROUNDER);
        FloatVector r = n.fma(all(-LN2_HIGH), bounded);
        r = n.fma(all(-LN2_LOW), r);
        FloatVector p = r.fma(all(0.0013814467f), all(0.008368781f));
        p = p.fma(r, all(0.041668393f));
        p = p.fma(r, all(0.1666652f));
        p = p.fma(r, all(0.49999994f));
        p = p.fma(r.mul(r), r).add(1);
        IntVector power = shifted.reinterpretAsInts().sub(ROUNDER_BITS);
        IntVector half = power.lanewise(VectorOperators.ASHR, 1);
        return p.mul(powerOfTwo(half)).mul(powerOfTwo(power.sub(half)));
    }

    private static FloatVector powerOfTwo(IntVector n) {
        return n.add(EXPONENT_BIAS)
                .lanewise(VectorOperators.LSHL, MANTISSA_BITS)
                .reinterpretAsFloats();
    }

    /** The normal distribution function within 2e-7: 1/2 + x P(x^2) / Q(x^2), a minimax fit on |x| <= 5.7. */
    static FloatVector normalCdf(FloatVector x) {
        FloatVector u = x.mul(x);
        FloatVector p = u.fma(all(PHI_P_5), all(PHI_P_4));
        p = p.fma(u, all(PHI_P_3));
        p = p.fma(u, all(PHI_P_2));
        p = p.fma(u, all(PHI_P_1));
        p = p.fma(u, all(PHI_P_0));
        FloatVector q = u.fma(all(PHI_Q_5), all(PHI_Q_4));
        q = q.fma(u, all(PHI_Q_3));
        q = q.fma(u, all(PHI_Q_2));
        q = q.fma(u, all(PHI_Q_1));
        q = q.fma(u, all(1));
        FloatVector phi = x.mul(p).div(q).add(0.5f);
        phi = phi.blend(0, x.compare(VectorOperators.LT, -PHI_END));
        return phi.blend(1, x.compare(VectorOperators.GT, PHI_END));
    }

    /** {@code x Phi(x)}. */
    static FloatVector gelu(FloatVector x) {
        return x.mul(normalCdf(x));
    }
}
