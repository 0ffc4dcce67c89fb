package tessera.kernels.cpu.vector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;

/** Native memory that runs of every length are read from. */
final class RandomRuns {
    /** Where runs begin, at no whole vector, and the longest. */
    static final int START = 3;

    static final int LONGEST = 5 * VectorMath.LANES + 7;
    private static final float[] ODD = {
        0,
        -0f,
        Float.NaN,
        Float.POSITIVE_INFINITY,
        Float.NEGATIVE_INFINITY,
        88.9f,
        89.5f,
        -87.4f,
        -104.9f,
        -105.5f,
        1e-40f
    };

    private RandomRuns() {}

    /** From here on the process computes by the Vector API alone. */
    static void endFirstRuns() {
        while (FirstRuns.take(1 << 16)) {
            Thread.onSpinWait();
        }
    }

    /** Normal values; where {@code odd} every eighth is one that functions may treat on its own. */
    static MemorySegment row(Random random, boolean odd) {
        float[] values = new float[START + LONGEST];
        for (int i = 0; i < values.length; i++) {
            boolean one = odd && random.nextInt(8) == 0;
            values[i] = one ? ODD[random.nextInt(ODD.length)] : (float) (20 * random.nextGaussian());
        }
        return Arena.ofAuto().allocateFrom(ValueLayout.JAVA_FLOAT, values);
    }

    static MemorySegment copy(MemorySegment x) {
        return Arena.ofAuto().allocateFrom(ValueLayout.JAVA_FLOAT, x.toArray(ValueLayout.JAVA_FLOAT));
    }
}
