package tessera.nn.swin;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.nn.TokenGrid;

/** The index lists against pad, roll, mask and partition done one after the other, as torchvision does them. */
class WindowsTest {
    /** One number for each cell of a grid. */
    private record Cells(int t, int y, int x, int[] values) {
        static Cells filled(int t, int y, int x, int value) {
            int[] values = new int[t * y * x];
            Arrays.fill(values, value);
            return new Cells(t, y, x, values);
        }

        int at(int i, int j, int k) {
            return values[(i * y + j) * x + k];
        }

        void set(int i, int j, int k, int value) {
            values[(i * y + j) * x + k] = value;
        }

        Cells rolled(int[] shift) {
            Cells result = filled(t, y, x, 0);
            for (int i = 0; i < t; i++) {
                for (int j = 0; j < y; j++) {
                    for (int k = 0; k < x; k++) {
                        int a = Math.floorMod(i - shift[0], t);
                        int b = Math.floorMod(j - shift[1], y);
                        int c = Math.floorMod(k - shift[2], x);
                        result.set(a, b, c, at(i, j, k));
                    }
                }
            }
            return result;
        }

        int[] partitioned(int[] window) {
            int[] result = new int[values.length];
            int place = 0;
            for (int i = 0; i < t; i += window[0]) {
                for (int j = 0; j < y; j += window[1]) {
                    for (int k = 0; k < x; k += window[2]) {
                        for (int a = 0; a < window[0]; a++) {
                            for (int b = 0; b < window[1]; b++) {
                                for (int c = 0; c < window[2]; c++) {
                                    result[place++] = at(i + a, j + b, k + c);
                                }
                            }
                        }
                    }
                }
            }
            return result;
        }
    }

    /** {@code slice(from, to)} of Python on an axis; to may be none. */
    private static int[] slice(int size, int from, @Nullable Integer to) {
        int begin = from < 0 ? Math.max(0, size + from) : Math.min(from, size);
        int end = to == null ? size : to < 0 ? Math.max(0, size + to) : Math.min(to, size);
        return new int[] {begin, end};
    }

    @ParameterizedTest
    @CsvSource({
        "8, 56, 56, 8, 7, 7",
        "8, 7, 7, 8, 7, 7",
        "3, 9, 7, 2, 4, 4",
        "4, 8, 8, 2, 4, 4",
        "5, 4, 9, 2, 4, 4",
        "1, 1, 1, 8, 7, 7",
        "6, 5, 3, 3, 2, 2",
        "16, 14, 15, 8, 7, 7"
    })
    void oneGatherIsPadRollAndPartition(int t, int y, int x, int wt, int wy, int wx) {
        int[] sizes = {t, y, x};
        for (boolean shifted : new boolean[] {false, true}) {
            int[] window = {wt, wy, wx};
            int[] shift = {shifted ? wt / 2 : 0, shifted ? wy / 2 : 0, shifted ? wx / 2 : 0};
            int[] padded = new int[3];
            for (int axis = 0; axis < 3; axis++) {
                if (sizes[axis] <= window[axis]) {
                    window[axis] = sizes[axis];
                    shift[axis] = 0;
                }
                padded[axis] = sizes[axis] + (window[axis] - sizes[axis] % window[axis]) % window[axis];
            }
            Cells tokens = Cells.filled(padded[0], padded[1], padded[2], -1);
            int number = 0;
            for (int i = 0; i < t; i++) {
                for (int j = 0; j < y; j++) {
                    for (int k = 0; k < x; k++) {
                        tokens.set(i, j, k, number++);
                    }
                }
            }
            int[] expected = tokens.rolled(shift).partitioned(window);
            Windows windows = Windows.of(new TokenGrid(t, y, x), new TokenGrid(wt, wy, wx), shifted);
            assertArrayEquals(expected, windows.index());
            assertArrayEquals(Windows.inverse(expected, t * y * x), windows.inverse());
            assertEquals(new TokenGrid(window[0], window[1], window[2]), windows.window());
            assertEquals(expected.length, windows.count() * windows.window().tokens());
            if (shift[0] + shift[1] + shift[2] == 0) {
                assertNull(windows.regions());
            } else {
                sameRegions(mask(padded, window, shift).partitioned(window), requireNonNull(windows.regions()));
            }
        }
    }

