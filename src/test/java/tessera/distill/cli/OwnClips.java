package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Tiny clips in the layout of one's own data: 4 frames of 16 pixels, heat maps of 4 cells. */
final class OwnClips {
    private OwnClips() {}

    /** Writes clips of every modality, equally many for each label. Labels differ in brightness. */
    static Path write(Path root, int perLabel, String... labels) throws IOException {
        for (int label = 0; label < labels.length; label++) {
            for (int i = 0; i < perLabel; i++) {
                Random random = new Random(31L * label + i);
                byte[] rgb = new byte[4 * 16 * 16 * 3];
                random.nextBytes(rgb);
                for (int k = 0; k < rgb.length; k++) {
                    rgb[k] = (byte) (60 * label + (rgb[k] & 31));
                }
                save(root, "rgb", labels[label], i, ArrayData.of("rgb", rgb, 4, 16, 16, 3));
                save(root, "flow", labels[label], i, ArrayData.of("flow", floats(random, 2048, 3), 4, 16, 16, 2));
                save(root, "pose", labels[label], i, ArrayData.of("pose", floats(random, 1344, 1), 4, 4, 4, 21));
            }
        }
        return root;
    }

    /** The words that pretrain the tiniest model on them, of source and target alike. */
    static Object[] pretraining(String modality, Path data, Path out, int steps, Object... more) {
        List<Object> words =
                new ArrayList<>(List.of("pretrain", "--modality", modality, "--source", data, "--target", data));
        words.addAll(List.of("--dim=16", "--depth=1", "--heads=2", "--grid=2", "--batch=2", "--mask-ratio=0.5"));
        words.addAll(List.of("--threads=1", "--quiet", "--steps", steps, "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static float[] floats(Random random, int count, float most) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = most * random.nextFloat();
        }
        return values;
    }

    private static void save(Path root, String modality, String label, int i, ArrayData array) throws IOException {
        Path folder = Files.createDirectories(root.resolve(modality).resolve(label));
        Npy.write(folder.resolve("clip" + i + ".npy"), array);
    }
}
