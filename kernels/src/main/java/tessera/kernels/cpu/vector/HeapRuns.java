package tessera.kernels.cpu.vector;

import static tessera.kernels.cpu.vector.VectorMath.LANES;
import static tessera.kernels.cpu.vector.VectorMath.SPECIES;
import static tessera.kernels.cpu.vector.VectorMath.all;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import tessera.kernels.cpu.Slots;

/**
 * The exponentials of {@link VectorRuns} on an array of the heap, with the same bits, for runs that {@link AddressRuns} does not take. A loop
 * over segments takes a third longer with 8 lanes, the copies there and back counted; that of GELU does not.
 */
final class HeapRuns extends HeapArray {
    /** Shortest run: the copies take as long as some twenty vectors. */
    private static final int SHORTEST = 256;
    /** Longest run; a longer one would keep a large array. */
    private static final int LONGEST = 1 << 16;

    private static final Slots<HeapRuns> POOL = new Slots<>(HeapRuns::new, runs -> {});

    private HeapRuns() {}

    /** Whether runs of n elements are faster here. */
    static boolean take(int n) {
        return LANES == 8 && n >= SHORTEST && n <= LONGEST;
    }

    /** As {@link VectorRuns#exps}, with a positive factor. */
    static float exps(MemorySegment x, long xStart, int n, float factor, float shift, MemorySegment y, long yStart) {
        HeapRuns runs = POOL.borrow();
        int end = VectorScores.padded(n);
        if (runs.values.length < end) {
            runs.values = new float[end];
        }
        runs.read(x, xStart, n);
        // Their exponentials are 0, which changes no sum, and there is no mask.
        Arrays.fill(runs.values, n, end, Float.NEGATIVE_INFINITY);
        float sum = exps(runs.values, end, factor, shift);
        runs.write(y, yStart, n);
        POOL.giveBack(runs);
        return sum;
    }

    private static float exps(float[] x, int n, float factor, float shift) {
        FloatVector f = all(factor);
        FloatVector s = all(shift);
        FloatVector sum = all(0);
        for (int i = 0; i < n; i += LANES) {
            FloatVector e = VectorRuns.exp(FloatVector.fromArray(SPECIES, x, i).fma(f, s));
            e.intoArray(x, i);
            sum = sum.add(e);
        }
        return VectorMath.sum(sum);
    }
}
