package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.kernels.cpu.vector.RandomRuns.LONGEST;
import static tessera.kernels.cpu.vector.RandomRuns.START;
import static tessera.kernels.cpu.vector.RandomRuns.copy;
import static tessera.kernels.cpu.vector.RandomRuns.row;

import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What is computed before the Vector API is warm has the bits of what is computed after. */
class FirstRunsTest {
    private static void assertSameBits(float expected, float actual, String what) {
        assertEquals(Float.floatToIntBits(expected), Float.floatToIntBits(actual), what);
    }

    @Test
    void exponentialsAndTheirSumHaveTheSameBits() {
        Random random = new Random(1);
        for (int n = 0; n <= LONGEST; n++) {
            for (int round = 0; round < 8; round++) {
                MemorySegment x = row(random, round % 2 == 1);
                MemorySegment first = copy(x);
                MemorySegment later = copy(x);
                float factor = round < 4 ? 1 : .17f;
                float shift = round < 2 ? 0 : -3.25f;
                String what = "round " + round + " of " + n;
                assertSameBits(
                        VectorRuns.vectorExps(x, START, n, factor, shift, later, START),
                        FirstRuns.exps(x, START, n, factor, shift, first, START),
                        what);
                for (int i = 0; i < START + LONGEST; i++) {
                    assertSameBits(VectorMath.get(later, i), VectorMath.get(first, i), what + " at " + i);
                }
            }
        }
    }

    @Test
    void theLargestHasTheSameBits() {
        Random random = new Random(2);
        for (int n = 0; n <= LONGEST; n++) {
            for (int round = 0; round < 16; round++) {
                MemorySegment x = row(random, round % 2 == 1);
                if (round >= 12) { // zeros of both signs and what is below them
                    for (int i = 0; i < START + LONGEST; i++) {
                        VectorMath.set(x, i, random.nextBoolean() ? -0f : random.nextBoolean() ? 0f : -1f);
                    }
                }
                assertSameBits(
                        VectorRuns.vectorMax(x, START, n), FirstRuns.max(x, START, n), "round " + round + " of " + n);
            }
        }
    }

    @Test
    void geluHasTheSameBits() {
        Random random = new Random(4);
        for (int n = 0; n <= LONGEST; n++) {
            for (int round = 0; round < 8; round++) {
                MemorySegment first = row(random, round % 2 == 1);
                MemorySegment later = copy(first);
                VectorRuns.vectorGelu(later, START, n);
                FirstRuns.gelu(first, START, n);
                for (int i = 0; i < START + LONGEST; i++) {
                    assertSameBits(
                            VectorMath.get(later, i),
                            VectorMath.get(first, i),
                            "round " + round + " of " + n + " at " + i);
                }
            }
        }
    }

    @Test
    void normsHaveTheSameBits() {
        Random random = new Random(3);
        for (int n = 1; n <= LONGEST; n++) {
            for (int round = 0; round < 8; round++) {
                MemorySegment x = row(random, round % 2 == 1);
                String what = "round " + round + " of " + n;
                float sum = VectorRuns.sum(x, START, n);
                assertSameBits(sum, FirstRuns.sum(x, START, n), what);
                float mean = round < 4 ? sum / n : -1.75f;
                float squares = VectorRuns.squares(x, START, n, mean);
                assertSameBits(squares, FirstRuns.squares(x, START, n, mean), what);
                MemorySegment gamma = row(random, false);
                MemorySegment beta = row(random, false);
                MemorySegment first = copy(x);
                MemorySegment later = copy(x);
                VectorNorms.normalise(x, START, n, mean, .37f, gamma, beta, later);
                FirstRuns.normalise(x, START, n, mean, .37f, gamma, beta, first);
                for (int i = 0; i < START + LONGEST; i++) {
                    assertSameBits(VectorMath.get(later, i), VectorMath.get(first, i), what + " at " + i);
                }
            }
        }
    }

    @Test
    void theVectorApiTakesOverAfterTheFirstElements() {
        int calls = 0;
        while (FirstRuns.take(1 << 16)) {
            calls++;
        }
        assertTrue(calls <= 1 << 11, () -> "the elements run out");
        assertFalse(FirstRuns.take(0));
    }
}
