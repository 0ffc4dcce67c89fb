package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.Addresses.load;
import static tessera.kernels.cpu.vector.Addresses.store;
import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.all;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import jdk.incubator.vector.FloatVector;

/**
 * Functions of {@link VectorRuns}, {@link VectorElementwise}, {@link VectorSums} and {@link VectorScores} by {@link Addresses}, of whole vectors, with the same bits. For vectors of 8,
 * where they were measured.
 */
final class AddressRuns {
    /** Whether runs of whole vectors belong here. */
    static final boolean USABLE = Addresses.USABLE && LANES == 8;
    /** Elements that are taken at a time of runs that may be longer than an int counts. */
    private static final int BLOCK = 1 << 20;

    private AddressRuns() {}

    /** Whether runs of n elements belong here. */
    static boolean take(int n) {
        return USABLE && n % LANES == 0;
    }

    /** As {@link VectorRuns#exps}. */
    static float exps(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        try {
            return exps(Addresses.of(x, xStart, n), n, factor, shift, Addresses.of(y, yStart, n));
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(y);
        }
    }

    private static float exps(long x, int n, float factor, float shift, long y) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        FloatVector sum = all(0);
        for (int i = 0; i < n; i += LANES) {
            FloatVector e = VectorRuns.exp(load(x, i).fma(f, s));
            store(e, y, i);
            sum = sum.add(e);
        }
        return VectorMath.sum(sum);
    }

    /** As {@link VectorScores#scale}. */
    static void scale(MemorySegment x, long start, int n, float factor) {
        try {
            scale(Addresses.of(x, start, n), n, factor);
        } finally {
            Reference.reachabilityFence(x);
        }
    }

    private static void scale(long x, int n, float factor) {
        for (int i = 0; i < n; i += LANES) {
            store(load(x, i).mul(factor), x, i);
        }
    }

    /** Adds four rows of x to y, in their order. */
    static void addFour(MemorySegment x, long start, long stride, MemorySegment y, long yStart, int n) {
        try {
            addFour(Addresses.of(x, start, 3 * stride + n), stride * Float.BYTES, Addresses.of(y, yStart, n), n);
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(y);
        }
    }

    private static void addFour(long x, long stride, long y, int n) {
        for (int i = 0; i < n; i += LANES) {
            FloatVector sum = load(y, i).add(load(x, i));
            sum = sum.add(load(x + stride, i));
            sum = sum.add(load(x + 2 * stride, i));
            store(sum.add(load(x + 3 * stride, i)), y, i);
        }
    }

    /** As {@link VectorRuns#gelu}. */
    static void gelu(MemorySegment y, long start, int n) {
        try {
            long run = Addresses.of(y, start, n);
            gelu(run, run, n);
        } finally {
            Reference.reachabilityFence(y);
        }
    }

    /** {@code y = gelu(x)} for whole vectors. */
    static void gelu(MemorySegment x, MemorySegment y, long from, long end) {
        try {
            for (long i = from; i < end; i += BLOCK) {
                int n = (int) Math.min(BLOCK, end - i);
                gelu(Addresses.of(x, i, n), Addresses.of(y, i, n), n);
            }
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(y);
        }
    }

    private static void gelu(long x, long y, int n) {
        for (int i = 0; i < n; i += LANES) {
            store(VectorMath.gelu(load(x, i)), y, i);
        }
    }

    /** {@code dx = dy gelu'(x)} for whole vectors. */
    static void geluGradient(MemorySegment x, MemorySegment dy, MemorySegment dx, long from, long end) {
        try {
            for (long i = from; i < end; i += BLOCK) {
                int n = (int) Math.min(BLOCK, end - i);
                geluGradient(Addresses.of(x, i, n), Addresses.of(dy, i, n), Addresses.of(dx, i, n), n);
            }
        } finally {
            Reference.reachabilityFence(x);
            Reference.reachabilityFence(dy);
            Reference.reachabilityFence(dx);
        }
    }

    private static void geluGradient(long x, long dy, long dx, int n) {
        for (int i = 0; i < n; i += LANES) {
            store(load(dy, i).mul(VectorMath.geluSlope(load(x, i))), dx, i);
        }
    }
}
