package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.TreeSet;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

class MaskStrategyTest {
    private static final List<TokenGrid> GRIDS = List.of(
            new TokenGrid(1, 1, 5),
            new TokenGrid(2, 3, 5),
            new TokenGrid(3, 7, 7),
            new TokenGrid(2, 4, 4),
            new TokenGrid(8, 14, 14));

    private Scope scope;

    @BeforeEach
    void open() {
        scope = Scope.open();
    }

    @AfterEach
    void close() {
        scope.close();
    }

    /** Clips of two frames a slot and two pixels a cell's side, and norms for every token of every second cell. */
    private static MaskContext context(TokenGrid grid, long batch, double ratio, long stream, int member) {
        int pixels = 2 * grid.slots() * 2 * grid.rows() * 2 * grid.columns() * 3;
        byte[] clips = new byte[(int) batch * pixels];
        float[][] saliency = new float[(int) batch][grid.tokens()];
        for (int b = 0; b < batch; b++) {
            Random random = new Random(b);
            byte[] clip = new byte[pixels];
            random.nextBytes(clip);
            System.arraycopy(clip, 0, clips, b * pixels, pixels);
            for (int i = 0; i < grid.tokens(); i++) {
                saliency[b][i] = i % grid.plane() % 2 == 0 ? random.nextFloat() : Float.NaN;
            }
        }
        Tensor tensor = Tensor.of(clips, batch, 2L * grid.slots(), 2L * grid.rows(), 2L * grid.columns(), 3);
        return new MaskContext(Device.cpu(), batch, grid, ratio, 9, stream, member, tensor, saliency);
    }

    private static TokenMask draw(String word, MaskContext context) {
        return MaskStrategy.of(word).draw(context);
    }

    /** The tokens that a clip shows. */
    private static Set<Integer> shown(TokenMask mask, int clip) {
        int count = (int) mask.visibleCount();
        int[] visible = mask.visible().toInts();
        Set<Integer> tokens = new TreeSet<>();
        for (int i = 0; i < count; i++) {
            tokens.add(visible[clip * count + i]);
        }
        assertEquals(count, tokens.size(), "a token is shown once");
        return tokens;
    }

    /** The cells that a clip shows in a slot. */
    private static Set<Integer> cells(TokenMask mask, int clip, int slot, TokenGrid grid) {
        Set<Integer> cells = new TreeSet<>();
        for (int token : shown(mask, clip)) {
            if (token / grid.plane() == slot) {
                cells.add(token % grid.plane());
            }
        }
        return cells;
    }

    /** Whatever the grid, each slot of each clip shows the same number of cells, and the mask names every token once. */
    @ParameterizedTest
    @ValueSource(strings = {"tube", "pairs", "partition", "per-slot", "running", "running:3", "motion", "saliency"})
    void everySlotShowsThePromisedCount(String word) {
        for (TokenGrid grid : GRIDS) {
            for (double ratio : new double[] {.1, .5, .75, .9}) {
                int shown = grid.plane() - (int) Math.floor(ratio * grid.plane() + 1e-9);
                if (shown == grid.plane()) {
                    continue; // nothing is hidden, and no mask drawn
                }
                int masks = word.equals("partition") ? Math.min(4, grid.plane() / shown) : 4;
                for (int member = 0; member < masks; member++) {
                    String what = word + " of " + grid + " at " + ratio + ", mask " + member;
                    MaskContext context = context(grid, 3, ratio, 0, member);
                    assertEquals(shown, context.shown());
                    TokenMask mask = draw(word, context);
                    context.requireWhole(mask);
                    assertEquals((long) grid.slots() * shown, mask.visibleCount(), what);
                    boolean tubes = MaskStrategy.of(word).showsTubes();
                    for (int clip = 0; clip < 3; clip++) {
                        for (int slot = 0; slot < grid.slots(); slot++) {
                            Set<Integer> cells = cells(mask, clip, slot, grid);
                            assertEquals(shown, cells.size(), what);
                            assertTrue(!tubes || cells.equals(cells(mask, clip, 0, grid)), what + " shows no tubes");
                        }
                    }
                    int[] visible = mask.visible().toInts();
                    for (int i = 1; i < visible.length; i++) {
                        assertTrue(
                                i % mask.visibleCount() == 0 || visible[i - 1] < visible[i],
                                what + " is not ascending");
                    }
                    assertArrayEquals(visible, draw(word, context).visible().toInts(), what);
                }
            }
        }
    }

