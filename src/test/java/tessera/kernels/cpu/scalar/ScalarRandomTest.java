package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Philox;
import tessera.kernels.RandomOps.MaskShape;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.cpu.Elements;

/** Masks, random numbers, dropout and stochastic depth in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarRandomTest extends PlainFamilies {
    @Test
    void masksHideTheCellsWithTheSmallestKeys() {
        int batch = 2;
        int slots = 3;
        int plane = 14;
        int masked = 9;
        for (boolean tube : new boolean[] {true, false}) {
            Buffer visible = DEVICE.allocate(DType.I32, (long) batch * slots * (plane - masked));
            Buffer hidden = DEVICE.allocate(DType.I32, (long) batch * slots * masked);
            KERNELS.random()
                    .randomMask(
                            new RandomStream(5, 6), new MaskShape(batch, slots, plane, masked, tube), visible, hidden);
            for (int b = 0; b < batch; b++) {
                int[] v = Arrays.copyOfRange(
                        ints(visible), b * slots * (plane - masked), (b + 1) * slots * (plane - masked));
                int[] h = Arrays.copyOfRange(ints(hidden), b * slots * masked, (b + 1) * slots * masked);
                assertArrayEquals(expectedMask(b, slots, plane, masked, tube), h);
                assertArrayEquals(
                        IntStream.range(0, slots * plane).toArray(),
                        IntStream.concat(Arrays.stream(v), Arrays.stream(h))
                                .sorted()
                                .toArray());
                assertArrayEquals(Arrays.stream(v).sorted().toArray(), v);
            }
        }
    }

    /** Ranks every cell by counting the cells that come before it. */
    private static int[] expectedMask(int b, int slots, int plane, int masked, boolean tube) {
        return IntStream.range(0, slots * plane)
                .filter(token -> {
                    long counter = (long) (b * slots + (tube ? 0 : token / plane)) * plane;
                    int key = Philox.word(5, 6, counter + token % plane);
                    long before = IntStream.range(0, plane)
                            .filter(c -> Integer.compareUnsigned(Philox.word(5, 6, counter + c), key) < 0)
                            .count();
                    return before < masked;
                })
                .toArray();
    }

    @Test
    void impossibleMaskIsRefused() {
        Buffer none = DEVICE.allocate(DType.I32, 0);
        assertThrows(
                IllegalArgumentException.class,
                () -> KERNELS.random().randomMask(new RandomStream(0, 0), new MaskShape(1, 1, 4, 5, true), none, null));
    }

    @Test
    void philoxGivesTheKnownAnswers() {
        int[] words = new int[4];
        Philox.words(0, 0, 0, words);
        assertArrayEquals(new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, words);
        Philox.words(-1, -1, -1, words);
        assertArrayEquals(new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, words);
    }

    @Test
    void uniformsAndDropoutFollowTheSameWords() {
        int n = 9001;
        Buffer u = DEVICE.allocate(DType.F32, n);
        KERNELS.random().randomUniform(new RandomStream(3, 4), 0, 1, u);
        Buffer x = noise(n, 5);
        Buffer y = like(x);
        KERNELS.random().dropout(new RandomStream(3, 4), x, 0.25, y);
        int[] words = new int[4];
        float[] uniforms = floats(u);
        double[] in = doubles(x);
        double[] out = doubles(y);
        for (int i = 0; i < n; i++) {
            Philox.words(3, 4, i / 4, words);
            assertEquals(Philox.uniform(words[i % 4]), uniforms[i]);
            assertEquals(uniforms[i] >= 0.25f ? in[i] * (1 / 0.75) : 0, out[i]);
        }
    }

    @Test
    void dropPathFollowsTheSameWords() {
        int batch = 11;
        int each = 1000;
        Buffer x = noise(batch * each, 5);
        Buffer residual = noise(batch * each, 6);
        double[] expected = doubles(residual);
        double[] branch = new double[batch * each];
        int kept = 0;
        for (int b = 0; b < batch; b++) {
            int[] words = new int[4];
            Philox.words(3, 8, b / 4, words);
            boolean keeps = Philox.uniform(words[b % 4]) >= 0.5f;
            kept += keeps ? 1 : 0;
            for (int i = b * each; i < (b + 1) * each; i++) {
                if (keeps) {
                    branch[i] = 2 * Elements.get(x, i);
                    expected[i] += branch[i];
                } else {
                    Elements.set(x, i, Double.NaN); // not looked at
                }
            }
        }
        assertTrue(kept > 0 && kept < batch, kept + " kept");
        Buffer y = like(x);
        KERNELS.random().dropPath(new RandomStream(3, 8), null, x, 0.5, batch, y);
        assertArrayEquals(branch, doubles(y));
        KERNELS.random().dropPath(new RandomStream(3, 8), residual, x, 0.5, batch, y);
        assertArrayEquals(expected, doubles(y));
    }

    @Test
    void normalsHaveTheirMoments() {
        int n = 100_001;
        Buffer y = f64(n);
        KERNELS.random().randomNormal(new RandomStream(1, 2), 3, 0.5, y);
        double mean = Arrays.stream(doubles(y)).average().orElseThrow();
        double variance = Arrays.stream(doubles(y))
                .map(v -> (v - mean) * (v - mean))
                .average()
                .orElseThrow();
        Close.within(mean, 3, 0.01, "mean");
        Close.within(variance, 0.25, 0.01, "variance");
    }
}
