package tessera.kernels.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OneDnnInt8Test {
    /** What inputs and weights are: anything, or such that every sum of two products is as far from 0 as it can be. */
    enum Ends {
        WITHIN,
        LARGEST,
        LEAST,
        MIXED
    }

    @ParameterizedTest
    @CsvSource({
        "1, 1, 1, WITHIN",
        "2, 3, 5, WITHIN",
        "7, 17, 33, WITHIN",
        "64, 129, 100, WITHIN",
        "33, 48, 1536, WITHIN",
        "2, 5, 65536, WITHIN",
        "1, 1, 2, LARGEST",
        "1, 200, 385, LARGEST",
        "200, 1, 385, LEAST",
        "157, 33, 384, LARGEST",
        "157, 33, 384, LEAST",
        "31, 130, 1537, MIXED",
        "3, 17, 65536, LARGEST",
        "3, 17, 65536, LEAST"
    })
    void sumsAreThoseOfIntegersToTheBit(int m, int n, int k, Ends ends) {
        assumeTrue(OneDnnInt8.usable(), "this processor multiplies no bytes");
        Random random = new Random(1);
        byte[] x = new byte[m * k];
        byte[] w = new byte[n * k];
        int most = OneDnnInt8.largestInput();
        for (int i = 0; i < w.length; i++) {
            w[i] = (byte)
                    switch (ends) {
                        case WITHIN -> random.nextInt(-127, 128);
                        case LARGEST -> 127;
                        case LEAST -> -127;
                        case MIXED -> random.nextBoolean() ? 127 : -127;
                    };
        }
        for (int i = 0; i < x.length; i++) {
            x[i] = (byte)
                    switch (ends) {
                        case WITHIN -> random.nextInt(most + 1);
                        case LARGEST, LEAST -> most;
                        case MIXED -> random.nextBoolean() ? most : 0;
                    };
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment none = arena.allocate(Float.BYTES * (long) n, 64);
            MemorySegment y = arena.allocate(Integer.BYTES * (long) m * n, 64);
            OneDnnInt8.Weight weight = new OneDnnInt8.Weight(
                    new HostMemory(), n, k, arena.allocateFrom(ValueLayout.JAVA_BYTE, w), none, none, null);
            OneDnnInt8.sums(m, arena.allocateFrom(ValueLayout.JAVA_BYTE, x), weight, y);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    int sum = 0;
                    for (int p = 0; p < k; p++) {
                        sum += (x[i * k + p] & 255) * w[j * k + p];
                    }
                    assertEquals(sum, y.getAtIndex(ValueLayout.JAVA_INT, (long) i * n + j), "row " + i + ", " + j);
                }
            }
            weight.close();
        }
    }
}