    /** A clip's mask depends on its place alone, not on how many clips there are. */
    @ParameterizedTest
    @ValueSource(strings = {"tube", "pairs", "partition", "per-slot", "running", "motion", "saliency"})
    void aClipsMaskDoesNotDependOnTheBatch(String word) {
        TokenGrid grid = new TokenGrid(2, 5, 6);
        for (int member = 0; member < 2; member++) {
            int[] few = draw(word, context(grid, 2, .75, 0, member)).visible().toInts();
            int[] many = draw(word, context(grid, 5, .75, 0, member)).visible().toInts();
            assertArrayEquals(few, Arrays.copyOf(many, few.length), word);
        }
    }

    /** Each step of training draws other masks, which its one mask, number 0, has in common with tubes where it is one of these. */
    @ParameterizedTest
    @ValueSource(strings = {"tube", "pairs", "partition", "per-slot", "running", "saliency"})
    void stepsDrawOtherMasks(String word) {
        TokenGrid grid = new TokenGrid(2, 8, 8);
        int[] one = draw(word, context(grid, 2, .75, 40, 0)).visible().toInts();
        int[] other = draw(word, context(grid, 2, .75, 41, 0)).visible().toInts();
        assertFalse(Arrays.equals(one, other), word);
        int[] tubes = draw("tube", context(grid, 2, .75, 40, 0)).visible().toInts();
        assertEquals(Set.of("tube", "pairs", "partition", "saliency").contains(word), Arrays.equals(one, tubes), word);
    }

    @Test
    void wordsNameTheirStrategies() {
        for (String word : MaskStrategy.WORDS) {
            assertEquals(word, MaskStrategy.of(word).word());
            assertEquals(MaskStrategy.of(word), MaskStrategy.of(word));
        }
        assertEquals("running:3", MaskStrategy.of("running:3").word());
        assertEquals("running", MaskStrategy.of("running:2").word());
        assertEquals(MaskStrategy.tubes(), MaskStrategy.of("tube"));
        assertEquals(MaskStrategy.pairs(), MaskStrategy.of("pairs"));
        assertTrue(MaskStrategy.perSlot().recordable(), "kernels draw it");
        MaskContext context = context(new TokenGrid(2, 4, 4), 2, .5, 7, 2);
        assertArrayEquals(
                TokenMask.perSlot(Device.cpu(), 2, 2, 16, .5, 9, 9).visible().toInts(),
                MaskStrategy.perSlot().draw(context).visible().toInts());
    }

    @Test
    void masksOfAPartitionShareNoCell() {
        TokenGrid grid = new TokenGrid(2, 8, 8);
        for (int clip = 0; clip < 3; clip++) {
            Set<Integer> all = new HashSet<>();
            for (int member = 0; member < 4; member++) {
                for (int token : shown(draw("partition", context(grid, 3, .75, 0, member)), clip)) {
                    assertTrue(all.add(token), "token " + token + " is shown twice");
                }
            }
            assertEquals(grid.tokens(), all.size(), "4 masks of a quarter show everything");
        }
        refused(
                () -> draw("partition", context(grid, 3, .75, 0, 4)),
                "5 masks of 16 of 64 cells cannot but share some; pass an ensemble of at most 4");
        refused(() -> draw("partition", context(grid, 3, .4, 0, 1)), "2 masks of 39 of 64 cells");
    }

