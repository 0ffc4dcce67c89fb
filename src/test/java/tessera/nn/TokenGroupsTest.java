package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.nn.TokenReduction.Sizes;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class TokenGroupsTest {
    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    private static Tensor normal(long seed, long... sizes) {
        long count = 1;
        for (long size : sizes) {
            count *= size;
        }
        Random random = new Random(seed);
        float[] values = new float[Math.toIntExact(count)];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return Tensor.of(values, sizes);
    }

    private static Tensor attend(TokenGroups tokens, Tensor qkv) {
        return tokens.attend(qkv, (own, bias) -> own.selfAttention(2, bias, null));
    }

    /** By hand: 0 is as 1 is, 2 nearly so; 3 is not. */
    @Test
    void mergedTokensAreTheMeanOfWhatTheyStandFor() {
        Tensor keys = Tensor.of(new float[] {1, 0, 1, 0, 1, .1f, 0, 1}, 1, 4, 2);
        TokenGroups plain = TokenGroups.of(Tensor.of(new float[] {10, 20, 30, 40}, 1, 4, 1), Sizes.BOTH);
        TokenGroups once = plain.merge(keys, 1);
        assertArrayEquals(new float[] {15, 30, 40}, once.x().toFloats());
        assertArrayEquals(new float[] {2, 1, 1}, once.sizes());
        TokenGroups both = plain.merge(keys, 2);
        Close.relative(both.x().toFloats(), new float[] {20, 40}, 1e-6, "both even tokens in the first odd one");
        assertArrayEquals(new float[] {3, 1}, both.sizes());
        // Now 20 stands for three, 40 for one: the mean of all is 25, whichever way it came about.
        TokenGroups all = both.merge(Tensor.ones(1, 2, 1), 5);
        Close.relative(all.x().toFloats(), new float[] {25}, 1e-6, "at most half are merged away");
        assertArrayEquals(new float[] {4}, all.sizes());
    }

    @Test
    void sizesSumToTheTokensAndTheMeanStays() {
        Tensor x = normal(1, 3, 21, 5);
        TokenGroups tokens = TokenGroups.of(x, Sizes.BOTH);
        double[] expected = x.mean(1).toDoubles();
        for (int round = 0; round < 4; round++) {
            tokens = tokens.merge(tokens.x(), 6);
            float[] sizes = tokens.sizes();
            int each = sizes.length / 3;
            for (int clip = 0; clip < 3; clip++) {
                float sum = 0;
                for (int i = 0; i < each; i++) {
                    sum += sizes[clip * each + i];
                }
                assertEquals(21, sum);
            }
            Close.relative(tokens.mean().toDoubles(), expected, 1e-5, "mean after " + (round + 1));
        }
        assertEquals(3, tokens.x().size(1)); // 21, 15, 9, 5 and 3, by sixes and then halves
    }

    /** A token of size two is attended to as two equal tokens are. */
    @Test
    void attentionCountsATokenAsOftenAsItsSizeSays() {
        Tensor qkv = normal(2, 1, 5, 12); // of tokens 0 to 4
        Tensor twice = Tensor.concat(1, qkv, qkv.slice(1, 1, 2), qkv.slice(1, 3, 4), qkv.slice(1, 3, 4));
        double[] expected = twice.selfAttention(2).slice(1, 0, 5).contiguous().toDoubles();
        Tensor x = normal(3, 1, 5, 4);
        TokenGroups sized = TokenGroups.packed(x, new int[] {5}, new float[] {1, 2, 1, 3, 1}, Sizes.BOTH);
        Close.relative(attend(sized, qkv).toDoubles(), expected, 1e-5, "as of equal tokens");
        TokenGroups unsized = TokenGroups.packed(x, new int[] {5}, new float[] {1, 2, 1, 3, 1}, Sizes.MEAN);
        assertArrayEquals(qkv.selfAttention(2).toFloats(), attend(unsized, qkv).toFloats());
    }

    @Test
    void packedClipsSeeThemselvesAlone() {
        int[] counts = {3, 1, 4};
        float[] sizes = {1, 2, 1, 5, 1, 1, 2, 2};
        Tensor x = normal(4, 1, 8, 4);
        Tensor qkv = normal(5, 1, 8, 12);
        for (Sizes counted : Sizes.values()) {
            TokenGroups all = TokenGroups.packed(x, counts, sizes, counted);
            float[] attended = attend(all, qkv).toFloats();
            float[] means = all.mean().toFloats();
            int from = 0;
            for (int clip = 0; clip < 3; clip++) {
                int to = from + counts[clip];
                float[] own = Arrays.copyOfRange(sizes, from, to);
                TokenGroups one =
                        TokenGroups.packed(x.slice(1, from, to).contiguous(), new int[] {counts[clip]}, own, counted);
                Close.relative(
                        Arrays.copyOfRange(attended, 4 * from, 4 * to),
                        attend(one, qkv.slice(1, from, to).contiguous()).toFloats(),
                        1e-6,
                        counted + " attention of clip " + clip);
                Close.relative(
                        Arrays.copyOfRange(means, 4 * clip, 4 * clip + 4),
                        one.mean().toFloats(),
                        1e-6,
                        counted + " mean of clip " + clip);
                from = to;
            }
        }
    }

    @Test
    void meansWeighBySizesWhereTheyCount() {
        Tensor x = Tensor.of(new float[] {1, 2, 9}, 1, 3, 1);
        float[] sizes = {6, 1, 1};
        assertArrayEquals(
                new float[] {1.5f, 9},
                TokenGroups.packed(x, new int[] {2, 1}, new float[] {1, 1, 1}, Sizes.NONE)
                        .mean()
                        .toFloats());
        Close.relative(
                TokenGroups.packed(x, new int[] {3}, sizes, Sizes.MEAN).mean().toFloats(),
                new float[] {17f / 8},
                1e-6,
                "weighed");
        Close.relative(
                TokenGroups.packed(x, new int[] {3}, sizes, Sizes.NONE).mean().toFloats(),
                new float[] {4},
                1e-6,
                "each once");
    }

    @Test
    void packedTokensOfOtherNumbersAreRefused() {
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> TokenGroups.packed(Tensor.ones(1, 4, 2), new int[] {2, 1}, new float[4], Sizes.BOTH));
        assertTrue(
                String.valueOf(e.getMessage())
                        .startsWith("packed tokens are f32[1, 4, 2] with 4 sizes but the clips have 3 in all"),
                e.getMessage());
    }
}
