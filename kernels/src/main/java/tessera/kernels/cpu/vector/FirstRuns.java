package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Functions of {@link VectorRuns} and {@link VectorNorms} for the first elements of a process, in plain Java and with the same bits. The Vector API is an object
 * and a call for each operation until the second compiler has seen its loops, and then a hundred times slower than loops over an array,
 * which are compiled within milliseconds: without these a first prediction is mostly a wait for that compiler.
 */
final class FirstRuns {
    /** Elements before the Vector API, whose loops then have to get warm in any case, earns its warm-up. */
    private static final int ELEMENTS = 4_000_000;
    /** Vectors whose maxima are taken apart. */
    private static final int CHAINS = 4;

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
        write(values, y, yStart);
        return total(sums);
    }

    /** As {@link VectorRuns#sum}. */
    static float sum(MemorySegment x, long start, int n) {
        float[] values = read(x, start, n);
        float[] sums = new float[2 * LANES];
        int together = n / sums.length * sums.length;
        for (int i = 0; i < n; i++) {
            sums[i < together ? i % sums.length : i % LANES] += values[i];
        }
        return total(sums);
    }

    /** As {@link VectorRuns#squares}. */
    static float squares(MemorySegment x, long start, int n, float mean) {
        float[] values = read(x, start, n);
        float[] sums = new float[2 * LANES];
        int together = n / sums.length * sums.length;
        for (int i = 0; i < n; i++) {
            int lane = i < together ? i % sums.length : i % LANES;
            float d = values[i] - mean;
            sums[lane] = Math.fma(d, d, sums[lane]);
        }
        return total(sums);
    }

    /** As {@link VectorNorms#normalise}. */
    static void normalise(
            MemorySegment x,
            long start,
            int n,
            float mean,
            float rstd,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y) {
        float[] values = read(x, start, n);
        float[] scales = read(gamma, 0, n);
        float[] shifts = read(beta, 0, n);
        for (int i = 0; i < n; i++) {
            values[i] = Math.fma((values[i] - mean) * rstd, scales[i], shifts[i]);
        }
        write(values, y, start);
    }

    /** Of lanes, a power of two, in the order of {@link VectorMath#sum}. */
    private static float total(float[] sums) {
        for (int half = sums.length / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                sums[i] += sums[i + half];
            }
        }
        return sums[0];
    }

    /** As {@link VectorRuns#max}. */
    static float max(MemorySegment x, long start, int n) {
        float[] values = read(x, start, n);
        float[] best = new float[CHAINS * LANES];
        Arrays.fill(best, Float.NEGATIVE_INFINITY);
        int end = VectorMath.whole(n);
        int together = end / best.length * best.length;
        for (int i = 0; i < end; i++) {
            int lane = i < together ? i % best.length : i % LANES;
            best[lane] = larger(best[lane], values[i]);
        }
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < LANES; i++) {
            float first = larger(best[i], best[i + LANES]);
            float second = larger(best[i + 2 * LANES], best[i + 3 * LANES]);
            max = Math.max(max, larger(first, second));
        }
        for (int i = end; i < n; i++) {
            max = larger(max, values[i]);
        }
        return max;
    }

    /** One lane of the exponential of {@link VectorRuns}. */
    private static float exp(float x) {
        float scaled = x * VectorRuns.LOG2_E;
        float t = scaled < VectorRuns.LEAST_POWER ? VectorRuns.LEAST_POWER : scaled;
        float shifted = t + VectorRuns.ROUNDER;
        float r = t - (shifted - VectorRuns.ROUNDER);
        float p = Math.fma(r, VectorRuns.POWER_5, VectorRuns.POWER_4);
        p = Math.fma(p, r, VectorRuns.POWER_3);
        p = Math.fma(p, r, VectorRuns.POWER_2);
        p = Math.fma(p, r, VectorRuns.POWER_1);
        p = Math.fma(p, r, 1);
        return p * Float.intBitsToFloat(Float.floatToRawIntBits(shifted) << VectorRuns.MANTISSA_BITS);
    }

    /** One lane of {@link VectorMath#max}. */
    private static float larger(float best, float x) {
        return x > best ? x : best;
    }

    private static void write(float[] values, MemorySegment y, long start) {
        MemorySegment.copy(values, 0, y, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, values.length);
    }

    private static float[] read(MemorySegment x, long start, int n) {
        float[] values = new float[n];
        MemorySegment.copy(x, ValueLayout.JAVA_FLOAT_UNALIGNED, start * Float.BYTES, values, 0, n);
        return values;
    }
}
