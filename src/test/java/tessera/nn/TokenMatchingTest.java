package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Matchings worked out by hand. */
class TokenMatchingTest {
    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    /**
     * Even tokens 0, 2, 4 at 0, 90 and 45 degrees, odd ones 1, 3, 5 at 10, 80 and 180: nearest are 1 (10 degrees), 3 (10) and 1 or 3 (35).
     * Their lengths do not matter.
     */
    private static Tensor fan() {
        double[] degrees = {0, 10, 90, 81, 44, 180};
        double[] lengths = {1, 5, .1, 2, 3, 1};
        float[] keys = new float[12];
        for (int i = 0; i < 6; i++) {
            keys[2 * i] = (float) (lengths[i] * Math.cos(Math.toRadians(degrees[i])));
            keys[2 * i + 1] = (float) (lengths[i] * Math.sin(Math.toRadians(degrees[i])));
        }
        return Tensor.of(keys, 1, 6, 2);
    }

    @Test
    void theMostAlikeAreMerged() {
        assertArrayEquals(new int[] {0, 1, 2, 3, 4, 5}, TokenMatching.places(fan(), 0));
        // 2 and 3 are 9 degrees apart, 0 and 1 ten: 2 goes to 3.
        assertArrayEquals(new int[] {0, 1, 2, 2, 3, 4}, TokenMatching.places(fan(), 1));
        assertArrayEquals(new int[] {0, 0, 1, 1, 2, 3}, TokenMatching.places(fan(), 2));
        // 4 is 34 degrees from 1 and 37 from 3; several may go to one.
        assertArrayEquals(new int[] {0, 0, 1, 1, 0, 2}, TokenMatching.places(fan(), 3));
    }

    @Test
    void ofEqualCosinesTheFirstPlaceCounts() {
        Tensor equal = Tensor.ones(1, 6, 3);
        assertArrayEquals(new int[] {0, 0, 1, 2, 3, 4}, TokenMatching.places(equal, 1));
        assertArrayEquals(new int[] {0, 0, 0, 1, 0, 2}, TokenMatching.places(equal, 3));
    }

    @Test
    void anOddNumberHasOneEvenTokenMore() {
        assertArrayEquals(new int[] {0}, TokenMatching.places(Tensor.ones(1, 1, 3), 0));
        Tensor keys = Tensor.of(new float[] {1, 0, 0, 1, 0, 1}, 1, 3, 2); // 2 is as 1 is
        assertArrayEquals(new int[] {0, 1, 1}, TokenMatching.places(keys, 1));
    }

    @Test
    void samplesAreMatchedByThemselves() {
        Tensor both = Tensor.concat(0, Tensor.ones(1, 6, 2), fan());
        assertArrayEquals(new int[] {0, 0, 0, 1, 2, 3, 0, 0, 1, 1, 2, 3}, TokenMatching.places(both, 2));
    }

    /** What is no direction resembles nothing: tokens without one are merged last. */
    @Test
    void keysWithoutADirectionAreMergedLast() {
        float[] keys = {0, 0, 1, 0, Float.NaN, 1, 0, 1, 1, .1f, 0, 1};
        assertArrayEquals(new int[] {0, 1, 2, 3, 1, 4}, TokenMatching.places(Tensor.of(keys, 1, 6, 2), 1));
        assertArrayEquals(new int[] {0, 0, 1, 2, 0, 3}, TokenMatching.places(Tensor.of(keys, 1, 6, 2), 2));
    }
}
