package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.first;
import static tessera.kernels.cpu.vector.VectorMath.get;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.store;
import static tessera.kernels.cpu.vector.VectorMath.whole;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** Functions of runs of f32 in memory, on the calling thread. */
final class VectorRuns {
    static final float LOG2_E = (float) (1 / Math.log(2));
    /** The power of two that counts as 0. */
    static final float LEAST_POWER = -127;
    /** Adding this rounds to an integer, which then stands in the lowest bits as the exponent of its power of two. */
    static final float ROUNDER = 0x1.8p23f + 127;

    static final int MANTISSA_BITS = 23;
    /** Coefficients of the polynomial of 2^r, that of r^i in {@code POWER_i}. */
    static final float POWER_1 = 0.693147f;

    static final float POWER_2 = 0.24022247f;
    static final float POWER_3 = 0.05550711f;
    static final float POWER_4 = 0.009671291f;
    static final float POWER_5 = 0.0013269521f;

    private VectorRuns() {}

    /** {@code y[i] += alpha * x[i]}. */
    static void addScaled(float alpha, MemorySegment x, long xFrom, MemorySegment y, long yFrom, long length) {
        FloatVector a = all(alpha);
        long end = whole(length);
        for (long i = 0; i < end; i += LANES) {
            store(load(x, xFrom + i).fma(a, load(y, yFrom + i)), y, yFrom + i);
        }
        if (end < length) {
            addRest(alpha, x, xFrom + end, y, yFrom + end, (int) (length - end));
        }
    }

    private static void addRest(float alpha, MemorySegment x, long xFrom, MemorySegment y, long yFrom, int count) {
        VectorMask<Float> mask = first(count);
        store(load(x, xFrom, mask).fma(all(alpha), load(y, yFrom, mask)), y, yFrom, mask);
    }

