package tessera.nn;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

class PoolingTest {
    /** A model of one value a token, which gives the tokens it was told. */
    private record Told(TokenGrid grid, Map<Integer, Tensor> told) implements VideoModel {
        @Override
        public ModelConfig config() {
            return new ModelConfig() {
                @Override
                public ClipShape input() {
                    return new ClipShape(grid.slots(), grid.rows(), grid.columns(), 1);
                }

                @Override
                public TokenGrid grid() {
                    return grid;
                }

                @Override
                public @Nullable TokenGrid tokens(int block) {
                    return block <= 1 ? grid : null;
                }

                @Override
                public int featureWidth() {
                    return 1;
                }

                @Override
                public Map<String, String> toMetadata() {
                    return Map.of();
                }
            };
        }

        @Override
        public Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop) {
            throw new AssertionError("tokens are asked for");
        }

        @Override
        public Map<Integer, Tensor> tokens(Tensor clips, List<Tensor> visible, Set<Integer> blocks) {
            Map<Integer, Tensor> tokens = new HashMap<>(told);
            tokens.keySet().retainAll(blocks);
            return tokens;
        }

        @Override
        public Tensor feature(Tensor tokens) {
            return tokens.mean(1).mul(10); // to tell it from a plain mean
        }

        @Override
        public void pack() {}

