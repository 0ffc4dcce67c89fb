package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.MadeVideo;
import tessera.distill.data.annotation.Annotation;
import tessera.distill.data.annotation.Annotation.Place;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipCut;
import tessera.nn.inference.VideoClip;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** What is noticed when an extraction goes on, and what becomes of pictures of another shape than the clips. */
class ExtractionChangesTest {
    private static final ClipCut WHOLE = ClipCut.whole(2, 16, 16);

    @TempDir
    private Path folder;

    private final List<String> notes = new ArrayList<>();

    private Path out() {
        return folder.resolve("out");
    }

    private ArrayData array(String file, Arena arena) {
        return Npy.read(out().resolve(file), arena);
    }

    private float[] floats(String file) {
        try (Arena arena = Arena.ofConfined()) {
            return array(file, arena).floats();
        }
    }

    private VideoClip rgb(String file) {
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = array("rgb/" + file, arena);
            long[] shape = array.shape();
            byte[] pixels = array.data().toArray(ValueLayout.JAVA_BYTE);
            return new VideoClip((int) shape[0], (int) shape[1], (int) shape[2], pixels);
        }
    }

    private static String boxes(double score) {
        String frame = "[{\"box\": [1, 2, 3, 4], \"class\": \"hand\", \"score\": " + score + "}]";
        return "{\"width\": 32, \"height\": 32, \"frames\": [" + String.join(",", List.of(frame, frame, frame)) + "]}";
    }

    private static void age(Path file, long millis) throws IOException {
        Files.setLastModifiedTime(file, FileTime.fromMillis(millis));
    }

    private Path video(String name) throws IOException {
        Path file = folder.resolve("videos/" + name + ".mkv");
        Files.createDirectories(requireNonNull(file.getParent()));
        return MadeVideo.write(file, MadeVideo.ramp("32x32", 3, 1) + " -c:v ffv1");
    }

    /** Boxes of one of two videos, or joints, or an array of flow in the midst of others: that video's clips alone are made anew. */
    @Test
    void whatLiesBesideAVideoIsNoticed() throws IOException {
        List<String> names = List.of("a/one", "b/two");
        Path beside = folder.resolve("beside");
        for (String name : names) {
            video(name);
            Path file = beside.resolve(name + ".json");
            Files.createDirectories(requireNonNull(file.getParent()));
            Files.writeString(file, boxes(.25));
            Path flow = Files.createDirectories(folder.resolve("flow/" + name));
            for (int frame = 1; frame <= 3; frame++) {
                Npy.write(flow.resolve("%05d.npy".formatted(frame)), ArrayData.of("flow", new float[512], 16, 16, 2));
            }
        }
        List<Extraction.Source> sources =
                ExtractionSources.labelled(folder.resolve("videos")).sources();
        Extraction extraction = new Extraction(
                WHOLE,
                Set.of(Modality.RGB, Modality.BOXES, Modality.FLOW),
                Map.of(Modality.BOXES, beside, Modality.FLOW, folder.resolve("flow")),
                0,
                false,
                0,
                2);
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        assertEquals(List.of(), notes, "nothing had changed");

        List<Path> clips =
                List.of(out().resolve("boxes/a/one.mkv-00000.npy"), out().resolve("boxes/b/two.mkv-00000.npy"));
        for (Path clip : clips) {
            age(clip, 1_000_000);
        }
        Files.writeString(beside.resolve("b/two.json"), boxes(.75));
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        assertEquals(1, notes.size(), notes::toString);
        assertTrue(
                notes.getFirst().startsWith("1 of 2 videos have changed, or what lies beside them,"), notes.getFirst());
        assertTrue(notes.getFirst().endsWith("two.mkv"), notes.getFirst());
        assertEquals(1_000_000, Files.getLastModifiedTime(clips.getFirst()).toMillis(), "the other's clip stays");
        float[] made = floats("boxes/b/two.mkv-00000.npy");
        assertTrue(IntStream.range(0, made.length).anyMatch(i -> made[i] == .75f), "scores are the new ones");

        float[] motion = new float[512];
        motion[0] = 2;
        Npy.write(folder.resolve("flow/a/one/00003.npy"), ArrayData.of("flow", motion, 16, 16, 2));
        age(folder.resolve("flow/a/one/00003.npy"), System.currentTimeMillis() + 5000);
        notes.clear();
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        assertTrue(notes.size() == 1 && notes.getFirst().endsWith("one.mkv"), notes::toString);
        assertEquals(2, floats("flow/a/one.mkv-00000.npy")[512], "the second frame of the clip");

        Files.delete(beside.resolve("a/one.json"));
        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class, () -> extraction.run(sources, out(), done -> {}, notes::add))
                .getMessage());
        assertTrue(message.contains("has no boxes"), message);
    }

    private int annotated(Segment segment, String label) {
        List<Annotation> rows = List.of(new Annotation(List.of(new Place("one", segment)), label, Map.of(), ""));
        ExtractionSources found = ExtractionSources.annotated(folder.resolve("videos"), rows, null, notes::add);
        return new Extraction(WHOLE, Set.of(Modality.RGB), false).run(found.sources(), out(), done -> {}, notes::add);
    }

    /** Another rate, step or label of the same frames. */
    @Test
    void changedAnnotationsAreNoticed() throws IOException {
        video("one");
        String clip = "label/one_f00000001_00000001-00000.npy";
        assertEquals(1, annotated(Segment.every(1, 1, 3), "label"));
        assertArrayEquals(new int[] {0, 1}, MadeVideo.numbers(rgb(clip)));
        assertEquals(1, annotated(Segment.every(2, 1, 3), "label"));
        assertArrayEquals(new int[] {0, 2}, MadeVideo.numbers(rgb(clip)));
        assertEquals(1, notes.size(), notes::toString);
        assertTrue(notes.getFirst().startsWith("1 of 1 parts of videos have changed"), notes.getFirst());
        notes.clear();
        // As where an earlier call was killed while it removed clips, or made several at a time.
        Path rest = out().resolve("rgb").resolve(clip.replace("-00000.npy", "-00002.npy"));
        Files.copy(out().resolve("rgb").resolve(clip), rest);
        assertEquals(1, annotated(Segment.every(2, 1, 3), "another"));
        assertEquals(List.of("the clips of 1 source that are no longer given were removed"), notes);
        assertTrue(Files.notExists(out().resolve("rgb/label")));
        assertArrayEquals(new int[] {0, 2}, MadeVideo.numbers(rgb("another/one_f00000001_00000001-00000.npy")));
    }

    /** A picture is three squares beside each other, 0, 120 and 240 grey; what is given beside it has a shape of its own. */
    @Test
    void theMiddleKeepsItsAspect() throws IOException {
        Path frames = Files.createDirectories(folder.resolve("frames/label/wide"));
        Path flow = Files.createDirectories(folder.resolve("flow/label/wide"));
        Path pose = Files.createDirectories(folder.resolve("pose/label/wide"));
        for (int number = 1; number <= 2; number++) {
            BufferedImage picture = new BufferedImage(96, 32, BufferedImage.TYPE_INT_RGB);
            float[] motion = new float[8 * 24 * 2];
            float[] maps = new float[4 * 12 * 21];
            for (int i = 0; i < 96 * 32; i++) {
                picture.setRGB(i % 96, i / 96, 0x010101 * 120 * (i % 96 / 32));
            }
            for (int i = 0; i < 8 * 24; i++) {
                int third = i % 24 / 8;
                motion[2 * i] = third;
            }
            for (int i = 0; i < 4 * 12 * 21; i++) {
                int third = i / 21 % 12 / 4;
                maps[i] = third / 2f;
            }
            ImageIO.write(
                    picture, "png", frames.resolve("0000" + number + ".png").toFile());
            Npy.write(flow.resolve("0000" + number + ".npy"), ArrayData.of("flow", motion, 8, 24, 2));
            Npy.write(pose.resolve("0000" + number + ".npy"), ArrayData.of("pose", maps, 4, 12, 21));
        }
        List<Extraction.Source> sources =
                ExtractionSources.labelled(folder.resolve("frames")).sources();
        Extraction kept = extraction(Aspect.KEEP);
        assertEquals(1, kept.run(sources, out(), done -> {}, notes::add));
        VideoClip clip = rgb("label/wide-00000.npy");
        assertEquals(List.of(2, 16, 16), List.of(clip.frames(), clip.height(), clip.width()));
        for (int i = 0; i < 2 * 16 * 16; i++) {
            // Resampling mixes the columns at the edges.
            if (i % 16 >= 1 && i % 16 < 15) {
                assertEquals(120, clip.pixels()[3 * i] & 0xFF, "pixel " + i);
            }
        }
        float[] motion = floats("flow/label/wide-00000.npy");
        float[] maps = floats("pose/label/wide-00000.npy");
        assertEquals(2 * 16 * 16 * 2, motion.length);
        // Pixels of twice the size, in the middle of the middle square.
        Close.within(motion[2 * (8 * 16 + 8)], 2, 1e-5, "flow");
        assertEquals(2 * 4 * 4 * 21, maps.length);
        Close.within(maps[21 * (2 * 4 + 2)], .5, 1e-5, "heat map");

        String message = requireNonNull(assertThrows(
                        IllegalArgumentException.class,
                        () -> extraction(Aspect.SQUASH).run(sources, out(), done -> {}, notes::add))
                .getMessage());
        assertTrue(message.contains("(aspect keep, now not given)"), message);
        Path squashed = folder.resolve("squashed");
        assertEquals(1, extraction(Aspect.SQUASH).run(sources, squashed, done -> {}, notes::add));
        try (Arena arena = Arena.ofConfined()) {
            byte[] pixels = Npy.read(squashed.resolve("rgb/label/wide-00000.npy"), arena)
                    .data()
                    .toArray(ValueLayout.JAVA_BYTE);
            assertEquals(List.of(0, 120, 240), List.of(pixels[3] & 0xFF, pixels[3 * 8] & 0xFF, pixels[3 * 14] & 0xFF));
        }
    }

    private Extraction extraction(Aspect aspect) {
        return new Extraction(
                WHOLE,
                aspect,
                Set.of(Modality.RGB, Modality.FLOW, Modality.POSE),
                Map.of(Modality.FLOW, folder.resolve("flow"), Modality.POSE, folder.resolve("pose")),
                0,
                false,
                0,
                1);
    }

    /** Videos that are streamed, and high ones: the same middle. */
    @Test
    void videosKeepTheirAspectToo() throws IOException {
        Path file = folder.resolve("videos/label/high.mkv");
        Files.createDirectories(requireNonNull(file.getParent()));
        // White in the middle third of the height.
        MadeVideo.write(
                file,
                "-f lavfi -i color=black:s=32x96:r=4:d=2,drawbox=x=0:y=32:w=32:h=32:color=white:t=fill -c:v ffv1");
        List<Extraction.Source> sources =
                ExtractionSources.labelled(folder.resolve("videos")).sources();
        Extraction extraction = new Extraction(
                ClipCut.every(1, 2, 16, 16), Aspect.KEEP, Set.of(Modality.RGB), Map.of(), 0, false, 0, 1);
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        VideoClip clip = rgb("label/high.mkv-00001.npy");
        for (int row = 1; row < 15; row++) {
            assertTrue((clip.pixels()[3 * (16 * row + 8)] & 0xFF) > 200, "row " + row);
        }
    }
}
