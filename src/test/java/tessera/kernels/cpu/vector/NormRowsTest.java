package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Two rows at a time have the bits of one row at a time. */
class NormRowsTest {
    private static final double EPS = 1e-6;

    private static MemorySegment random(Random random, int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) (3 * random.nextGaussian() + 1);
        }
        return MemorySegment.ofArray(values);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7, 24})
    void twoRowsHaveTheBitsOfEach(int pairs) {
        int n = pairs * 2 * VectorMath.LANES;
        Random random = new Random(n);
        MemorySegment x = random(random, 3 * n);
        VectorMath.set(x, n + 1L, Float.NaN); // in the first row alone
        MemorySegment gamma = random(random, n);
        MemorySegment beta = random(random, n);
        MemorySegment together = random(random, 3 * n);
        MemorySegment single = random(random, 3 * n);
        MemorySegment mean = random(random, 3);
        MemorySegment rstd = random(random, 3);
        NormRows.two(x, n, n, EPS, gamma, beta, together, mean, rstd, 1);
        for (int row = 1; row <= 2; row++) {
            long start = (long) row * n;
            float mu = VectorRuns.sum(x, start, n) / n;
            float inverse = (float) (1 / Math.sqrt((double) VectorRuns.squares(x, start, n, mu) / n + EPS));
            VectorNorms.normalise(x, start, n, mu, inverse, gamma, beta, single);
            assertSameBits(mu, VectorMath.get(mean, row), "mean of row " + row);
            assertSameBits(inverse, VectorMath.get(rstd, row), "deviation of row " + row);
            for (long i = start; i < start + n; i++) {
                assertSameBits(VectorMath.get(single, i), VectorMath.get(together, i), "element " + i);
            }
        }
    }

    private static void assertSameBits(float expected, float actual, String what) {
        assertEquals(Float.floatToIntBits(expected), Float.floatToIntBits(actual), what);
    }
}
