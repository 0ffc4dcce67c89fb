package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.Addresses.load;
import static tessera.kernels.cpu.vector.Addresses.store;
import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;
import static tessera.kernels.cpu.vector.VectorMath.set;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import jdk.incubator.vector.FloatVector;
import org.jspecify.annotations.Nullable;

/**
 * Layer norm of two rows at a time, whose sums do not wait for one another, with the bits of one row at a time. Rows are a multiple of two
 * vectors wide.
 */
final class NormRows {
    private NormRows() {}

    /** The rows from {@code from} to {@code to}; the last of an odd number of them is computed twice. */
    static void run(
            MemorySegment x,
            long from,
            long to,
            int n,
            double eps,
            MemorySegment gamma,
            MemorySegment beta,
            MemorySegment y,
            @Nullable MemorySegment mean,
            @Nullable MemorySegment rstd) {
        try {
            long count = (to - from) * n;
            long atX = Addresses.of(x, from * n, count);
            long atY = Addresses.of(y, from * n, count);
            long scale = Addresses.of(gamma, 0, n);
            long shift = Addresses.of(beta, 0, n);
            long row = (long) n * Float.BYTES;
            for (long r = from; r < to; r += 2) {
                long second = Math.min(r + 1, to - 1);
                long p = (r - from) * row;
                long q = (second - from) * row;
                two(atX + p, atX + q, n, eps, scale, shift, atY + p, atY + q, mean, rstd, r, second);
            }
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(gamma);
            Reference.reachabilityFence(beta);
            Reference.reachabilityFence(y);
        }
    }

    private static void two(
            long p,
            long q,
            int n,
            double eps,
            long gamma,
            long beta,
            long toP,
            long toQ,
            @Nullable MemorySegment mean,
            @Nullable MemorySegment rstd,
            long first,
            long second) {
        long sums = sums(p, q, n);
        float mean0 = first(sums) / n;
        float mean1 = second(sums) / n;
        long squares = squares(p, q, n, mean0, mean1);
        float rstd0 = (float) (1 / Math.sqrt((double) first(squares) / n + eps));
        float rstd1 = (float) (1 / Math.sqrt((double) second(squares) / n + eps));
        normalise(p, q, n, mean0, mean1, rstd0, rstd1, gamma, beta, toP, toQ);
        if (mean != null && rstd != null) {
            set(mean, first, mean0);
            set(mean, second, mean1);
            set(rstd, first, rstd0);
            set(rstd, second, rstd1);
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

    private static long sums(long p, long q, int n) {
        FloatVector p0 = all(0);
        FloatVector p1 = p0;
        FloatVector q0 = p0;
        FloatVector q1 = p0;
        for (int i = 0; i < n; i += 2 * LANES) {
            p0 = p0.add(load(p, i));
            q0 = q0.add(load(q, i));
            p1 = p1.add(load(p, i + LANES));
            q1 = q1.add(load(q, i + LANES));
        }
        return pair(VectorMath.sum(p0.add(p1)), VectorMath.sum(q0.add(q1)));
    }

    private static long squares(long p, long q, int n, float meanP, float meanQ) {
        FloatVector p0 = all(0);
        FloatVector p1 = p0;
        FloatVector q0 = p0;
        FloatVector q1 = p0;
        for (int i = 0; i < n; i += 2 * LANES) {
            FloatVector a = load(p, i).sub(meanP);
            FloatVector b = load(q, i).sub(meanQ);
            FloatVector c = load(p, i + LANES).sub(meanP);
            FloatVector d = load(q, i + LANES).sub(meanQ);
            p0 = a.fma(a, p0);
            q0 = b.fma(b, q0);
            p1 = c.fma(c, p1);
            q1 = d.fma(d, q1);
        }
        return pair(VectorMath.sum(p0.add(p1)), VectorMath.sum(q0.add(q1)));
    }

    private static void normalise(
            long p,
            long q,
            int n,
            float meanP,
            float meanQ,
            float rstdP,
            float rstdQ,
            long gamma,
            long beta,
            long toP,
            long toQ) {
        for (int i = 0; i < n; i += LANES) {
            FloatVector scale = load(gamma, i);
            FloatVector shift = load(beta, i);
            FloatVector a = load(p, i);
            FloatVector b = load(q, i);
            store(a.sub(meanP).mul(rstdP).fma(scale, shift), toP, i);
            store(b.sub(meanQ).mul(rstdQ).fma(scale, shift), toQ, i);
        }
    }
}
