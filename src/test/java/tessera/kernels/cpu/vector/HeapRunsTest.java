package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static tessera.kernels.cpu.vector.RandomRuns.LONGEST;
import static tessera.kernels.cpu.vector.RandomRuns.START;
import static tessera.kernels.cpu.vector.RandomRuns.copy;
import static tessera.kernels.cpu.vector.RandomRuns.row;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** What is computed on the heap or by address has the bits of what is computed in native memory. */
class HeapRunsTest {
    private static void assertSameBits(MemorySegment expected, MemorySegment actual, String what) {
        assertArrayEquals(expected.toArray(ValueLayout.JAVA_FLOAT), actual.toArray(ValueLayout.JAVA_FLOAT), what);
    }

    @Test
    void exponentialsAndTheirSumHaveTheSameBits() {
        Random random = new Random(1);
        for (int n = LONGEST; n >= 0; n--) { // so an array of a longer run is used again
            MemorySegment x = row(random, n % 2 == 1);
            MemorySegment there = copy(x);
            MemorySegment here = copy(x);
            String what = "of " + n;
            assertEquals(
                    VectorRuns.nativeExps(x, START, n, .17f, -3.25f, there, START),
                    HeapRuns.exps(x, START, n, .17f, -3.25f, here, START),
                    what);
            assertSameBits(there, here, what);
            HeapRuns.exps(x, START, n, .17f, -3.25f, x, START);
            assertSameBits(there, x, what + " in place");
        }
    }

    @Test
    void thoseByAddressToo() {
        assumeTrue(AddressRuns.USABLE, "vectors have " + VectorMath.LANES + " lanes here");
        Random random = new Random(2);
        for (int n = 0; n <= LONGEST; n += VectorMath.LANES) {
            MemorySegment x = row(random, false);
            MemorySegment there = copy(x);
            MemorySegment here = copy(x);
            String what = "of " + n;
            assertEquals(
                    VectorRuns.nativeExps(x, START, n, .17f, -3.25f, there, START),
                    AddressRuns.exps(x, START, n, .17f, -3.25f, here, START),
                    what);
            assertSameBits(there, here, what);
            AddressRuns.gelu(here, START, n);
            VectorRuns.vectorGelu(there, START, n);
            assertSameBits(there, here, "GELU " + what);
            AddressRuns.gelu(x, here, START, START + n);
            VectorRuns.vectorGelu(x, START, n);
            assertSameBits(
                    x.asSlice(START * (long) Float.BYTES, n * (long) Float.BYTES),
                    here.asSlice(START * (long) Float.BYTES, n * (long) Float.BYTES),
                    "GELU elsewhere " + what);
        }
    }

    @Test
    void shortAndVeryLongRunsStayWhereTheyAre() {
        assertFalse(HeapRuns.take(64));
        assertFalse(HeapRuns.take(1 << 20));
    }
}
