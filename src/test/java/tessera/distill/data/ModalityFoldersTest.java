package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.function.IntFunction;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.nn.audio.MelSpectrogram;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Folders of pictures, flow pictures, boxes and sound become clips; what is broken is named and counted. */
class ModalityFoldersTest {
    private static final Geometry FOUR = new Geometry(4, 16, 4);
    private static final Set<Modality> SEEN = Set.of(Modality.RGB, Modality.FLOW, Modality.BOXES, Modality.AUDIO);

    @TempDir
    private Path root;

    private Path place(String... names) throws IOException {
        Path file = root.resolve(String.join("/", names));
        Files.createDirectories(requireNonNull(file.getParent()));
        return file;
    }

    private void pictures(String folder, String extension, int count, IntFunction<BufferedImage> picture)
            throws IOException {
        for (int i = 0; i < count; i++) {
            Path file = place(folder, "frame" + (i + 1) + "." + extension);
            assertTrue(ImageIO.write(picture.apply(i), extension, file.toFile()));
        }
    }

    private static BufferedImage colour(int width, int height, Color colour) {
        BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
        Graphics2D graphics = image.createGraphics();
        graphics.setColor(colour);
        graphics.fillRect(0, 0, width, height);
        graphics.dispose();
        return image;
    }

    private static BufferedImage grey(int width, int height, int level) {
        BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY);
        int[] levels = new int[width * height];
        Arrays.fill(levels, level);
        image.getRaster().setPixels(0, 0, width, height, levels);
        return image;
    }

    private static String boxes(int frames) {
        List<String> lists = new ArrayList<>();
        for (int i = 0; i < frames; i++) {
            lists.add("[{\"box\": [" + i + ", 5, 20, 10], \"class\": \"hand\", \"score\": 0.5, \"side\": \"left\"}]");
        }
        return "{\"width\": 40, \"height\": 20, \"frames\": [" + String.join(", ", lists) + "]}";
    }

    /** A clip of twelve frames in all four modalities; frame i has the level 20 i. */
    private void clip(String label, String name) throws IOException {
        pictures("rgb/" + label + "/" + name, "png", 12, i -> colour(40, 20, new Color(20 * i, 0, 255 - 20 * i)));
        pictures("flow/" + label + "/" + name + "/u", "png", 11, i -> grey(40, 20, 20 * i));
        pictures("flow/" + label + "/" + name + "/v", "png", 11, i -> grey(40, 20, 255));
        Files.writeString(place("boxes", label, name + ".json"), boxes(12));
        float[] sound = new float[12 * 1600];
        for (int i = 0; i < sound.length; i++) {
            sound[i] = (float) (Math.sin(i * .3 * (1 + i / 1600)) / 2);
        }
        Files.write(place("audio", label, name + ".wav"), WavFileTest.pcm16(16000, 1, sound));
    }

    private ModalityFolders open(Set<Modality> modalities, ModalityFolders.Options options) {
        return ModalityFolders.open(root, modalities, FOUR, options);
    }

    @Test
    void framesFlowBoxesAndSoundOfTheSameMoments() throws IOException {
        clip("cut", "a");
        try (ClipSet clips = open(SEEN, ModalityFolders.Options.DEFAULT).load(done -> {});
                Scope scope = Scope.open()) {
            int[] first = {0};
            int[] rgb = clips.batch(Modality.RGB, first).toInts();
            float[] flow = clips.batch(Modality.FLOW, first).toFloats();
            float[] found = clips.batch(Modality.BOXES, first).toFloats();
            float[] sound = clips.batch(Modality.AUDIO, first).toFloats();
            WavFile wav = WavFile.read(root.resolve("audio/cut/a.wav"));
            double[] seconds = new double[4];
            for (int t = 0; t < 4; t++) {
                int frame = 3 * t + 1; // the middle of three
                seconds[t] = (frame + .5) / 10;
                assertEquals(20 * frame, rgb[t * 16 * 16 * 3], "red of frame " + frame);
                assertEquals(255 - 20 * frame, rgb[t * 16 * 16 * 3 + 2], "blue of frame " + frame);
                // Of 40 columns 16 are left, of 20 rows 16.
                Close.within(flow[t * 512], (20 * frame / 127.5 - 1) * 20 * 16 / 40, .05, "to the right, in bf16");
                Close.within(flow[t * 512 + 1], 20 * 16 / 20.0, .05, "down");
                float[] box = Arrays.copyOfRange(found, t * 14 * 8, t * 14 * 8 + 16);
                float[] expected = {
                    frame / 40f, .25f, .5f, .5f, .5f, Boxes.HAND, Boxes.LEFT, 0, 0, 0, 1e-9f, 1e-9f, 0, 0, 0, 0
                };
                assertArrayEquals(expected, box, "kept exactly");
            }
            float[] images =
                    new MelSpectrogram(16).images(wav.samples(), 16000, seconds).toFloats();
            for (int i = 0; i < images.length; i++) {
                Close.within(sound[i], images[i], .3, "decibel in bf16 at " + i);
            }
        }
    }

    @Test
    void theLastPairOfFlowStandsForTheLastFrameToo() throws IOException {
        pictures("rgb/cut/a", "png", 4, i -> colour(16, 16, Color.RED));
        pictures("flow/cut/a/u", "png", 3, i -> grey(16, 16, 255 * (i % 2)));
        pictures("flow/cut/a/v", "png", 3, i -> grey(16, 16, 255));
        ModalityFolders folders =
                open(Set.of(Modality.RGB, Modality.FLOW), ModalityFolders.Options.DEFAULT.withFlowBound(8));
        try (ClipSet clips = folders.load(done -> {});
                Scope scope = Scope.open()) {
            float[] flow = clips.batch(Modality.FLOW, new int[] {0}).toFloats();
            float[] right = {flow[0], flow[512], flow[1024], flow[1536]};
            assertArrayEquals(new float[] {-8, 8, -8, -8}, right);
            assertEquals(8, flow[1]);
        }
        FlowStats stats = folders.flowStats();
        Close.within(stats.mean().get(0), -4, 1e-6, "mean to the right");
        Close.within(stats.mean().get(1), 8, 1e-6, "mean down");
    }

    @Test
    void flowIsMeasuredOnChosenClipsAlone() throws IOException {
        for (int i = 0; i < 3; i++) {
            float[] flow = new float[4 * 16 * 16 * 2];
            Arrays.fill(flow, i);
            Npy.write(place("flow/cut/" + i + ".npy"), ArrayData.of("a", flow, 4, 16, 16, 2));
        }
        ModalityFolders folders = ModalityFolders.open(root, Set.of(Modality.FLOW), null);
        assertEquals(Set.of("cut/0", "cut/1", "cut/2"), folders.names());
        assertEquals(List.of(1f, 1f), folders.flowStats().mean());
        assertEquals(
                List.of(.5f, .5f),
                folders.flowStats(name -> !name.equals("cut/2")).mean());
        assertThrows(IllegalArgumentException.class, () -> folders.flowStats(name -> false));
    }

    @Test
    void jpegFramesAreOrderedByTheirNumbers() throws IOException {
        pictures("rgb/cut/a", "jpg", 12, i -> colour(16, 16, new Color(20 * i, 20 * i, 20 * i)));
        try (ClipSet clips = ModalityFolders.open(root, Set.of(Modality.RGB), new Geometry(12, 16, 4))
                        .load(done -> {});
                Scope scope = Scope.open()) {
            int[] rgb = clips.batch(Modality.RGB, new int[] {0}).toInts();
            for (int t = 0; t < 12; t++) {
                Close.within(rgb[t * 768], 20 * t, 3, "frame10 comes after frame9");
            }
        }
    }

    @Test
    void widePicturesStayWide() throws IOException {
        Npy.write(place("rgb/cut/a.npy"), ArrayData.of("a", new byte[4 * 16 * 24 * 3], 4, 16, 24, 3));
        Npy.write(place("boxes/cut/a.npy"), ArrayData.of("a", new float[4 * 14 * 8], 4, 14, 1, 8));
        Npy.write(place("audio/cut/a.npy"), ArrayData.of("a", new float[4 * 16 * 16], 4, 16, 16, 1));
        ModalityFolders folders =
                ModalityFolders.open(root, Set.of(Modality.RGB, Modality.BOXES, Modality.AUDIO), null);
        assertEquals(new Geometry(4, 16, 24, 16, 24), folders.geometry());
        try (ClipSet clips = folders.load(done -> {});
                Scope scope = Scope.open()) {
            assertEquals(
                    "[1, 4, 16, 24, 3]",
                    clips.batch(Modality.RGB, new int[] {0}).shape().toString());
        }
    }

    @Test
    void aTableGivesFurtherHeads() throws IOException {
        for (String label : List.of("open door", "open box")) {
            pictures("rgb/" + label + "/a", "png", 4, i -> colour(16, 16, Color.RED));
        }
        Path table = place("labels.csv");
        Files.writeString(table, "label,verb,noun\nopen door, open, door\n\nopen box,open,box\nunused,x,y\n");
        try (ClipSet clips =
                open(Set.of(Modality.RGB), ModalityFolders.Options.DEFAULT).load(done -> {})) {
            assertEquals(List.of("action", "noun", "verb"), clips.heads());
            assertEquals(List.of("open box", "open door"), clips.classes());
            assertEquals(List.of("box", "door"), clips.head("noun").classes());
            assertArrayEquals(new int[] {0, 1}, clips.head("noun").ofClip());
            assertArrayEquals(new int[] {0, 0}, clips.head("verb").ofClip());
        }
        Files.writeString(table, "\uFEFFlabel,verb\r\n\"open door\",\"open, push\"\r\nopen box,open\r\n");
        try (ClipSet clips =
                open(Set.of(Modality.RGB), ModalityFolders.Options.DEFAULT).load(done -> {})) {
            assertEquals(List.of("open", "open, push"), clips.head("verb").classes());
        }
        Files.writeString(table, "label,verb\nopen door,open\n");
        refused("labels.csv has no line for the label 'open box'; add one, or remove the file");
        Files.writeString(table, "name,verb\nopen door,open\n");
        refused("labels.csv begins with 'name,verb'; its first line must be label and the names of heads");
        Files.writeString(table, "label,verb\nopen door\n");
        refused("labels.csv has 'open door' in line 2; give 2 words parted by commas");
        Files.writeString(table, "label,verb\nopen door,open\nopen door,open\n");
        refused("labels.csv has two lines for the label 'open door'");
    }

    private void refused(String text) {
        refused(text, Set.of(Modality.RGB));
    }

    private void refused(String text, Set<Modality> modalities) {
        Exception refused = assertThrows(
                IllegalArgumentException.class,
                () -> open(modalities, ModalityFolders.Options.DEFAULT)
                        .load(done -> {})
                        .close());
        String message = requireNonNull(refused.getMessage());
        assertTrue(message.contains(text), message);
        assertEquals(1, message.lines().count(), message);
    }

    @Test
    void missingFramesAreNamed() throws IOException {
        pictures("rgb/cut/a", "png", 12, i -> colour(16, 16, Color.RED));
        Files.delete(root.resolve("rgb/cut/a/frame7.png"));
        refused("a lacks the frame 7 after frame6.png; extract the clip again, or remove it (1 of 1 clips is broken)");
        Files.writeString(place("rgb/cut/a/notes.txt"), "?");
        refused("notes.txt is no numbered JPEG or PNG file");
    }

    @Test
    void framesInStepsLackNothing() throws IOException {
        for (int i = 0; i < 5; i++) {
            ImageIO.write(
                    colour(16, 16, Color.RED),
                    "png",
                    place("rgb/cut/a/" + 8 * i + ".png").toFile());
        }
        try (ClipSet clips =
                open(Set.of(Modality.RGB), ModalityFolders.Options.DEFAULT).load(done -> {})) {
            assertEquals(1, clips.size());
        }
        ImageIO.write(
                colour(16, 16, Color.RED), "png", place("rgb/cut/a/008.png").toFile());
        refused("have the same number; keep one of them");
    }

    @Test
    void tooFewFramesAreNotRepeated() throws IOException {
        pictures("rgb/cut/a", "png", 3, i -> colour(16, 16, Color.RED));
        refused("a holds 3 frames but clips have 4; load clips of fewer frames, or remove the clip");
    }

    @Test
    void countsThatDoNotMatchAreRefused() throws IOException {
        clip("cut", "a");
        Files.writeString(place("boxes/cut/a.json"), boxes(11));
        refused("a.json holds 11 frames but " + root.resolve("rgb/cut/a") + " 12; extract the clip again", SEEN);
        Files.writeString(place("boxes/cut/a.json"), boxes(4));
        try (ClipSet clips = open(SEEN, ModalityFolders.Options.DEFAULT).load(done -> {});
                Scope scope = Scope.open()) {
            float[] boxes = clips.batch(Modality.BOXES, new int[] {0}).toFloats();
            Close.within(boxes[3 * 14 * 8], 3 / 40.0, 1e-7, "boxes of exactly the clip's frames are taken as they are");
        }
        Files.delete(root.resolve("flow/cut/a/v/frame11.png"));
        refused("holds 11 pictures but " + root.resolve("flow/cut/a/v") + " 10", SEEN);
    }

    @Test
    void damagedPicturesAreNotFilledWithGrey() throws IOException {
        BufferedImage noise = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
        for (int i = 0; i < 64 * 64; i++) {
            noise.setRGB(i % 64, i / 64, i * 0x9E3779);
        }
        for (String extension : List.of("jpg", "png")) {
            pictures("rgb/cut/" + extension, extension, 4, i -> noise);
            Path file = root.resolve("rgb/cut/" + extension + "/frame3." + extension);
            byte[] whole = Files.readAllBytes(file);
            Files.write(file, Arrays.copyOf(whole, whole.length / 2));
        }
        refused(
                "frame3.jpg cannot be read as a picture (Corrupt JPEG data: premature end of data segment); extract it again, or remove the clip"
                        + " (the first of 2 broken clips of 2)");
        Files.writeString(root.resolve("rgb/cut/jpg/frame3.jpg"), "no picture");
        refused("frame3.jpg cannot be read as a picture (it is neither JPEG nor PNG)");
    }

    @Test
    void brokenClipsAreRefusedWithTheirNumber() throws IOException {
        for (String name : List.of("a", "b", "c", "d")) {
            clip("cut", name);
        }
        Files.delete(root.resolve("boxes/cut/b.json"));
        Files.delete(root.resolve("audio/cut/c.wav"));
        refused(
                "has no counterpart " + root.resolve("audio/cut/c.npy")
                        + "; every clip needs all of its modalities under the same label and name (the first of 2 broken"
                        + " clips of 4)",
                SEEN);
    }

    @Test
    void brokenClipsAreLeftOutOfEveryModalityWhereAskedFor() throws IOException {
        for (String name : List.of("a", "b", "c", "d")) {
            clip("cut", name);
        }
        clip("open", "e");
        Files.delete(root.resolve("boxes/cut/b.json"));
        Files.writeString(root.resolve("audio/cut/c.wav"), "no sound");
        pictures("rgb/cut/d", "png", 12, i -> colour(40, 20, Color.WHITE));
        List<String> notes = new ArrayList<>();
        ModalityFolders.Options skip = ModalityFolders.Options.DEFAULT.withSkipBroken(true);
        ModalityFolders folders = open(SEEN, skip);
        assertEquals(4, folders.size(), "one has no boxes");
        try (ClipSet clips = folders.load(done -> {}, notes::add);
                Scope scope = Scope.open()) {
            assertEquals(3, clips.size());
            assertEquals(List.of("cut", "open"), clips.classes());
            assertArrayEquals(new int[] {0, 0, 1}, clips.labels());
            for (Modality modality : SEEN) {
                assertEquals(2, clips.batch(modality, new int[] {0, 2}).size(0));
            }
            assertEquals(255, clips.batch(Modality.RGB, new int[] {1}).toInts()[0], "the clip d");
        }
        assertEquals(1, notes.size());
        String note = notes.getFirst();
        assertTrue(note.startsWith("2 of 5 clips left out; the first: " + root), note);
        assertTrue(note.contains("has no counterpart " + root.resolve("boxes/cut/b.npy")), note);

        for (String name : List.of("a", "d")) {
            Files.writeString(root.resolve("audio/cut/" + name + ".wav"), "no sound");
        }
        Files.delete(root.resolve("audio/open/e.wav"));
        Files.writeString(root.resolve("audio/open/e.wav"), "no sound");
        Exception none = assertThrows(
                IllegalArgumentException.class,
                () -> open(SEEN, skip).load(done -> {}).close());
        assertTrue(requireNonNull(none.getMessage()).endsWith("(the first of 5 broken clips of 5)"), none.getMessage());
    }

    @Test
    void otherFilesAreRefusedWithWhatIsRead() throws IOException {
        Files.writeString(place("boxes/cut/a.txt"), "?");
        refused("a.txt is no clip of boxes; give an npy or json file", Set.of(Modality.BOXES));
        Files.writeString(place("audio/cut/a.mp3"), "?");
        refused("a.mp3 is no clip of audio; give an npy or wav file", Set.of(Modality.AUDIO));
        Files.writeString(place("pose/cut/a.json"), "?");
        refused("a.json is no clip of pose; give an npy file", Set.of(Modality.POSE));
        assertThrows(IllegalArgumentException.class, () -> ModalityFolders.Options.DEFAULT.withFlowBound(0));
    }
}
