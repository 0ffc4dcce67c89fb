package tessera.kernels.cpu.vector;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class HeadCopyTest {
    private static final float UNTOUCHED = -1;
    private static final int[] ROWS = {1, 15, 16, 17, 63, 64, 65, 200};

    private static MemorySegment numbered(int count) {
        float[] x = new float[count];
        for (int i = 0; i < count; i++) {
            x[i] = i;
        }
        return MemorySegment.ofArray(x);
    }

    private static float[] untouched(int count) {
        float[] y = new float[count];
        Arrays.fill(y, UNTOUCHED);
        return y;
    }

    @Test
    void rowsBecomeColumns() {
        for (int dim : new int[] {3, 64, 1}) { // the last two after a larger one
            for (int rows : ROWS) {
                int stride = dim + 5;
                int line = HeadCopy.line(rows);
                float[] expected = untouched(4 + dim * line);
                for (int r = 0; r < rows; r++) {
                    for (int d = 0; d < dim; d++) {
                        expected[4 + d * line + r] = 2 + r * stride + d;
                    }
                }
                MemorySegment y = MemorySegment.ofArray(untouched(expected.length));
                HeadCopy.columns(numbered(2 + rows * stride), 2, stride, rows, dim, y, 4);
                assertArrayEquals(expected, y.toArray(ValueLayout.JAVA_FLOAT), rows + " rows of " + dim);
            }
        }
    }

    @Test
    void rowsLoseTheirGaps() {
        int dim = 7;
        int rows = 9;
        float[] expected = untouched(4 + dim * rows + 1);
        for (int i = 0; i < dim * rows; i++) {
            expected[4 + i] = 2 + i / dim * 12 + i % dim;
        }
        MemorySegment y = MemorySegment.ofArray(untouched(expected.length));
        HeadCopy.rows(numbered(2 + rows * 12), 2, 12, rows, dim, y, 4);
        assertArrayEquals(expected, y.toArray(ValueLayout.JAVA_FLOAT));
    }

    @Test
    void rowsGoBackWhereTheyWere() {
        int dim = 7;
        int rows = 9;
        float[] expected = untouched(4 + 12 * rows);
        for (int i = 0; i < dim * rows; i++) {
            expected[4 + i / dim * 12 + i % dim] = 2 + i;
        }
        MemorySegment y = MemorySegment.ofArray(untouched(expected.length));
        HeadCopy.back(numbered(2 + rows * dim), 2, rows, dim, y, 4, 12);
        assertArrayEquals(expected, y.toArray(ValueLayout.JAVA_FLOAT));
    }

    /** Rows a power of two apart would share a set of the first-level cache. */
    @Test
    void columnsLieAnOddNumberOfCacheLinesApart() {
        for (int rows = 1; rows < 300; rows++) {
            int line = HeadCopy.line(rows);
            assertTrue(line >= rows && line < rows + 32, () -> "line of " + line);
            assertEquals(16, line % 32, "of " + rows + " rows");
        }
    }
}