        @Override
        public void close() {}
    }

    /** Two slots of 2 x 4 cells: in the second, only cells of the right half are others. */
    private static final TokenGrid GRID = new TokenGrid(2, 2, 4);

    private static final float[] FIRST = {1, 2, 3, 4, 5, 6, 7, 8};
    private static final float[] SECOND = {1, 2, 5, 4, 5, 6, 7, 4};

    private static float[] pool(String word, float[] tokens, int... visible) {
        return pool(Pooling.of(word), tokens, visible);
    }

    private static float[] pool(Pooling pooling, float[] tokens, int... visible) {
        try (Scope scope = Scope.open()) {
            Tensor given = Tensor.of(tokens, 1, tokens.length, 1);
            Told model = new Told(GRID, Map.of(Pooling.LAST, given, 1, given.mul(2)));
            List<Tensor> seen = visible.length == 0 ? List.of() : List.of(Tensor.of(visible, 1, visible.length));
            try (Pooler pooler = pooling.on(model, Device.cpu())) {
                return pooler.features(Tensor.zeros(1), seen).toFloats();
            }
        }
    }

    private static float[] all() {
        float[] all = new float[16];
        System.arraycopy(FIRST, 0, all, 0, 8);
        System.arraycopy(SECOND, 0, all, 8, 8);
        return all;
    }

    private static void expect(float[] actual, float... expected) {
        Close.relative(actual, expected, 1e-6, "pooled by hand");
    }

    @Test
    void everyTokenCountsWhereNoneIsHidden() {
        expect(pool("mean", all()), 10 * 70 / 16f);
        expect(pool("mean@1", all()), 2 * 70 / 16f);
        expect(pool("grid:1", all()), 70 / 16f);
        // columns 0-1 and 2-3 of row 0, then of row 1; both slots
        expect(pool("grid:2", all()), 1.5f, 4, 5.5f, 6.5f);
        expect(pool("motion:1", all()), 6 / 8f);
        expect(pool("motion:2", all()), 0, 1, 0, 2);
        expect(pool("mean+motion:2@1", all()), 10 * 70 / 16f, 0, 2, 0, 4);
    }

    @Test
    void hiddenTokensCountNowhere() {
        int[] tubes = {1, 3, 7, 9, 11, 15}; // cells 1, 3, 7 of both slots
        float[] seen = {2, 4, 8, 2, 4, 4};
        expect(pool("mean", seen, tubes), 10 * 4);
        // nothing is seen of the left half of row 1: it has the mean of all
        expect(pool("grid:2", seen, tubes), 2, 4, 4, 6);
        expect(pool("motion:1", seen, tubes), 4 / 3f);
        expect(pool("motion:2", seen, tubes), 0, 0, 4 / 3f, 4);
    }

    @Test
    void attentionWeighsTokens() {
        Pooling none = Pooling.of("attentive").withQuery(new float[1]);
        expect(pool(none, all()), 70 / 16f);
        expect(pool(Pooling.of("attentive@1").withQuery(new float[1]), all()), 2 * 70 / 16f);
        int[] tubes = {1, 3, 7, 9, 11, 15};
        float[] seen = {2, 4, 8, 2, 4, 4};
        expect(pool(none, seen, tubes), 4);
        double sum = 0;
        double weighed = 0;
        for (float token : seen) {
            sum += Math.exp(.5 * token);
            weighed += Math.exp(.5 * token) * token;
        }
        Pooling half = Pooling.of("attentive").withQuery(new float[] {.5f});
        expect(pool(half, seen, tubes), (float) (weighed / sum));
        expect(pool(Pooling.of("attentive").withQuery(new float[] {1e4f}), seen, tubes), 8);
        expect(pool(Pooling.union(List.of(none, half, Pooling.MEAN)), seen, tubes), 4, (float) (weighed / sum), 40);
        expect(pool("attentive", seen, tubes), seen);
    }

    @Test
    void onlyAttentionHasAQuery() {
        Pooling asked = Pooling.of("attentive@1");
        assertTrue(asked.needsQuery());
        assertEquals(16, asked.width(new Told(GRID, Map.of()).config()));
        float[] query = {2};
        Pooling fitted = asked.withQuery(query);
        query[0] = 3;
        assertArrayEquals(new float[] {2}, fitted.query());
        assertFalse(fitted.needsQuery());
        assertEquals("attentive@1", fitted.toString());
        assertEquals(1, fitted.width(new Told(GRID, Map.of()).config()));
        assertEquals(fitted, asked.withQuery(new float[] {2}));
        assertEquals(fitted.hashCode(), asked.withQuery(new float[] {2}).hashCode());
        assertNotEquals(fitted, asked.withQuery(query));
        assertNotEquals(fitted, asked);
        for (String word : List.of("mean+attentive", "attentive+attentive@1", "grid:2+attentive@0")) {
            refused(() -> Pooling.of(word), "has others beside attentive");
        }
        refused(() -> Pooling.MEAN.withQuery(query), "which attentive alone has");
        refused(() -> asked.withQuery(new float[] {Float.NaN}), "the query holds NaN");
        refused(
                () -> asked.withQuery(new float[2]).requireFit(new Told(GRID, Map.of()).config()),
                "the query has 2 values but the student's tokens have 1");
        refused(
                () -> Pooling.of("attentive@2").requireFit(new Told(GRID, Map.of()).config()),
                "no tokens after 2 blocks");
    }

    private static void refused(Runnable call, String part) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call::run).getMessage());
        assertTrue(message.contains(part), message);
    }

    /** A grid needs no tubes. */
    @Test
    void slotsMayShowOtherCells() {
        expect(pool("grid:2", new float[] {1, 4, 7}, 0, 3, 14), 1, 4, 4, 7);
    }

    @Test
    void samplesAndMasksStayApart() {
        try (Scope scope = Scope.open()) {
            Tensor tokens =
                    Tensor.of(new float[] {1, 5, 2, 9, 3, 0, 4, 4}, 2, 4, 1); // two samples, two cells, two slots
            Tensor visible = Tensor.of(new int[] {0, 3, 8, 11, 1, 2, 9, 10}, 2, 4);
            Told model = new Told(GRID, Map.of(Pooling.LAST, tokens));
            List<Tensor> masks =
                    List.of(visible.slice(0, 0, 1), visible.slice(0, 1, 2)); // one sample through two masks
            try (Pooler pooler = Pooling.of("motion:2").on(model, Device.cpu())) {
                expect(pooler.features(Tensor.zeros(1), masks).toFloats(), 1, 4, 2.5f, 2.5f, 1, 4, 2.5f, 2.5f);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "mean",
                "attentive",
                "attentive@2",
                "grid:2",
                "motion:1",
                "motion:14@0",
                "mean+motion:2",
                "mean@3+grid:4@12+motion:2"
            })
    void wordsComeBack(String word) {
        assertEquals(word, Pooling.of(word).toString());
        assertEquals(Pooling.of(word), Pooling.of(word));
        assertEquals(Pooling.of(word).hashCode(), Pooling.of(word).hashCode());
        assertNotEquals(Pooling.of("grid:3"), Pooling.of(word));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "",
                "auto",
                "grid",
                "motion:0",
                "motion:100",
                "grid:2@",
                "mean@-1",
                "mean+",
                "mean:2",
                "Mean",
                "attentive:2"
            })
    void otherWordsAreRefused(String word) {
        String message = requireNonNull(assertThrows(IllegalArgumentException.class, () -> Pooling.of(word))
                .getMessage());
        assertTrue(message.contains("pass mean, grid:G or motion:G"), message);
    }

    @Test
    void partsTwiceAreRefused() {
        String message =
                requireNonNull(assertThrows(IllegalArgumentException.class, () -> Pooling.of("mean+grid:2+mean"))
                        .getMessage());
        assertTrue(message.contains("has mean twice"), message);
    }

    @ParameterizedTest
    @CsvSource({
        "grid:3, 3 x 3 parts but the student sees 2 x 4 cells",
        "motion:2@2, no tokens after 2 blocks",
    })
    void whatAModelLacksIsRefused(String word, String expected) {
        Told model = new Told(GRID, Map.of());
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class, () -> Pooling.of(word).requireFit(model.config()))
                .getMessage());
        assertTrue(message.contains(expected), message);
    }

    @Test
    void motionNeedsTwoSlots() {
        Told model = new Told(new TokenGrid(1, 4, 4), Map.of());
        assertThrows(
                IllegalArgumentException.class, () -> Pooling.of("motion:1").requireFit(model.config()));
        Pooling.of("grid:4").requireFit(model.config());
    }

    @Test
    void unionsHoldEveryPartOnce() {
        ModelConfig model = new Told(GRID, Map.of()).config();
        Pooling all =
                Pooling.union(List.of(Pooling.of("motion:2"), Pooling.of("mean+motion:2"), Pooling.of("grid:1@1")));
        assertEquals("motion:2+mean+grid:1@1", all.toString());
        assertEquals(6, all.width(model));
        assertArrayEquals(new int[] {4, 0, 1, 2, 3}, all.select(Pooling.of("mean+motion:2"), model));
        assertArrayEquals(new int[] {5}, all.select(Pooling.of("grid:1@1"), model));
        assertThrows(IllegalArgumentException.class, () -> all.select(Pooling.of("grid:1"), model));
        assertTrue(all.seesMotion());
        assertFalse(Pooling.of("mean+grid:2").seesMotion());
    }

    @Test
    void onlyTubesPassForTubes() {
        try (Scope scope = Scope.open()) {
            Pooling motion = Pooling.of("motion:1");
            motion.requireTubes(Tensor.of(new int[] {0, 3, 8, 11, 1, 2, 9, 10}, 2, 4), GRID);
            for (int[] other : List.of(
                    new int[] {0, 3, 8, 10}, new int[] {0, 3, 11, 8}, new int[] {0, 3, 7, 11}, new int[] {0, 3, 8})) {
                Tensor visible = Tensor.of(other, 1, other.length);
                String message = requireNonNull(
                        assertThrows(IllegalArgumentException.class, () -> motion.requireTubes(visible, GRID))
                                .getMessage());
                assertTrue(message.contains("use MaskStrategy.tubes() or pairs()"), message);
            }
        }
    }
}
