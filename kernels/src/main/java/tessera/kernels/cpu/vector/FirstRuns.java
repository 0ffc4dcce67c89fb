package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import tessera.kernels.cpu.Slots;

/**
 * Functions of {@link VectorRuns} and {@link VectorNorms} for the first elements of a process, in plain Java and with the same bits. The
 * Vector API is an object and a call for each operation until the second compiler has seen its loops, and then a hundred times slower than
 * loops over an array, which are compiled within milliseconds: without these a first prediction is mostly a wait for that compiler.
 */
final class FirstRuns extends HeapArray {
    /**
     * Elements before the Vector API, whose loops then have to get warm in any case, earns its warm-up. A few clips have no more: of seven,
     * computing took half as long as with 4 million, of which a process had the warm-up of both, and longer again with twice as many.
     */
    private static final int ELEMENTS = 80_000_000;
    /** Longer runs than models have; the arrays that they would need stay on the heap. */
    private static final int LONGEST = 1 << 16;
    /** Vectors whose maxima are taken apart. */
    private static final int CHAINS = 4;

    /** Counted without a lock: whether a few elements more or less go here makes no difference to the results. */
    private static int left = ELEMENTS;

    private static final Slots<FirstRuns> POOL = new Slots<>(FirstRuns::new, arrays -> {});

    private final float[] lanes = new float[CHAINS * LANES];

    private FirstRuns() {}

    /** Whether n elements, which then count, belong here. */
    static boolean take(int n) {
        int now = left;
        if (now <= 0 || n > LONGEST) {
            return false;
        }
        left = now - n;
        return true;
    }

    /** As {@link VectorRuns#exps}. */
    static float exps(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        FirstRuns arrays = POOL.borrow();
        arrays.read(x, xStart, n);
        float sum = arrays.exps(n, factor, shift);
        arrays.write(y, yStart, n);
        POOL.giveBack(arrays);
        return sum;
    }

    private float exps(int n, float factor, float shift) {
        Arrays.fill(lanes, 0);
        for (int i = 0; i < n; i++) {
            float e = exp(Math.fma(values[i], factor, shift));
            values[i] = e;
            lanes[i & (LANES - 1)] += e;
        }
        return total(LANES);
    }

    /** As {@link VectorRuns#sum}. */
    static float sum(MemorySegment x, long start, int n) {
        FirstRuns arrays = POOL.borrow();
        arrays.read(x, start, n);
        float sum = arrays.sum(n);
        POOL.giveBack(arrays);
        return sum;
    }

    private float sum(int n) {
        Arrays.fill(lanes, 0);
        int together = n / (2 * LANES) * (2 * LANES);
        for (int i = 0; i < n; i++) {
            lanes[i < together ? i % (2 * LANES) : i % LANES] += values[i];
        }
        return total(2 * LANES);
    }

    /** As {@link VectorRuns#squares}. */
    static float squares(MemorySegment x, long start, int n, float mean) {
        FirstRuns arrays = POOL.borrow();
        arrays.read(x, start, n);
        float sum = arrays.squares(n, mean);
        POOL.giveBack(arrays);
        return sum;
    }

    private float squares(int n, float mean) {
        Arrays.fill(lanes, 0);
        int together = n / (2 * LANES) * (2 * LANES);
        for (int i = 0; i < n; i++) {
            int lane = i < together ? i % (2 * LANES) : i % LANES;
            float d = values[i] - mean;
            lanes[lane] = Math.fma(d, d, lanes[lane]);
        }
        return total(2 * LANES);
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
        FirstRuns arrays = POOL.borrow();
        FirstRuns scales = POOL.borrow();
        FirstRuns shifts = POOL.borrow();
        arrays.read(x, start, n);
        scales.read(gamma, 0, n);
        shifts.read(beta, 0, n);
        for (int i = 0; i < n; i++) {
            arrays.values[i] = Math.fma((arrays.values[i] - mean) * rstd, scales.values[i], shifts.values[i]);
        }
        arrays.write(y, start, n);
        POOL.giveBack(arrays);
        POOL.giveBack(scales);
        POOL.giveBack(shifts);
    }

    /** Of the first lanes, a power of two, in the order of {@link VectorMath#sum}. */
    private float total(int count) {
        for (int half = count / 2; half > 0; half /= 2) {
            for (int i = 0; i < half; i++) {
                lanes[i] += lanes[i + half];
            }
        }
        return lanes[0];
    }

    /** As {@link VectorRuns#max}. */
    static float max(MemorySegment x, long start, int n) {
        FirstRuns arrays = POOL.borrow();
        arrays.read(x, start, n);
        float max = arrays.max(n);
        POOL.giveBack(arrays);
        return max;
    }

    private float max(int n) {
        int end = VectorMath.whole(n);
        int four = end - end % lanes.length;
        float max = Math.max(max(0, four, lanes.length), max(four, end, LANES));
        for (int i = end; i < n; i++) {
            max = larger(max, values[i]);
        }
        return max;
    }

    /** Largest of the values from {@code start} to {@code end}, taken in turn by {@code chains} lanes. */
    private float max(int start, int end, int chains) {
        float[] best = lanes;
        Arrays.fill(best, Float.NEGATIVE_INFINITY);
        for (int i = start; i < end; i++) {
            int lane = (i - start) % chains;
            best[lane] = larger(best[lane], values[i]);
        }
        float max = Float.NEGATIVE_INFINITY;
        for (int i = 0; i < LANES; i++) {
            float first = larger(best[i], best[i + LANES]);
            float second = larger(best[i + 2 * LANES], best[i + 3 * LANES]);
            max = Math.max(max, larger(first, second));
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

    /** As {@link VectorRuns#gelu}. */
    static void gelu(MemorySegment y, long start, int n) {
        FirstRuns arrays = POOL.borrow();
        arrays.read(y, start, n);
        for (int i = 0; i < n; i++) {
            arrays.values[i] *= normalCdf(arrays.values[i]);
        }
        arrays.write(y, start, n);
        POOL.giveBack(arrays);
    }

    /** One lane of {@link VectorMath#normalCdf}. */
    private static float normalCdf(float x) {
        float u = x * x;
        float p = Math.fma(u, VectorMath.PHI_P_5, VectorMath.PHI_P_4);
        p = Math.fma(p, u, VectorMath.PHI_P_3);
        p = Math.fma(p, u, VectorMath.PHI_P_2);
        p = Math.fma(p, u, VectorMath.PHI_P_1);
        p = Math.fma(p, u, VectorMath.PHI_P_0);
        float q = Math.fma(u, VectorMath.PHI_Q_5, VectorMath.PHI_Q_4);
        q = Math.fma(q, u, VectorMath.PHI_Q_3);
        q = Math.fma(q, u, VectorMath.PHI_Q_2);
        q = Math.fma(q, u, VectorMath.PHI_Q_1);
        q = Math.fma(q, u, 1);
        float phi = x * p / q + .5f;
        return x < -VectorMath.PHI_END ? 0 : x > VectorMath.PHI_END ? 1 : phi;
    }

    /** One lane of {@link VectorMath#max}. */
    private static float larger(float best, float x) {
        return x > best ? x : best;
    }
}
