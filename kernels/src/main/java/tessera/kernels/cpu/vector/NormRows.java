package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.load;
import static tessera.kernels.cpu.vector.VectorMath.set;
import static tessera.kernels.cpu.vector.VectorMath.store;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/**
 * Layer norm of two rows at a time, whose sums do not wait for one another, with the bits of one row at a time. Rows are a multiple of two
 * vectors wide.
 */
final class NormRows {
    private NormRows() {}

    /** The rows r and r + 1, which begin at {@code start}. */
    static void two(
            MemorySegment x,
            long start,
            int n,
            double eps,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y,
            @Nullable MemorySegment mean,
            @Nullable MemorySegment rstd,
            long r) {
        long sums = sums(x, start, start + n, n);
        float mean0 = first(sums) / n;
        float mean1 = second(sums) / n;
        long squares = squares(x, start, start + n, n, mean0, mean1);
        float rstd0 = (float) (1 / Math.sqrt((double) first(squares) / n + eps));
        float rstd1 = (float) (1 / Math.sqrt((double) second(squares) / n + eps));
        normalise(x, start, start + n, n, mean0, mean1, rstd0, rstd1, gamma, beta, y);
        if (mean != null && rstd != null) {
            set(mean, r, mean0);
            set(mean, r + 1, mean1);
            set(rstd, r, rstd0);
            set(rstd, r + 1, rstd1);
        }
    }

    /** Two numbers as one, since a method returns no more without an object. */
    static long pair(float first, float second) {
        return (long) Float.floatToRawIntBits(first) << 32 | (Float.floatToRawIntBits(second) & 0xFFFF_FFFFL);
    }

    static float first(long pair) {
        return Float.intBitsToFloat((int) (pair >>> 32));
    }

    static float second(long pair) {
        return Float.intBitsToFloat((int) pair);
    }

    private static long sums(MemorySegment x, long p, long q, int n) {
        FloatVector p0 = all(0);
        FloatVector p1 = p0;
        FloatVector q0 = p0;
        FloatVector q1 = p0;
        for (int i = 0; i < n; i += 2 * LANES) {
            p0 = p0.add(load(x, p + i));
            q0 = q0.add(load(x, q + i));
            p1 = p1.add(load(x, p + i + LANES));
            q1 = q1.add(load(x, q + i + LANES));
        }
        return pair(VectorMath.sum(p0.add(p1)), VectorMath.sum(q0.add(q1)));
    }

    private static long squares(MemorySegment x, long p, long q, int n, float meanP, float meanQ) {
        FloatVector p0 = all(0);
        FloatVector p1 = p0;
        FloatVector q0 = p0;
        FloatVector q1 = p0;
        for (int i = 0; i < n; i += 2 * LANES) {
            FloatVector a = load(x, p + i).sub(meanP);
            FloatVector b = load(x, q + i).sub(meanQ);
            FloatVector c = load(x, p + i + LANES).sub(meanP);
            FloatVector d = load(x, q + i + LANES).sub(meanQ);
            p0 = a.fma(a, p0);
            q0 = b.fma(b, q0);
            p1 = c.fma(c, p1);
            q1 = d.fma(d, q1);
        }
        return pair(VectorMath.sum(p0.add(p1)), VectorMath.sum(q0.add(q1)));
    }

    private static void normalise(
            MemorySegment x,
            long p,
            long q,
            int n,
            float meanP,
            float meanQ,
            float rstdP,
            float rstdQ,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y) {
        for (int i = 0; i < n; i += LANES) {
            FloatVector scale = load(gamma, i);
            FloatVector shift = load(beta, i);
            store(load(x, p + i).sub(meanP).mul(rstdP).fma(scale, shift), y, p + i);
            store(load(x, q + i).sub(meanQ).mul(rstdQ).fma(scale, shift), y, q + i);
        }
    }
}
