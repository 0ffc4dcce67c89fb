package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Random;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsFile;

/** A file that is missing or broken is named and refused, or its clip is counted and left out; nothing ever stands in for it. */
class BrokenClipsTest {
    private static final int CLIPS = 6;
    private static final Map<String, List<String>> MODELS = Map.of(
            "rgb",
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2"),
            "flow",
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2"),
            "boxes",
            List.of("--dim=16", "--depths=1,1", "--attention-heads=2"),
            "audio",
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2"));

    @TempDir
    private static Path models;

    @TempDir
    private Path folder;

    private Path data;

    @BeforeAll
    static void teach() throws IOException {
        Path whole = write(models.resolve("whole"));
        for (String modality : MODELS.keySet()) {
            Shell.succeed(training(modality, whole, models.resolve(modality)));
        }
    }

    @BeforeEach
    void write() throws IOException {
        data = write(folder.resolve("data"));
    }

    private static Path write(Path root) throws IOException {
        OwnClips.write(root, CLIPS / 2, "dark", "bright");
        for (String label : List.of("dark", "bright")) {
            for (int i = 0; i < CLIPS / 2; i++) {
                Random random = new Random(label.hashCode() + i);
                float[] boxes = new float[4 * 14 * 8];
                for (int b = 0; b < boxes.length; b += 8) {
                    boxes[b + 2] = random.nextFloat();
                    boxes[b + 3] = random.nextFloat();
                    boxes[b + 4] = 1;
                    boxes[b + 5] = 1 + random.nextInt(2);
                }
                save(root, "boxes", label, i, ArrayData.of("boxes", boxes, 4, 14, 1, 8));
                float[] sound = new float[4 * 16 * 16];
                for (int k = 0; k < sound.length; k++) {
                    sound[k] = -40 * random.nextFloat();
                }
                save(root, "audio", label, i, ArrayData.of("audio", sound, 4, 16, 16, 1));
            }
        }
        return root;
    }

    private static void save(Path root, String modality, String label, int i, ArrayData array) throws IOException {
        Path folder = Files.createDirectories(root.resolve(modality).resolve(label));
        Npy.write(folder.resolve("clip" + i + ".npy"), array);
    }

    private static Object[] training(String modality, Path data, Path out, String... more) {
        List<Object> words = new ArrayList<>(List.of("train", "--modality=" + modality, "--clips", data));
        words.addAll(requireNonNull(MODELS.get(modality)));
        return words(words, out, more);
    }

    private static Object[] distilling(String teacher, Path data, Path out, String... more) {
        List<Object> words = new ArrayList<>(List.of("distill", "--heads=action", "--clips", data));
        words.addAll(
                List.of("--teachers", "rgb=" + models.resolve("rgb") + "," + teacher + "=" + models.resolve(teacher)));
        words.addAll(requireNonNull(MODELS.get("rgb")));
        return words(words, out, more);
    }

    private static Object[] words(List<Object> words, Path out, String... more) {
        words.addAll(List.of("--batch=2", "--steps=1", "--threads=1", "--quiet", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    /** The clip number 1 of bright, by which every test breaks the set. */
    private Path broken(String modality) {
        return data.resolve(modality).resolve("bright").resolve("clip1.npy");
    }

    private Path replaced(String modality, String extension) throws IOException {
        Files.delete(broken(modality));
        return data.resolve(modality).resolve("bright").resolve("clip1" + extension);
    }

    /**
     * Every command refuses the set, and leaves the clip out where it is asked to.
     *
     * @param teacher a modality of distill's, beside rgb
     * @param named what the refusal names
     */
    private void refusedOrLeftOut(String modality, String teacher, String... named) throws IOException {
        List<String> expected = new ArrayList<>(List.of(named));
        expected.add("(1 of " + CLIPS + " clips is broken)");
        Shell.refuse(expected, training(modality, data, folder.resolve("never")));
        Shell.refuse(expected, distilling(teacher, data, folder.resolve("never")));
        Shell.refuse(
                expected, "evaluate", "--student", models.resolve(modality + "/model.safetensors"), "--clips", data);
        assertTrue(Files.notExists(folder.resolve("never")));

        List<String> told = List.of(named);
        leftOut(told, "model.safetensors", "train", training(modality, data, folder.resolve("train"), "--skip-broken"));
        leftOut(
                told,
                "student.safetensors",
                "distill",
                distilling(teacher, data, folder.resolve("distill"), "--skip-broken"));
    }

    private void leftOut(List<String> told, String file, String command, Object[] words) throws IOException {
        String note = Shell.shown(() -> Shell.succeed(words));
        assertEquals(1, note.lines().count(), note);
        assertTrue(note.startsWith("load: 1 of " + CLIPS + " clips left out; the first: "), note);
        told.forEach(part -> assertTrue(note.contains(part), () -> "no '" + part + "' in: " + note));
        Path result = folder.resolve(command).resolve(file);
        try (SafetensorsFile model = Safetensors.open(result)) {
            String clips = String.valueOf(model.metadata().get("tessera.clips"));
            assertTrue(clips.startsWith(CLIPS - 1 + " clips "), clips);
        }
    }

    @Test
    void flowIsMissing() throws IOException {
        Files.delete(broken("flow"));
        refusedOrLeftOut(
                "flow", "flow", "has no counterpart " + broken("flow"), "every clip needs all of its modalities");
    }

    @Test
    void aModelThatDoesNotSeeFlowDoesNotMissIt() throws IOException {
        Files.delete(broken("flow"));
        Shell.succeed(training("rgb", data, folder.resolve("rgb")));
    }

    @Test
    void aFrameIsCutOff() throws IOException {
        Path frames = Files.createDirectories(replaced("rgb", ""));
        Random random = new Random(3);
        for (int i = 0; i < 8; i++) {
            BufferedImage image = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
            for (int k = 0; k < 64 * 64; k++) {
                image.setRGB(k % 64, k / 64, random.nextInt(1 << 24));
            }
            ImageIO.write(image, "jpg", frames.resolve("frame" + i + ".jpg").toFile());
        }
        Path cut = frames.resolve("frame5.jpg"); // Of eight frames every second one is looked at, from 1 on.
        byte[] whole = Files.readAllBytes(cut);
        Files.write(cut, Arrays.copyOf(whole, whole.length / 2));
        refusedOrLeftOut("rgb", "audio", cut + " cannot be read as a picture", "premature end");
    }

    @Test
    void boxesHaveTooFewFrames() throws IOException {
        Path json = replaced("boxes", ".json");
        Files.writeString(json, "{\"width\": 4, \"height\": 4, \"frames\": [[], [], []]}");
        refusedOrLeftOut("boxes", "boxes", json + " holds 3 frames but clips have 4");
    }

    /** Pictures tell how many frames the clip has; boxes alone do not know. */
    @Test
    void boxesHaveOtherFramesThanThePictures() throws IOException {
        Path frames = Files.createDirectories(replaced("rgb", ""));
        for (int i = 0; i < 6; i++) {
            BufferedImage image = new BufferedImage(16, 16, BufferedImage.TYPE_INT_RGB);
            ImageIO.write(image, "png", frames.resolve(i + ".png").toFile());
        }
        Path json = replaced("boxes", ".json");
        Files.writeString(json, "{\"width\": 4, \"height\": 4, \"frames\": [[], [], [], [], []]}");
        String what = json + " holds 5 frames but " + frames + " 6";
        Shell.refuse(List.of(what, "(1 of 6 clips is broken)"), distilling("boxes", data, folder.resolve("never")));
        leftOut(
                List.of(what),
                "student.safetensors",
                "distill",
                distilling("boxes", data, folder.resolve("distill"), "--skip-broken"));
    }

    @Test
    void soundHasNoLength() throws IOException {
        Path wav = replaced("audio", ".wav");
        Files.write(wav, new byte[0]);
        refusedOrLeftOut("audio", "audio", wav + " is no WAV file");
    }

    @Test
    void soundHasNoSamples() throws IOException {
        Path wav = replaced("audio", ".wav");
        byte[] head = HexFormat.of()
                .parseHex("524946462400000057415645666d7420100000000100010040"
                        + "1f0000803e0000020010006461746100000000");
        Files.write(wav, head);
        refusedOrLeftOut("audio", "audio", wav + " holds no sound");
    }

    @Test
    void numbersAreNone() throws IOException {
        float[] flow = new float[4 * 16 * 16 * 2];
        flow[700] = Float.NaN;
        Npy.write(broken("flow"), ArrayData.of("flow", flow, 4, 16, 16, 2));
        refusedOrLeftOut("flow", "flow", broken("flow") + " holds NaN but numbers must be finite");
    }

    @Test
    void numbersOfBoxesAndSoundAreNone() throws IOException {
        float[] boxes = new float[4 * 14 * 8];
        boxes[9] = Float.NaN;
        Npy.write(broken("boxes"), ArrayData.of("boxes", boxes, 4, 14, 1, 8));
        refusedOrLeftOut("boxes", "boxes", broken("boxes") + " holds NaN");
    }
}
