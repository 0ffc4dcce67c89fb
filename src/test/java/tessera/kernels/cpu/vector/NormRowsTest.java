package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Rows that are taken two at a time have the bits of one row at a time. */
class NormRowsTest {
    private static final double EPS = 1e-6;
    private static final int ROWS = 6;

    private static MemorySegment random(Random random, int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = (float) (3 * random.nextGaussian() + 1);
        }
        return Arena.ofAuto().allocateFrom(ValueLayout.JAVA_FLOAT, values);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7, 24})
    void rowsHaveTheBitsOfEach(int pairs) {
        int n = pairs * 2 * VectorMath.LANES;
        for (int end = 2; end <= ROWS; end++) {
            Random random = new Random(n);
            MemorySegment x = random(random, ROWS * n);
            VectorMath.set(x, n + 1L, Float.NaN); // in the first row alone
            MemorySegment gamma = random(random, n);
            MemorySegment beta = random(random, n);
            MemorySegment together = random(random, ROWS * n);
            MemorySegment single = Arena.ofAuto().allocate((long) ROWS * n * Float.BYTES);
            single.copyFrom(together);
            MemorySegment mean = random(random, ROWS);
            MemorySegment rstd = random(random, ROWS);
            NormRows.run(x, 1, end, n, EPS, gamma, beta, together, mean, rstd);
            for (int row = 1; row < end; row++) {
                long start = (long) row * n;
                float mu = VectorRuns.sum(x, start, n) / n;
                float inverse = (float) (1 / Math.sqrt((double) VectorRuns.squares(x, start, n, mu) / n + EPS));
                VectorNorms.normalise(x, start, n, mu, inverse, gamma, beta, single);
                assertSameBits(mu, VectorMath.get(mean, row), "mean of row " + row);
                assertSameBits(inverse, VectorMath.get(rstd, row), "deviation of row " + row);
            }
            assertSameBits(single, together, 0, ROWS * n, "rows 1 to " + end);
            NormRows.run(x, 1, end, n, EPS, gamma, beta, x, null, null);
            assertSameBits(single, x, n, end * n, "in place, rows 1 to " + end);
        }
    }

    @Test
    void refusesWhatDoesNotLieThere() {
        int n = 2 * VectorMath.LANES;
        MemorySegment one = random(new Random(1), n);
        MemorySegment two = random(new Random(1), 2 * n);
        assertThrows(IndexOutOfBoundsException.class, () -> NormRows.run(one, 0, 2, n, EPS, one, one, two, null, null));
        assertThrows(IndexOutOfBoundsException.class, () -> NormRows.run(two, 0, 2, n, EPS, one, one, one, null, null));
        MemorySegment heap = MemorySegment.ofArray(new float[n]);
        String message = assertThrows(IllegalArgumentException.class, () -> Addresses.of(heap, 0, n))
                .getMessage();
        assertEquals("a segment on the heap has no address; give one of native memory", message);
    }

    private static void assertSameBits(float expected, float actual, String what) {
        assertEquals(Float.floatToIntBits(expected), Float.floatToIntBits(actual), what);
    }

    private static void assertSameBits(MemorySegment expected, MemorySegment actual, int from, int to, String what) {
        for (int i = from; i < to; i++) {
            assertSameBits(VectorMath.get(expected, i), VectorMath.get(actual, i), what + ", element " + i);
        }
    }
}
