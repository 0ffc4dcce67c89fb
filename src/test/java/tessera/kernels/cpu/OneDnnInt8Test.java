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
    @ParameterizedTest
    @CsvSource({
        "1, 1, 1, false",
        "2, 3, 5, false",
        "7, 17, 33, false",
        "64, 129, 100, false",
        "33, 48, 1536, false",
        "2, 5, 65536, false",
        "3, 17, 65536, true"
    })
    void sumsAreThoseOfIntegersToTheBit(int m, int n, int k, boolean largest) {
        assumeTrue(OneDnnInt8.usable(), "this processor multiplies no bytes");
        Random random = new Random(1);
        byte[] x = new byte[m * k];
        byte[] w = new byte[n * k];
        random.nextBytes(x);
        random.nextBytes(w);
        for (int i = 0; i < w.length; i++) {
            w[i] = largest ? 127 : (byte) Math.max(-127, w[i]);
        }
        for (int i = 0; i < x.length && largest; i++) {
            x[i] = -1;
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
