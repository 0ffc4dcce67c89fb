package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.train.ModalityInput;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Modalities are open: one that nobody foresaw goes from files to a model's input. */
class ModalityTest {
    private static final Modality DEPTH = new Modality(
            "depth",
            new SampleLayout(
                    1, SampleLayout.Values.REAL, SampleLayout.Grid.PICTURE, List.of(-28.1125), List.of(16.5627)));

    @TempDir
    private Path folder;

    @Test
    void anUnforeseenModalityIsReadAndNormalised() throws IOException {
        float[] values = new float[4 * 16 * 16];
        for (int i = 0; i < values.length; i++) {
            values[i] = -.5f * (i % 128);
        }
        for (Modality modality : List.of(DEPTH, Modality.RGB)) {
            Files.createDirectories(folder.resolve(modality.id()).resolve("label"));
        }
        Npy.write(folder.resolve("depth/label/a.npy"), ArrayData.of("a", values, 4, 16, 16, 1));
        Npy.write(folder.resolve("rgb/label/a.npy"), ArrayData.of("a", new byte[4 * 16 * 16 * 3], 4, 16, 16, 3));
        ModalityFolders folders = ModalityFolders.open(folder, Set.of(DEPTH, Modality.RGB), null);
        try (ClipSet clips = folders.load(done -> {});
                Scope scope = Scope.open()) {
            assertEquals(Set.of(DEPTH, Modality.RGB), clips.modalities());
            Tensor batch = clips.batch(DEPTH, new int[] {0, 0});
            assertEquals("[2, 4, 16, 16, 1]", batch.shape().toString());
            float[] first = Arrays.copyOf(batch.toFloats(), values.length);
            assertArrayEquals(values, first, "halves below 64 are exact in bf16");
        }
        Patches patches = new ModalityInput(folders.geometry(), 4, 2, FlowStats.NONE).patches(DEPTH);
        assertEquals(1, patches.channels());
        assertArrayEquals(new double[] {-28.1125}, patches.mean());
        assertArrayEquals(new double[] {16.5627}, patches.std());
    }

    @Test
    void theOrderIsTheSameInEveryProcess() {
        assertEquals(List.of(Modality.RGB, Modality.FLOW, Modality.POSE), List.copyOf(Modality.ALL));
        assertEquals(
                List.of(Modality.RGB, Modality.FLOW, Modality.POSE, Modality.AUDIO, Modality.BOXES),
                List.copyOf(Modality.KNOWN));
        assertEquals(
                List.of(Modality.RGB, Modality.FLOW, Modality.POSE, DEPTH),
                List.copyOf(new TreeSet<>(Set.of(DEPTH, Modality.POSE, Modality.FLOW, Modality.RGB))));
    }

    @Test
    void namesAreFoundInAnyCaseAndOthersRefused() {
        assertSame(Modality.POSE, Modality.of("Pose"));
        assertSame(Modality.BOXES, Modality.of("boxes"));
        assertSame(Modality.AUDIO, Modality.of("AUDIO"));
        Exception unknown = assertThrows(IllegalArgumentException.class, () -> Modality.of("sound"));
        assertEquals("there is no modality 'sound'; pass one of rgb, flow, pose, audio, boxes", unknown.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new Modality("A/B", DEPTH.layout()));
    }

    @Test
    void sizesFollowTheGridOfAModality() {
        Geometry wide = new Geometry(4, 32, 8).withWidth(48);
        assertEquals(new Geometry(4, 32, 48, 8, 12), wide);
        int[] cells = Modality.KNOWN.stream()
                .flatMapToInt(modality -> IntStream.of(wide.rows(modality), wide.columns(modality)))
                .toArray();
        assertArrayEquals(new int[] {32, 48, 32, 48, 8, 12, 32, 32, 14, 1}, cells);
        assertEquals(32, wide.side(Modality.AUDIO));
        Exception refused = assertThrows(IllegalArgumentException.class, () -> wide.side(Modality.BOXES));
        assertTrue(
                requireNonNull(refused.getMessage()).startsWith("boxes has 14 x 1 cells in a frame"),
                refused.getMessage());
        assertThrows(IllegalArgumentException.class, () -> wide.withWidth(31));
    }

    @Test
    void aLayoutHasAFigureForEveryChannelOrNone() {
        Exception refused = assertThrows(
                IllegalArgumentException.class,
                () -> new SampleLayout(
                        3, SampleLayout.Values.BYTE, SampleLayout.Grid.PICTURE, List.of(.5), List.of(.5)));
        assertTrue(
                requireNonNull(refused.getMessage()).startsWith("a layout of 3 channels with 1 means"),
                refused.getMessage());
    }
}