    @Test
    void runningCellsMoveOnInTheOrderOfReading() {
        TokenGrid grid = new TokenGrid(5, 4, 6);
        TokenMask mask = draw("running", context(grid, 8, .75, 0, 0));
        Set<Integer> starts = new HashSet<>();
        for (int clip = 0; clip < 8; clip++) {
            int start = -1;
            for (int slot = 0; slot < 5; slot++) {
                Set<Integer> places = new HashSet<>();
                Set<Integer> cells = new HashSet<>();
                for (int patch : cells(mask, clip, slot, grid)) {
                    int row = patch / 6;
                    int column = patch % 6;
                    places.add(row % 2 * 2 + column % 2);
                    cells.add(row / 2 * 3 + column / 2);
                }
                assertEquals(6, cells.size(), "one patch of every cell");
                assertEquals(1, places.size(), "all cells run alike");
                int place = places.iterator().next();
                start = start < 0 ? place : start;
                assertEquals((start + slot) % 4, place);
            }
            starts.add(start);
        }
        assertTrue(starts.size() > 1, "clips start in different places: " + starts);
        Set<Integer> all = new HashSet<>();
        for (int member = 0; member < 4; member++) {
            all.addAll(shown(draw("running", context(grid, 8, .75, 0, member)), 3));
        }
        assertEquals(grid.tokens(), all.size(), "4 masks show everything");
        refused(() -> MaskStrategy.running(1), "running cells of 1 x 1 patches; pass a side from 2 to 9");
    }

    /** Half of the cells are full of motion, each more than the one before; the rest stands still. */
    @Test
    void motionIsShownWhereFramesDiffer() {
        TokenGrid grid = new TokenGrid(2, 3, 4);
        int[] moving = {11, 2, 5, 7, 0, 8};
        byte[] bytes = new byte[4 * 6 * 8 * 3];
        float[] floats = new float[bytes.length];
        for (int t = 0; t < 4; t++) {
            for (int y = 0; y < 6; y++) {
                for (int x = 0; x < 8; x++) {
                    int cell = y / 2 * 4 + x / 2;
                    int rank = rank(moving, cell);
                    for (int c = 0; c < 3; c++) {
                        int at = ((t * 6 + y) * 8 + x) * 3 + c;
                        bytes[at] = (byte) (200 - (rank < 0 || t % 2 == 0 ? 0 : 60 - 10 * rank));
                        floats[at] = bytes[at] & 0xFF;
                    }
                }
            }
        }
        for (Tensor clips : List.of(Tensor.of(bytes, 1, 4, 6, 8, 3), Tensor.of(floats, 1, 4, 6, 8, 3))) {
            List<Set<Integer>> seen = new ArrayList<>();
            for (int member = 0; member < 4; member++) {
                MaskContext context = new MaskContext(Device.cpu(), 1, grid, .75, 9, 0, member, clips, null);
                seen.add(cells(draw("motion", context), 0, 1, grid));
            }
            assertEquals(Set.of(11, 2, 5), seen.get(0));
            assertEquals(Set.of(7, 0, 8), seen.get(1));
            Set<Integer> still = new TreeSet<>(seen.get(2));
            still.addAll(seen.get(3));
            assertEquals(Set.of(1, 3, 4, 6, 9, 10), still);
        }
        refused(
                () -> draw("motion", new MaskContext(Device.cpu(), 1, grid, .75, 9, 0, 0)),
                "motion masks follow the frames of a clip, but here masks are drawn without clips");
        refused(
                () -> draw("motion", new MaskContext(Device.cpu(), 2, grid, .75, 9, 0, 0, Tensor.ones(1, 4), null)),
                "motion masks of 2 clips but f32[1, 4] are given");
    }

    private static int rank(int[] order, int cell) {
        for (int i = 0; i < order.length; i++) {
            if (order[i] == cell) {
                return i;
            }
        }
        return -1;
    }

    /** In a row of 8 cells, 2 and 5 were seen, and 5 was the larger: what is near it comes first, then what is near 2, then 5 itself. */
    @Test
    void saliencyGoesToTheNeighboursOfWhatWasLarge() {
        TokenGrid grid = new TokenGrid(2, 1, 8);
        float[] norms = new float[16];
        Arrays.fill(norms, Float.NaN);
        norms[2] = 1;
        norms[8 + 2] = 2;
        norms[5] = 10;
        norms[8 + 5] = 12;
        List<Set<Integer>> seen = new ArrayList<>();
        for (double ratio : new double[] {.75, .5, .25, .125}) {
            MaskContext context = new MaskContext(Device.cpu(), 1, grid, ratio, 9, 0, 1, null, new float[][] {norms});
            seen.add(cells(draw("saliency", context), 0, 0, grid));
        }
        assertEquals(
                Set.of(6, 7), seen.get(0)); // (11 + 1.5 / 16) / (1 + 1 / 16) = 10.4 and (11 / 4 + 1.5 / 25) / .29 = 9.7
        assertEquals(Set.of(6, 7, 4, 3), seen.get(1)); // (11 + 1.5 / 4) / 1.25 = 9.1 and (11 / 4 + 1.5) / 1.25 = 3.4
        assertEquals(Set.of(6, 7, 4, 3, 0, 1), seen.get(2));
        assertEquals(Set.of(6, 7, 4, 3, 0, 1, 5), seen.get(3), "of those that were seen, the larger");
        refused(
                () -> draw("saliency", new MaskContext(Device.cpu(), 1, grid, .5, 9, 0, 1)),
                "saliency masks after the first follow the pass before");
    }

