package tessera.kernels.cpu.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
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
    static final float PHI_Q_4 = 7.676813e-5f;
    static final float PHI_Q_5 = 1.164962e-6f;

    /** Where the derivative of GELU is 0 or 1 to f32. */
    private static final float SLOPE_END = 6;
    /** Coefficients of P and Q of the derivative of GELU, that of u^i in {@code SLOPE_P_i} and {@code SLOPE_Q_i}. */
    private static final float SLOPE_P_0 = 0.79788464f;

    private static final float SLOPE_P_1 = -0.030760864f;
    private static final float SLOPE_P_2 = 0.014210414f;
    private static final float SLOPE_P_3 = 2.3859386e-5f;
    private static final float SLOPE_P_4 = 3.5851204e-5f;
    private static final float SLOPE_P_5 = 1.9096203e-7f;
    private static final float SLOPE_Q_1 = 0.29478446f;
    private static final float SLOPE_Q_2 = 0.04105836f;
    private static final float SLOPE_Q_3 = 0.0035283857f;
    private static final float SLOPE_Q_4 = 1.9339516e-4f;
    private static final float SLOPE_Q_5 = 8.889702e-6f;

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
        if (LANES == 8) {
            return sumOfEight(v);
        }
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

    /** In the same order. The compiler is done with lanes sooner than with shuffles, so more of a loop finds room in what it compiles at once. */
    private static float sumOfEight(FloatVector v) {
        float even = v.lane(0) + v.lane(4) + (v.lane(2) + v.lane(6));
        return even + (v.lane(1) + v.lane(5) + (v.lane(3) + v.lane(7)));
    }

    /** Lane-wise maximum that ignores NaN in {@code x}; the one of the Vector API keeps it and costs several times more. */
    static FloatVector max(FloatVector best, FloatVector x) {
        return best.blend(x, x.compare(VectorOperators.GT, best));
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

    /**
     * The derivative of GELU, {@code Phi(x) + x phi(x)} with the normal density phi, within 4e-7: 1/2 + x P(x^2) / Q(x^2), a minimax fit on
     * |x| <= 6. As one fraction it takes half the operations of Phi and phi.
     */
    static FloatVector geluSlope(FloatVector x) {
        FloatVector u = x.mul(x);
        FloatVector p = u.fma(all(SLOPE_P_5), all(SLOPE_P_4));
        p = p.fma(u, all(SLOPE_P_3));
        p = p.fma(u, all(SLOPE_P_2));
        p = p.fma(u, all(SLOPE_P_1));
        p = p.fma(u, all(SLOPE_P_0));
        FloatVector q = u.fma(all(SLOPE_Q_5), all(SLOPE_Q_4));
        q = q.fma(u, all(SLOPE_Q_3));
        q = q.fma(u, all(SLOPE_Q_2));
        q = q.fma(u, all(SLOPE_Q_1));
        q = q.fma(u, all(1));
        FloatVector slope = x.mul(p).div(q).add(0.5f);
        slope = slope.blend(0, x.compare(VectorOperators.LT, -SLOPE_END));
        return slope.blend(1, x.compare(VectorOperators.GT, SLOPE_END));
    }

    /** One lane of it, with the same bits. */
    static float geluSlope(float x) {
        float u = x * x;
        float p = Math.fma(u, SLOPE_P_5, SLOPE_P_4);
        p = Math.fma(p, u, SLOPE_P_3);
        p = Math.fma(p, u, SLOPE_P_2);
        p = Math.fma(p, u, SLOPE_P_1);
        p = Math.fma(p, u, SLOPE_P_0);
        float q = Math.fma(u, SLOPE_Q_5, SLOPE_Q_4);
        q = Math.fma(q, u, SLOPE_Q_3);
        q = Math.fma(q, u, SLOPE_Q_2);
        q = Math.fma(q, u, SLOPE_Q_1);
        q = Math.fma(q, u, 1);
        float slope = x * p / q + .5f;
        return x < -SLOPE_END ? 0 : x > SLOPE_END ? 1 : slope;
    }
}
