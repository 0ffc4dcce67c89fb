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
    private static final Modality AUDIO = new Modality(
            "audio",
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
        for (Modality modality : List.of(AUDIO, Modality.RGB)) {
            Files.createDirectories(folder.resolve(modality.id()).resolve("label"));
        }
        Npy.write(folder.resolve("audio/label/a.npy"), ArrayData.of("a", values, 4, 16, 16, 1));
        Npy.write(folder.resolve("rgb/label/a.npy"), ArrayData.of("a", new byte[4 * 16 * 16 * 3], 4, 16, 16, 3));
        ModalityFolders folders = ModalityFolders.open(folder, Set.of(AUDIO, Modality.RGB), null);
        try (ClipSet clips = folders.load(done -> {});
                Scope scope = Scope.open()) {
            assertEquals(Set.of(AUDIO, Modality.RGB), clips.modalities());
            Tensor batch = clips.batch(AUDIO, new int[] {0, 0});
            assertEquals("[2, 4, 16, 16, 1]", batch.shape().toString());
            float[] first = Arrays.copyOf(batch.toFloats(), values.length);
            assertArrayEquals(values, first, "halves below 64 are exact in bf16");
        }
        Patches patches = new ModalityInput(folders.geometry(), 4, 2, FlowStats.NONE).patches(AUDIO);
        assertEquals(1, patches.channels());
        assertArrayEquals(new double[] {-28.1125}, patches.mean());
        assertArrayEquals(new double[] {16.5627}, patches.std());
    }

    @Test
    void theOrderIsTheSameInEveryProcess() {
        assertEquals(List.of(Modality.RGB, Modality.FLOW, Modality.POSE), List.copyOf(Modality.ALL));
        assertEquals(
                List.of(Modality.RGB, Modality.FLOW, Modality.POSE, AUDIO),
                List.copyOf(new TreeSet<>(Set.of(AUDIO, Modality.POSE, Modality.FLOW, Modality.RGB))));
    }

    @Test
    void namesAreFoundInAnyCaseAndOthersRefused() {
        assertSame(Modality.POSE, Modality.of("Pose"));
        Exception unknown = assertThrows(IllegalArgumentException.class, () -> Modality.of("sound"));
        assertEquals("there is no modality 'sound'; pass rgb, flow or pose", unknown.getMessage());
        assertThrows(IllegalArgumentException.class, () -> new Modality("A/B", AUDIO.layout()));
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
