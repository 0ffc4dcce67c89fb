package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Sets hold five modalities, labels of several heads, and only the clips that were there. */
class ClipSetTest {
    private static final Geometry GEOMETRY = new Geometry(2, 16, 4);

    @Test
    void boxesAreKeptExactlyAndSoundToTheNextHalf() {
        try (ClipSet clips = SmallClips.make(GEOMETRY, Map.of(), i -> true);
                Scope scope = Scope.open()) {
            Tensor boxes = clips.batch(Modality.BOXES, new int[] {4, 1});
            assertEquals("[2, 2, 14, 1, 8]", boxes.shape().toString());
            assertEquals(DType.F32, boxes.dtype());
            float[] second = new float[2 * 14 * 8];
            System.arraycopy(boxes.toFloats(), second.length, second, 0, second.length);
            float[] given = requireNonNull(
                            SmallClips.clip(GEOMETRY, Modality.KNOWN, 1).get(Modality.BOXES))
                    .toArray(ValueLayout.JAVA_FLOAT);
            assertArrayEquals(given, second);
            Tensor sound = clips.batch(Modality.AUDIO, new int[] {1});
            assertEquals("[1, 2, 16, 16, 1]", sound.shape().toString());
            assertArrayEquals(
                    requireNonNull(SmallClips.clip(GEOMETRY, Modality.KNOWN, 1).get(Modality.AUDIO))
                            .toArray(ValueLayout.JAVA_FLOAT),
                    sound.toFloats(),
                    "whole numbers below 256 are exact in bf16");
        }
    }

    @Test
    void everyHeadHasItsLabels() {
        try (ClipSet clips = SmallClips.make(GEOMETRY, SmallClips.HEADS, i -> true)) {
            assertEquals(List.of("action", "noun", "verb"), clips.heads());
            assertEquals(List.of("cut", "open"), clips.head("verb").classes());
            assertArrayEquals(new int[] {1, 1, 0, 1, 1, 0}, clips.head("verb").ofClip());
            assertEquals(List.of("box", "bread", "door"), clips.head("noun").classes());
            assertArrayEquals(new int[] {2, 0, 1, 2, 0, 1}, clips.head("noun").ofClip());
            assertEquals(SmallClips.CLASSES, clips.head("action").classes());
            assertArrayEquals(clips.labels(), clips.head("action").ofClip());
            Exception unknown = assertThrows(IllegalArgumentException.class, () -> clips.head("tool"));
            assertEquals(
                    "the clips have no labels for the head 'tool', only for [action, noun, verb]; name one of these, or"
                            + " give clips of your own a labels.csv with it",
                    unknown.getMessage());
        }
    }

    @Test
    void aTableHasOneValueForEveryClass() {
        Map<String, List<String>> tooFew = Map.of("verb", List.of("open"));
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> SmallClips.make(GEOMETRY, tooFew, i -> true));
        assertEquals("the head 'verb' has 1 values for 3 classes; pass one for each class", refused.getMessage());
        Map<String, List<String>> taken = Map.of("action", SmallClips.CLASSES);
        assertThrows(IllegalArgumentException.class, () -> SmallClips.make(GEOMETRY, taken, i -> true));
    }

    @Test
    void clipsLeftOutAreInNoModality() {
        try (ClipSet all = SmallClips.make(GEOMETRY, SmallClips.HEADS, i -> true);
                ClipSet some = SmallClips.make(GEOMETRY, SmallClips.HEADS, i -> i != 0 && i != 4);
                Scope scope = Scope.open()) {
            assertEquals(4, some.size());
            assertArrayEquals(new int[] {1, 2, 0, 2}, some.labels());
            assertArrayEquals(new int[] {0, 1, 2, 1}, some.head("noun").ofClip());
            for (Modality modality : Modality.KNOWN) {
                assertArrayEquals(
                        all.batch(modality, new int[] {1, 2, 3, 5}).toDoubles(),
                        some.batch(modality, new int[] {0, 1, 2, 3}).toDoubles(),
                        modality.id());
            }
            assertEquals("4 clips", some.checksum().substring(0, 7));
        }
    }

    @Test
    void checksumsTellHeadsApart() {
        try (ClipSet without = SmallClips.make(GEOMETRY, Map.of(), i -> true);
                ClipSet with = SmallClips.make(GEOMETRY, SmallClips.HEADS, i -> true);
                ClipSet again = SmallClips.make(GEOMETRY, SmallClips.HEADS, i -> true)) {
            assertEquals(with.checksum(), again.checksum());
            assertNotEquals(without.checksum(), with.checksum());
        }
    }

    /** Labels that differ in their higher bytes alone. */
    @Test
    void checksumsTellEveryLabelApart() {
        List<String> classes =
                IntStream.range(0, 257).mapToObj(i -> "%03d".formatted(i)).toList();
        assertNotEquals(checksum(classes, Map.of(), 0), checksum(classes, Map.of(), 256));
        List<String> swapped = new ArrayList<>(classes);
        Collections.swap(swapped, 0, 256);
        assertNotEquals(checksum(classes, Map.of("verb", classes), 7), checksum(classes, Map.of("verb", swapped), 7));
    }

    private static String checksum(List<String> classes, Map<String, List<String>> heads, int label) {
        try (ClipSet clips = ClipSet.load(
                GEOMETRY,
                classes,
                heads,
                new int[] {label},
                Set.of(Modality.POSE),
                i -> SmallClips.clip(GEOMETRY, Set.of(Modality.POSE), 0),
                done -> {})) {
            return clips.checksum();
        }
    }

    @Test
    void clipsAreCalledByTheirPlaceInTheirClassAndThoseLeftOutAreKnown() {
        try (ClipSet some = SmallClips.make(GEOMETRY, Map.of(), i -> i != 0 && i != 4)) {
            assertEquals(List.of("open box/0", "cut bread/0", "open door/1", "cut bread/1"), some.names());
            assertEquals(Set.of("open door/0", "open box/1"), some.leftOut());
        }
    }
}