    /** {@code y = factor * x + shift} for n elements. */
    static void affine(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(load(x, xStart + i).fma(f, s), y, yStart + i);
        }
        if (end < n) {
            affineRest(x, xStart + end, n - end, factor, shift, y, yStart + end);
        }
    }

    private static void affineRest(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        VectorMask<Float> mask = first(n);
        store(load(x, xStart, mask).fma(all(factor), all(shift)), y, yStart, mask);
    }

    /** Sum of n elements. */
    static float sum(MemorySegment x, long start, int n) {
        FloatVector s0 = all(0);
        FloatVector s1 = s0;
        int i = 0;
        for (; i <= n - 2 * LANES; i += 2 * LANES) {
            s0 = s0.add(load(x, start + i));
            s1 = s1.add(load(x, start + i + LANES));
        }
        for (; i < n; i += LANES) {
            s0 = s0.add(load(x, start + i, first(Math.min(LANES, n - i))));
        }
        return VectorMath.sum(s0.add(s1));
    }

    /** {@code sum of (x[start + i] - mean)^2} for i below n. */
    static float squares(MemorySegment x, long start, int n, float mean) {
        FloatVector s0 = all(0);
        FloatVector s1 = s0;
        int i = 0;
        for (; i <= n - 2 * LANES; i += 2 * LANES) {
            FloatVector d0 = load(x, start + i).sub(mean);
            FloatVector d1 = load(x, start + i + LANES).sub(mean);
            s0 = d0.fma(d0, s0);
            s1 = d1.fma(d1, s1);
        }
        for (; i < n; i += LANES) {
            VectorMask<Float> mask = first(Math.min(LANES, n - i));
            FloatVector d = load(x, start + i, mask).sub(all(mean), mask);
            s0 = d.fma(d, s0);
        }
        return VectorMath.sum(s0.add(s1));
    }

    /** {@code sum of a[start + i] * b[start + i]} for i below n. */
    static float dot(MemorySegment a, MemorySegment b, long start, int n) {
        FloatVector s = all(0);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            s = load(a, start + i).fma(load(b, start + i), s);
        }
        if (end < n) {
            VectorMask<Float> mask = first(n - end);
            s = load(a, start + end, mask).fma(load(b, start + end, mask), s);
        }
        return VectorMath.sum(s);
    }

    /** Largest of n elements, NaN left out. */
    static float max(MemorySegment x, long start, int n) {
        return FirstRuns.take(n) ? FirstRuns.max(x, start, n) : vectorMax(x, start, n);
    }

    /**
     * Both loops are methods of their own, as is in all loops here what is left behind whole vectors: one that the second compiler has not seen
     * running when it compiles the other stays a call then, and is compiled later. Within one method it would be compiled as it stood, with
     * an object for every vector; and where a method has so many operations that the compiler has no room for all of them (its limit of
     * nodes: a mask takes more than anything else), it leaves the last as calls, with such objects too.
     */
    static float vectorMax(MemorySegment x, long start, int n) {
        int end = whole(n);
        int four = end - end % (4 * LANES);
        float max = four > 0 ? maxOfFours(x, start, four) : Float.NEGATIVE_INFINITY;
        if (four < end) {
            max = Math.max(max, maxOfOnes(x, start + four, end - four));
        }
        for (int i = end; i < n; i++) {
            float value = get(x, start + i);
            max = value > max ? value : max;
        }
        return max;
    }

    /** Four chains, because each waits for the comparison before it. */
    private static float maxOfFours(MemorySegment x, long start, int n) {
        FloatVector m0 = all(Float.NEGATIVE_INFINITY);
        FloatVector m1 = m0;
        FloatVector m2 = m0;
        FloatVector m3 = m0;
        for (int i = 0; i < n; i += 4 * LANES) {
            m0 = VectorMath.max(m0, load(x, start + i));
            m1 = VectorMath.max(m1, load(x, start + i + LANES));
            m2 = VectorMath.max(m2, load(x, start + i + 2L * LANES));
            m3 = VectorMath.max(m3, load(x, start + i + 3L * LANES));
        }
        m0 = VectorMath.max(VectorMath.max(m0, m1), VectorMath.max(m2, m3));
        return m0.reduceLanes(VectorOperators.MAX);
    }

    private static float maxOfOnes(MemorySegment x, long start, int n) {
        FloatVector m = all(Float.NEGATIVE_INFINITY);
        for (int i = 0; i < n; i += LANES) {
            m = VectorMath.max(m, load(x, start + i));
        }
        return m.reduceLanes(VectorOperators.MAX);
    }

    /**
     * {@code y[i] = exp(factor * x[i] + shift)} and the sum of that, for n elements; may work in place. What goes into exp is at most 88, as
     * after a maximum was subtracted. All loops over exp go through this one and do nothing else beside: a body with many more vector
     * operations is not compiled well.
     */
    static float exps(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        return FirstRuns.take(n)
                ? FirstRuns.exps(x, xStart, n, factor, shift, y, yStart)
                : vectorExps(x, xStart, n, factor, shift, y, yStart);
    }

    static float vectorExps(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        if (AddressRuns.take(n)) {
            return AddressRuns.exps(x, xStart, n, factor, shift, y, yStart);
        }
        return HeapRuns.take(n)
                ? HeapRuns.exps(x, xStart, n, factor, shift, y, yStart)
                : nativeExps(x, xStart, n, factor, shift, y, yStart);
    }

    static float nativeExps(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        return whole(n) == n
                ? evenExps(x, xStart, n, factor, shift, y, yStart)
                : unevenExps(x, xStart, n, factor, shift, y, yStart);
    }

    /** Of whole vectors, as attention has them: without a mask the method is half as long. */
    private static float evenExps(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        FloatVector sum = all(0);
        for (int i = 0; i < n; i += LANES) {
            FloatVector e = exp(load(x, xStart + i).fma(f, s));
            store(e, y, yStart + i);
            sum = sum.add(e);
        }
        return VectorMath.sum(sum);
    }

    private static float unevenExps(
            MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        FloatVector sum = all(0);
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            FloatVector e = exp(load(x, xStart + i).fma(f, s));
            store(e, y, yStart + i);
            sum = sum.add(e);
        }
        VectorMask<Float> mask = first(n - end);
        FloatVector e = exp(load(x, xStart + end, mask).fma(f, s));
        store(e, y, yStart + end, mask);
        return VectorMath.sum(sum.add(e, mask));
    }

    /** {@code y = y Phi(y)} for n elements. */
    static void gelu(MemorySegment y, long start, int n) {
        if (FirstRuns.take(n)) {
            FirstRuns.gelu(y, start, n);
        } else if (AddressRuns.take(n)) {
            AddressRuns.gelu(y, start, n);
        } else {
            vectorGelu(y, start, n);
        }
    }

    static void vectorGelu(MemorySegment y, long start, int n) {
        int end = whole(n);
        for (int i = 0; i < end; i += LANES) {
            store(VectorMath.gelu(load(y, start + i)), y, start + i);
        }
        if (end < n) {
            geluRest(y, start + end, n - end);
        }
    }

    private static void geluRest(MemorySegment y, long start, int n) {
        VectorMask<Float> mask = first(n);
        store(VectorMath.gelu(load(y, start, mask)), y, start, mask);
    }

    /**
     * e to the power x for x up to 88 within {@code (2 + |x|) 2^-23} of itself, which is enough for weights of a softmax, as those of a
     * large |x| are small beside 1; below 2^-126 it is 0, of NaN it is NaN.
     *
     * <p>2^t = 2^n 2^r with t = x log2 e = n + r and a minimax polynomial of r on |r| <= 1/2.
     */
    static FloatVector exp(FloatVector x) {
        FloatVector t = x.mul(LOG2_E);
        t = t.blend(LEAST_POWER, t.compare(VectorOperators.LT, LEAST_POWER));
        FloatVector shifted = t.add(ROUNDER);
        FloatVector r = t.sub(shifted.sub(ROUNDER));
        FloatVector p = r.fma(all(POWER_5), all(POWER_4));
        p = p.fma(r, all(POWER_3));
        p = p.fma(r, all(POWER_2));
        p = p.fma(r, all(POWER_1));
        p = p.fma(r, all(1));
        return p.mul(shifted.reinterpretAsInts()
                .lanewise(VectorOperators.LSHL, MANTISSA_BITS)
                .reinterpretAsFloats());
    }
}