    @Test
    void aClassOfOnesOwnIsNamed() {
        String name = Checkerboard.class.getName();
        MaskContext context = context(new TokenGrid(2, 4, 4), 3, .5, 0, 0);
        MaskStrategy own = MaskStrategy.of(name);
        assertEquals(name, own.word());
        assertFalse(own.recordable());
        TokenMask mask = own.draw(context);
        context.requireWhole(mask);
        assertTrue(shown(mask, 2).contains(0));
        MaskStrategy other = MaskStrategy.of(name + ":1");
        assertEquals(name + ":1", other.word());
        assertFalse(shown(other.draw(context), 2).contains(0));
    }

    /** A class that cannot be made. */
    public abstract static class Unfinished implements MaskStrategy {
        /** Is never called. */
        public Unfinished() {}
    }

    /** A class with no way to make it. */
    public static final class Closed implements MaskStrategy {
        Closed(int unused) {
            assertEquals(1, unused);
        }

        @Override
        public TokenMask draw(MaskContext context) {
            throw new AssertionError("never made");
        }
    }

    @Test
    void wordsThatNameNoStrategyAreRefused() {
        String name = Checkerboard.class.getName();
        String inner = MaskStrategyTest.class.getName() + "$";
        refused(() -> MaskStrategy.of("moton"), "mask strategy 'moton' is none; pass tube, pairs, partition, per-slot");
        refused(() -> MaskStrategy.of(""), "mask strategy '' is none");
        refused(() -> MaskStrategy.of("com.example.Mine"), "or the name of a class on the class path");
        refused(() -> MaskStrategy.of("tube:3"), "tube takes no parameter; pass tube");
        refused(() -> MaskStrategy.of("running:x"), "running:x names no side");
        refused(() -> MaskStrategy.of("running:12"), "running cells of 12 x 12 patches");
        refused(() -> MaskStrategy.of("java.lang.String"), "does not implement tessera.nn.MaskStrategy");
        refused(() -> MaskStrategy.of(name + ":x"), "cannot be made: java.lang.NumberFormatException");
        refused(() -> MaskStrategy.of(inner + "Unfinished"), "is abstract or not public");
        refused(() -> MaskStrategy.of(inner + "Closed"), "has no public constructor without parameters");
        refused(() -> MaskStrategy.of(inner + "Closed:7"), "has no public constructor of a string");
    }

    @Test
    void masksThatCannotBeTrainedWithAreRefused() {
        MaskContext context = new MaskContext(Device.cpu(), 1, new TokenGrid(1, 2, 2), .5, 9, 0, 0);
        context.requireWhole(mask(new int[] {0, 3}, new int[] {1, 2}));
        refused(() -> context.requireWhole(mask(new int[] {0, 3}, new int[] {1, 0})), "clip 0 names token 0 twice");
        refused(
                () -> context.requireWhole(mask(new int[] {0, 3}, new int[] {1, 4})),
                "names token 4 twice, or there is");
        refused(() -> context.requireWhole(mask(new int[] {0, 3}, new int[] {1})), "it must hide i32[1, 2]");
        refused(() -> context.requireWhole(mask(new int[] {0, 7}, new int[] {1, 2})), "sees token 7");
    }

    private static TokenMask mask(int[] visible, int[] masked) {
        return new TokenMask(Tensor.of(visible, 1, visible.length), Tensor.of(masked, 1, masked.length));
    }

    private static void refused(Runnable call, String part) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }
}