    private static Cells mask(int[] padded, int[] window, int[] shift) {
        Cells mask = Cells.filled(padded[0], padded[1], padded[2], 0);
        int[][][] slices = new int[3][][];
        for (int axis = 0; axis < 3; axis++) {
            int n = padded[axis];
            slices[axis] = new int[][] {
                slice(n, 0, -window[axis]), slice(n, -window[axis], -shift[axis]), slice(n, -shift[axis], null)
            };
        }
        int count = 0;
        for (int[] a : slices[0]) {
            for (int[] b : slices[1]) {
                for (int[] c : slices[2]) {
                    for (int i = a[0]; i < a[1]; i++) {
                        for (int j = b[0]; j < b[1]; j++) {
                            for (int k = c[0]; k < c[1]; k++) {
                                mask.set(i, j, k, count);
                            }
                        }
                    }
                    count++;
                }
            }
        }
        return mask;
    }

    /** Numbers of regions are names: they must agree in which places are together. */
    private static void sameRegions(int[] expected, int[] actual) {
        int[] names = new int[27];
        Arrays.fill(names, -1);
        for (int i = 0; i < expected.length; i++) {
            if (names[expected[i]] < 0) {
                names[expected[i]] = actual[i];
            }
            assertEquals(names[expected[i]], actual[i], "place " + i);
        }
        assertEquals(
                Arrays.stream(expected).distinct().count(),
                Arrays.stream(actual).distinct().count());
    }

    @Test
    void onlyAWindowAsLargeAsTheGridMovesNothing() {
        TokenGrid window = new TokenGrid(8, 7, 7);
        assertTrue(Windows.of(window, window, true).isIdentity());
        assertTrue(Windows.of(new TokenGrid(16, 7, 7), window, false).isIdentity());
        assertFalse(Windows.of(new TokenGrid(16, 7, 7), window, true).isIdentity());
        assertFalse(Windows.of(new TokenGrid(8, 14, 7), window, true).isIdentity());
        assertFalse(Windows.of(new TokenGrid(9, 7, 7), window, false).isIdentity());
    }

    @Test
    void mergingTakesFourNeighboursAndHolesAtOddEdges() {
        TokenGrid grid = new TokenGrid(2, 3, 3);
        assertEquals(new TokenGrid(2, 2, 2), Windows.merged(grid));
        int[] slot = {0, 3, 1, 4, 2, 5, -1, -1, 6, -1, 7, -1, 8, -1, -1, -1};
        int[] index = Windows.merging(grid);
        assertArrayEquals(slot, Arrays.copyOf(index, 16));
        for (int i = 0; i < 16; i++) {
            assertEquals(slot[i] < 0 ? -1 : slot[i] + 9, index[16 + i]);
        }
    }

    @Test
    void relativePositionsCountEveryDistanceOnce() {
        TokenGrid window = new TokenGrid(8, 7, 7);
        assertEquals(2535, Windows.relativePositions(window));
        int[] index = Windows.relativeIndex(window, 392);
        for (int i = 0; i < 392; i++) {
            assertEquals(1267, index[i * 392 + i], "the middle of the table");
        }
        // Query (7, 6, 6), key (0, 0, 0), and the reverse.
        assertEquals(2534, index[391 * 392]);
        assertEquals(0, index[391]);
        // Query (1, 0, 0), (0, 1, 0), (0, 0, 1) with key 0: strides 169, 13, 1.
        assertEquals(1267 + 169, index[49 * 392]);
        assertEquals(1267 + 13, index[7 * 392]);
        assertEquals(1267 + 1, index[392]);
        assertEquals(2535, Arrays.stream(index).distinct().count());
    }

    @Test
    void smallerWindowsUseTheCornerOfTheFullMatrix() {
        TokenGrid window = new TokenGrid(2, 4, 4);
        int[] full = Windows.relativeIndex(window, 32);
        int[] corner = Windows.relativeIndex(window, 18);
        for (int q = 0; q < 18; q++) {
            for (int k = 0; k < 18; k++) {
                assertEquals(full[q * 32 + k], corner[q * 18 + k]);
            }
        }
    }
}
