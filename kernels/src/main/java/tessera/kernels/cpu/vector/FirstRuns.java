package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Functions of {@link VectorRuns} for the first elements of a process, in plain Java and with the same bits. The Vector API is an object
 * and a call for each operation until the second compiler has seen its loops, and then a hundred times slower than loops over an array,
 * which are compiled within milliseconds: without these a first prediction is mostly a wait for that compiler.
 */
final class FirstRuns {
    /** Elements before the Vector API, whose loops then have to get warm in any case, earns its warm-up. */
    private static final int ELEMENTS = 4_000_000;

    /** Counted without a lock: whether a few elements more or less go here makes no difference to the results. */
    private static int left = ELEMENTS;

    private FirstRuns() {}

    /** Whether n elements, which then count, belong here. */
    static boolean take(int n) {
        int now = left;
        if (now <= 0) {
            return false;
        }
        left = now - n;
        return true;
    }

    /** As {@link VectorRuns#exps}. */
    static float exps(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        float[] values = read(x, xStart, n);
        float[] sums = new float[LANES];
        for (int i = 0; i < n; i++) {
            float e = exp(Math.fma(values[i], factor, shift));
            values[i] = e;
            sums[i & (LANES - 1)] += e;
        }
        MemorySegment.copy(values, 0, y, ValueLayout.JAVA_FLOAT_UNALIGNED, yStart * Float.BYTES, n);
        for (int half = LANES / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                sums[i] += sums[i + half];
            }
        }
        return sums[0];
    }

    /** As {@link VectorRuns#max}. */
    static float max(MemorySegment x, long start, int n) {
        float[] values = read(x, start, n);
        float[] best = new float[2 * LANES]; // the lanes of two chains
        Arrays.fill(best, Float.NEGATIVE_INFINITY);
        int end = VectorMath.whole(n);
        for (int i = 0; i < end; i++) {
            int lane = i & (2 * LANES - 1);
            best[lane] = values[i] > best[lane] ? values[i] : best[lane];
        }
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < LANES; i++) {
            float other = best[i + LANES];
            max = Math.max(max, other > best[i] ? other : best[i]);
        }
        for (int i = end; i < n; i++) {
            max = values[i] > max ? values[i] : max;
        }
        return max;
    }

    /** One lane of {@link VectorMath#exp(jdk.incubator.vector.FloatVector)}. */
    private static float exp(float x) {
        float bounded = x < VectorMath.EXP_LOW ? VectorMath.EXP_LOW : x;
        bounded = bounded > VectorMath.EXP_HIGH ? VectorMath.EXP_HIGH : bounded;
        float shifted = Math.fma(bounded, VectorMath.LOG2_E, VectorMath.ROUNDER);
        float n = shifted - VectorMath.ROUNDER;
        float r = Math.fma(n, -VectorMath.LN2_HIGH, bounded);
        r = Math.fma(n, -VectorMath.LN2_LOW, r);
        float p = Math.fma(r, VectorMath.EXP_5, VectorMath.EXP_4);
        p = Math.fma(p, r, VectorMath.EXP_3);
        p = Math.fma(p, r, VectorMath.EXP_2);
        p = Math.fma(p, r, VectorMath.EXP_1);
        p = Math.fma(p, r * r, r) + 1;
        int power = Float.floatToRawIntBits(shifted) - VectorMath.ROUNDER_BITS;
        int half = power >> 1;
        return p * powerOfTwo(half) * powerOfTwo(power - half);
    }

    private static float powerOfTwo(int n) {
        return Float.intBitsToFloat((n + VectorMath.EXPONENT_BIAS) << VectorMath.MANTISSA_BITS);
    }

    private static float[] read(MemorySegment x, long start, int n) {
        float[] values = new float[n];
        MemorySegment.copy(x, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, values, 0, n);
        return values;
    }
}
