package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.View;
import tessera.distill.data.Views;
import tessera.kernels.Device;
import tessera.tensor.Scope;

/** Batches hold what the recipe's views show of the clips, and labels of the heads that were asked for. */
class ClipBatchesTest {
    private static final Geometry STORED = new Geometry(4, 24, 6);
    private static final Geometry SEEN = new Geometry(2, 16, 4);
    private static final Set<Modality> BOTH = Set.of(Modality.RGB, Modality.FLOW);
    private static final Recipe RECIPE = Recipe.defaults().withBatch(3).withViews(Views.PUBLISHED);

    private final ClipSet clips = ClipSet.load(
            STORED,
            List.of("open door", "open box"),
            Map.of("verb", List.of("open", "open"), "noun", List.of("door", "box")),
            new int[] {0, 1, 1, 0, 1},
            BOTH,
            ClipBatchesTest::clip,
            done -> {});

    private static Map<Modality, MemorySegment> clip(int number) {
        RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(number);
        byte[] rgb = new byte[4 * 24 * 24 * 3];
        random.nextBytes(rgb);
        float[] flow = new float[4 * 24 * 24 * 2];
        for (int i = 0; i < flow.length; i++) {
            flow[i] = random.nextInt(64);
        }
        return Map.of(Modality.RGB, MemorySegment.ofArray(rgb), Modality.FLOW, MemorySegment.ofArray(flow));
    }

    @AfterEach
    void close() {
        clips.close();
    }

    private ClipBatches batches(Recipe recipe) {
        return new ClipBatches(clips, SEEN, BOTH, Set.of("verb", "noun"), recipe, 5, 6);
    }

    @Test
    void everyModalityOfAClipIsSeenInOneView() {
        int[] indices = new EpochOrder(5, 5).batch(9, 3);
        try (Scope scope = Scope.open()) {
            Batch batch = batches(RECIPE).at(Device.cpu(), 9);
            List<View> each = new ArrayList<>();
            for (int i = 0; i < 3; i++) {
                each.add(Views.PUBLISHED.train(STORED, SEEN, 6, 9, i));
            }
            for (Modality modality : BOTH) {
                assertArrayEquals(
                        clips.view(Device.cpu(), modality, indices, each).toDoubles(),
                        batch.clips(modality).toDoubles());
            }
            assertEquals(Set.of("noun", "verb"), batch.labels().keySet());
            int[] nouns = clips.head("noun").ofClip();
            assertArrayEquals(
                    new int[] {nouns[indices[0]], nouns[indices[1]], nouns[indices[2]]},
                    batch.labels("noun").toInts());
            assertArrayEquals(new int[] {0, 0, 0}, batch.labels("verb").toInts());
        }
    }

    @Test
    void aStepIsTheSameWhateverCameBefore() {
        try (Scope scope = Scope.open()) {
            ClipBatches used = batches(RECIPE);
            for (int step = 0; step < 4; step++) {
                used.at(Device.cpu(), step);
            }
            for (Modality modality : BOTH) {
                assertArrayEquals(
                        batches(RECIPE).at(Device.cpu(), 4).clips(modality).toDoubles(),
                        used.at(Device.cpu(), 4).clips(modality).toDoubles());
            }
        }
    }

    @Test
    void withoutAugmentationClipsAreSeenAsInTests() {
        int[] indices = new EpochOrder(5, 5).batch(1, 3);
        View middle = Views.PUBLISHED.test(STORED, SEEN, 1, 1).getFirst();
        try (Scope scope = Scope.open()) {
            assertArrayEquals(
                    clips.view(Device.cpu(), Modality.RGB, indices, middle).toDoubles(),
                    batches(RECIPE.withAugment(false))
                            .at(Device.cpu(), 1)
                            .clips(Modality.RGB)
                            .toDoubles());
        }
    }

    @Test
    void otherSizesNeedViews() {
        Recipe plain = RECIPE.withViews(null);
        Exception refused = assertThrows(IllegalArgumentException.class, () -> batches(plain));
        assertTrue(String.valueOf(refused.getMessage()).endsWith("give it views, such as Views.PUBLISHED"));
        assertThrows(
                IllegalArgumentException.class, () -> new ClipBatches(clips, SEEN, BOTH, Set.of("tool"), RECIPE, 5, 6));
    }

    @Test
    void viewsAreSettingsOfARun() {
        Settings plain = RECIPE.withViews(null).settings();
        Settings standard = RECIPE.settings();
        assertEquals(List.of(), standard.differences(RECIPE.settings(), plain));
        assertEquals(
                List.of("views.mirror was false, is true"),
                standard.differences(
                        RECIPE.withViews(Views.PUBLISHED.withMirror(true)).settings(), plain));
        assertTrue(plain.differences(standard, plain).getFirst().startsWith("views was none, is {frames=UNIFORM"));
        assertTrue(!plain.json().contains("views"), "runs from before there were views resume");
    }
}
