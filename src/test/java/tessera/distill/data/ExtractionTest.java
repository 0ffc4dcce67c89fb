package tessera.distill.data;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.MadeVideo;
import tessera.distill.MovingVideo;
import tessera.distill.data.annotation.Annotation;
import tessera.distill.data.annotation.Annotation.Place;
import tessera.distill.data.annotation.Segment;
import tessera.distill.video.ClipCut;
import tessera.nn.inference.VideoClip;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Training data of videos, of folders of frames, and of what lies beside them. */
class ExtractionTest {
    private static final ClipCut WHOLE = ClipCut.whole(5, 16, 16);

    @TempDir
    private Path folder;

    private final List<String> notes = new ArrayList<>();

    private Path out() {
        return folder.resolve("out");
    }

    /** 40 frames, 10 a second, each of its own brightness. */
    private Path ramp(String name) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(file.getParent());
        return MadeVideo.write(file, MadeVideo.ramp("32x32", 10, 4) + " -c:v ffv1");
    }

    private static Annotation row(String video, Segment segment, String label) {
        return new Annotation(List.of(new Place(video, segment)), label, Map.of(), "");
    }

    private List<Extraction.Source> annotated(Path videos, Annotation... rows) {
        return ExtractionSources.annotated(videos, List.of(rows), null, notes::add)
                .sources();
    }

    private int extract(ClipCut cut, Set<Modality> modalities, List<Extraction.Source> sources) {
        return new Extraction(cut, modalities, false).run(sources, out(), done -> {}, notes::add);
    }

    private VideoClip rgb(String clip) {
        return clip(out().resolve("rgb").resolve(clip));
    }

    private static VideoClip clip(Path file) {
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = Npy.read(file, arena);
            long[] shape = array.shape();
            byte[] pixels = array.data().toArray(ValueLayout.JAVA_BYTE);
            return new VideoClip((int) shape[0], (int) shape[1], (int) shape[2], pixels);
        }
    }

    private float[] floats(String file, long... shape) {
        return floats(out().resolve(file), shape);
    }

    private static float[] floats(Path file, long... shape) {
        try (Arena arena = Arena.ofConfined()) {
            ArrayData array = Npy.read(file, arena);
            assertArrayEquals(shape, array.shape(), file.toString());
            return array.floats();
        }
    }

    private static void refused(String part, Executable call) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call).getMessage());
        assertTrue(message.contains(part), message);
        assertEquals(1, message.lines().count(), message);
    }

    @Test
    void partsAreClipsOfTheirOwnTimes() throws IOException {
        Path videos = ramp("videos/P1/P1_1.mkv").getParent();
        List<Extraction.Source> sources = annotated(
                requireNonNull(requireNonNull(videos).getParent()),
                row("P1_1", Segment.seconds(1, 2), "in seconds"),
                row("P1/P1_1.mkv", Segment.frames(11, 20, 0), "in frames"),
                row("P1_1", Segment.frames(6, 10, 5), "at half the rate"),
                row("P1_1", Segment.every(2, 31, 10), "every other"),
                row("P1_1", Segment.every(2, 16, 5), "every fourth"),
                row("P1_1", Segment.WHOLE, "all"));
        assertEquals(6, extract(WHOLE, Set.of(Modality.RGB), sources));
        int[] second = {11, 13, 15, 17, 19};
        assertArrayEquals(second, MadeVideo.numbers(rgb("in seconds/P1_1_000001000_000002000-00000.npy")));
        assertArrayEquals(second, MadeVideo.numbers(rgb("in frames/P1_1_f00000011_00000020-00000.npy")));
        assertArrayEquals(second, MadeVideo.numbers(rgb("at half the rate/P1_1_f00000006_00000010-00000.npy")));
        assertArrayEquals(
                new int[] {30, 32, 34, 36, 38},
                MadeVideo.numbers(rgb("every other/P1_1_f00000031_00000031-00000.npy")));
        assertArrayEquals(
                new int[] {30, 34, 38, 39, 39},
                MadeVideo.numbers(rgb("every fourth/P1_1_f00000016_00000016-00000.npy")),
                "a video's last frame is repeated");
        assertArrayEquals(new int[] {4, 12, 20, 28, 36}, MadeVideo.numbers(rgb("all/P1_1.mkv-00000.npy")));
    }

    /** With a length, parts are cut as whole videos are, and a part that is shorter stays one clip. */
    @Test
    void longPartsAreCut() throws IOException {
        Path videos = requireNonNull(ramp("videos/a.mkv").getParent());
        List<Extraction.Source> sources = annotated(
                videos, row("a", Segment.seconds(.5, 3.6), "long"), row("a", Segment.seconds(3.6, 3.9), "short"));
        assertEquals(4, extract(ClipCut.every(1, 5, 16, 16), Set.of(Modality.RGB), sources));
        for (int clip = 0; clip < 3; clip++) {
            int first = 6 + 10 * clip;
            assertArrayEquals(
                    new int[] {first, first + 2, first + 4, first + 6, first + 8},
                    MadeVideo.numbers(rgb("long/a_000000500_000003600-0000" + clip + ".npy")));
        }
        assertArrayEquals(
                new int[] {36, 36, 37, 38, 38}, MadeVideo.numbers(rgb("short/a_000003600_000003900-00000.npy")));
    }

    /** What belongs to a frame stays with it, however clips are cut: boxes and joints here carry the number of their frame. */
    @Test
    void boxesAndJointsAreThoseOfTheFrames() throws IOException {
        Path videos = requireNonNull(ramp("videos/show/a.mkv").getParent()).getParent();
        Path beside = Files.createDirectories(folder.resolve("beside/show"));
        String boxes = IntStream.range(0, 40)
                .mapToObj(n -> "[{\"box\": [" + n + ", 0, 50, 10], \"class\": \"hand\"}]")
                .collect(Collectors.joining(", "));
        Files.writeString(beside.resolve("a.json"), "{\"width\": 100, \"height\": 10, \"frames\": [" + boxes + "]}");
        Path hands = Files.createDirectories(folder.resolve("hands"));
        // A hand whose joints lie in one point: column n of 64.
        String joints = IntStream.range(0, 40)
                .mapToObj(n -> "[{\"joints\": ["
                        + String.join(", ", Collections.nCopies(21, "[" + (n + .5) + ", 32, 0.9]")) + "]}]")
                .collect(Collectors.joining(", "));
        Files.writeString(hands.resolve("a.json"), "{\"width\": 64, \"height\": 64, \"frames\": [" + joints + "]}");
        Extraction extraction = new Extraction(
                ClipCut.every(1, 5, 256, 256),
                Set.of(Modality.RGB, Modality.BOXES, Modality.POSE),
                Map.of(Modality.BOXES, folder.resolve("beside"), Modality.POSE, hands),
                0,
                false,
                0,
                2);
        assertEquals(
                4,
                extraction.run(
                        ExtractionSources.labelled(requireNonNull(videos)).sources(), out(), done -> {}, notes::add));
        for (int clip = 0; clip < 4; clip++) {
            String name = "show/a.mkv-0000" + clip + ".npy";
            int[] seen = MadeVideo.numbers(rgb(name));
            float[] found = floats("boxes/" + name, 5, 14, 1, 8);
            float[] maps = floats("pose/" + name, 5, 64, 64, 21);
            for (int t = 0; t < 5; t++) {
                Close.within(found[t * 14 * 8], seen[t] / 100.0, 1e-6, "box of frame " + seen[t]);
                int peak = 0;
                for (int x = 0; x < 64; x++) {
                    float value = maps[((t * 64 + 32) * 64 + x) * 21 + 20];
                    peak = value > maps[((t * 64 + 32) * 64 + peak) * 21 + 20] ? x : peak;
                }
                assertEquals(seen[t], peak, "joints of frame " + seen[t]);
            }
        }
        Files.writeString(beside.resolve("a.json"), "{\"width\": 100, \"height\": 10, \"frames\": [[]]}");
        refused(
                "holds 1 frames but the video has frame",
                () -> extraction.run(
                        ExtractionSources.labelled(requireNonNull(videos)).sources(),
                        folder.resolve("again"),
                        done -> {},
                        notes::add));
        Files.delete(beside.resolve("a.json"));
        refused(
                "has no boxes: there is no " + folder.resolve("beside/show/a") + ".json",
                () -> extraction.run(
                        ExtractionSources.labelled(requireNonNull(videos)).sources(),
                        folder.resolve("third"),
                        done -> {},
                        notes::add));
    }

    /** By hand: peak 1 at the joint, exp(-1/2) a deviation away; deviations are 10 pixels of a picture of 256 rows. */
    @Test
    void jointsBecomeGaussians() {
        double[] hand = new double[2 * JointMaps.JOINTS];
        Arrays.fill(hand, Double.NaN);
        hand[0] = 100 + .5 * 512 / 128;
        hand[1] = 40 + .5 * 256 / 64;
        hand[2] = 512;
        hand[3] = 40;
        float[] maps = new float[64 * 128 * JointMaps.JOINTS];
        JointMaps.paint(hand, 256, 512, 8, 64, 128, maps, 0);
        int at = (10 * 128 + 25) * JointMaps.JOINTS;
        assertEquals(1f, maps[at]);
        Close.within(maps[at + 2 * JointMaps.JOINTS], Math.exp(-.5), 1e-6, "two cells of 4 pixels to the right");
        Close.within(maps[at + 2 * 128 * JointMaps.JOINTS], Math.exp(-.5), 1e-6, "two cells down");
        assertEquals(0f, maps[at + 7 * JointMaps.JOINTS], "more than three deviations away");
        for (int i = 1; i < maps.length; i += JointMaps.JOINTS) {
            assertEquals(0f, maps[i], "a joint outside the picture");
        }
        JointMaps.paint(shifted(hand), 256, 512, 8, 64, 128, maps, 0);
        assertEquals(1f, maps[at], "the larger of two hands wins");
    }

    private static double[] shifted(double[] hand) {
        double[] other = hand.clone();
        other[0] += 4;
        return other;
    }

    /** One hand as three programs write it. */
    @Test
    void jointsOfSeveralTools() throws IOException {
        String flat = IntStream.range(0, 21)
                .mapToObj(j -> (2 + j) + ", " + (3 + 2 * j) + ", " + (j == 4 ? .1 : .9))
                .collect(Collectors.joining(", "));
        String points = IntStream.range(0, 21)
                .mapToObj(j -> "[" + (2 + j) + ", " + (3 + 2 * j) + "]")
                .collect(Collectors.joining(", "));
        String sure = IntStream.range(0, 21)
                .mapToObj(j -> "[" + (2 + j) + ", " + (3 + 2 * j) + ", " + (j == 4 ? .1 : .9) + "]")
                .collect(Collectors.joining(", "));
        String scores =
                IntStream.range(0, 21).mapToObj(j -> j == 4 ? "0.1" : "0.9").collect(Collectors.joining(", "));
        String instance = "{\"keypoints\": [" + points + "], \"keypoint_scores\": [" + scores + "], \"bbox_score\": 1}";
        String frames = "[{\"frame_id\": 0, \"instances\": [" + instance + "]}, {\"frame_id\": 1, \"instances\": []}]";
        Path openPose = Files.createDirectories(folder.resolve("openpose"));
        Files.writeString(
                openPose.resolve("v_000000000000_keypoints.json"),
                "{\"version\": 1.3, \"people\": [{\"pose_keypoints_2d\": [], \"hand_left_keypoints_2d\": [" + flat
                        + "], \"hand_right_keypoints_2d\": []}]}");
        Files.writeString(openPose.resolve("v_000000000001_keypoints.json"), "{\"people\": []}");
        List<Path> files = List.of(
                write(
                        "own.json",
                        "{\"width\": 90, \"height\": 60, \"fps\": 5, \"frames\": [[{\"joints\": [" + sure
                                + "]}], []]}"),
                write("mmpose.json", frames),
                write("demo.json", "{\"meta_info\": {}, \"instance_info\": " + frames + "}"),
                openPose);
        for (Path file : files) {
            KeypointFile found = KeypointFile.read(file, 60, 90);
            assertEquals(60, found.height(), file.toString());
            assertEquals(90, found.width(), file.toString());
            assertEquals(2, found.frames().size(), file.toString());
            assertEquals(0, found.frames().get(1).size(), file.toString());
            double[] hand = found.frames().getFirst().getFirst();
            for (int j = 0; j < 21; j++) {
                assertEquals(j == 4 ? Double.NaN : 2 + j, hand[2 * j], file + " joint " + j);
                assertEquals(j == 4 ? Double.NaN : 3 + 2 * j, hand[2 * j + 1], file + " joint " + j);
            }
        }
        numbersOfFramesCount(openPose, instance);
        KeypointFile timed = KeypointFile.read(files.getFirst(), 60, 90);
        assertEquals(1, timed.hands(files.getFirst(), 77, .05).size(), "the frame of 0 s at 5 a second");
        assertEquals(0, timed.hands(files.getFirst(), 77, .15).size(), "the frame of .2 s");
        refused("holds 2 frames", () -> timed.hands(files.getFirst(), 0, 1));
        refused(
                "has 20 joints",
                () -> KeypointFile.read(
                        write(
                                "few.json",
                                frames.replace("[2, 3], ", "")
                                        .replace("\"keypoint_scores\": [0.9, ", "\"keypoint_scores\": [")),
                        60,
                        90));
        refused("gives none as height", () -> KeypointFile.read(write("bare.json", "{\"frames\": []}"), 60, 90));
        refused("is no JSON", () -> KeypointFile.read(write("cut.json", "{\"frames\": ["), 60, 90));
    }

    /** Where a program's frames have numbers, none is taken for another. */
    private void numbersOfFramesCount(Path openPose, String instance) throws IOException {
        String frame = "{\"frame_id\": %d, \"instances\": [%s]}";
        KeypointFile turned = KeypointFile.read(
                write("turned.json", "[" + frame.formatted(2, instance) + ", " + frame.formatted(1, "") + "]"), 60, 90);
        assertEquals(List.of(0, 1), turned.frames().stream().map(List::size).toList());
        assertEquals(1, turned.first());
        String gap = "[" + frame.formatted(0, "") + "," + frame.formatted(1, "") + "," + frame.formatted(3, "") + "]";
        refused("lacks frame 2 before frame 3; run", () -> KeypointFile.read(write("gap.json", gap), 60, 90));
        String twice = "[" + frame.formatted(0, "") + "," + frame.formatted(0, "") + "]";
        refused("has frame 0 twice", () -> KeypointFile.read(write("twice.json", twice), 60, 90));
        Path unpadded = Files.createDirectories(folder.resolve("unpadded"));
        Path later = Files.createDirectories(folder.resolve("later"));
        for (int number = 0; number < 11; number++) {
            Path from = openPose.resolve("v_00000000000" + (number == 10 ? 0 : 1) + "_keypoints.json");
            Files.copy(from, unpadded.resolve("v_" + number + "_keypoints.json"));
            Files.copy(from, later.resolve("v_" + (100 + 5 * number) + "_keypoints.json"));
        }
        KeypointFile ordered = KeypointFile.read(unpadded, 60, 90);
        assertEquals(1, ordered.frames().get(10).size(), "the tenth, not the second by its name");
        Path film = MadeVideo.write(folder.resolve("film.mkv"), MadeVideo.ramp("32x32", 10, 2) + " -c:v ffv1");
        Footage footage = Footage.open(film, 0, new Footage.Gaps());
        ordered.requireOf(unpadded, footage);
        KeypointFile fifths = KeypointFile.read(later, 60, 90);
        refused("begins with frame 100 and has every 5th, but", () -> fifths.requireOf(later, footage));
        for (int number = 1; number < 11; number++) {
            Files.delete(later.resolve("v_" + (100 + 5 * number) + "_keypoints.json"));
        }
        refused(
                "begins with frame 100, but",
                () -> KeypointFile.read(later, 60, 90).requireOf(later, footage));
        Files.delete(unpadded.resolve("v_7_keypoints.json"));
        refused("lacks frame 7 before frame 8", () -> KeypointFile.read(unpadded, 60, 90));
        Files.copy(openPose.resolve("v_000000000000_keypoints.json"), unpadded.resolve("left_keypoints.json"));
        refused("holds left_keypoints.json, whose name tells no number", () -> KeypointFile.read(unpadded, 60, 90));
    }

    private Path write(String name, String text) {
        try {
            return Files.writeString(folder.resolve(name), text);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** A second of sound that grows from 0 to a quarter of full scale, and so on: each sample tells its time. */
    @Test
    void soundIsThatOfTheClip() throws IOException {
        Path videos = Files.createDirectories(folder.resolve("videos/loud"));
        MadeVideo.write(
                videos.resolve("a.mkv"),
                MadeVideo.ramp("32x32", 10, 4).replace("-f lavfi", "-f lavfi -i aevalsrc=t/5:s=8000:d=3 -f lavfi")
                        + " -c:v ffv1 -c:a pcm_s16le");
        Path root = requireNonNull(videos.getParent());
        Set<Modality> both = Set.of(Modality.RGB, Modality.AUDIO);
        assertEquals(
                4,
                extract(
                        ClipCut.every(1, 5, 16, 16),
                        both,
                        ExtractionSources.labelled(root).sources()));
        for (int clip = 0; clip < 4; clip++) {
            WavFile sound = WavFile.read(out().resolve("audio/loud/a.mkv-0000" + clip + ".wav"));
            assertEquals(16000, sound.rate());
            assertEquals(16000, sound.samples().length, "silence fills up the last second");
            for (int i = 200; i < 16000; i += 1000) {
                double time = clip + i / 16000.0;
                Close.within(sound.samples()[i], time < 3 ? time / 5 : 0, .002, "at " + time + " s");
            }
        }
        // Training reads it.
        try (ClipSet set = ModalityFolders.open(out(), both, null).load(done -> {})) {
            assertEquals(4, set.size());
        }
        ramp("mute/quiet/b.mkv");
        refused(
                "b.mkv: has no sound",
                () -> new Extraction(ClipCut.every(1, 5, 16, 16), both, false)
                        .run(
                                ExtractionSources.labelled(folder.resolve("mute"))
                                        .sources(),
                                folder.resolve("none"),
                                done -> {},
                                notes::add));
    }

    /** MM-CDFSL's folders: pictures, flow and heat maps of each frame; what is missing is the one before, and counted. */
    @Test
    void foldersOfFrames() throws IOException {
        Path frames = Files.createDirectories(folder.resolve("frames/rgb/P01/P01_01"));
        Path flow = Files.createDirectories(folder.resolve("frames/flow/P01/P01_01"));
        Path pose = Files.createDirectories(folder.resolve("heatmap/P01_01/npy"));
        for (int n = 1; n <= 40; n++) {
            if (n != 13) {
                BufferedImage image = new BufferedImage(24, 20, BufferedImage.TYPE_3BYTE_BGR);
                for (int i = 0; i < 24 * 20; i++) {
                    image.setRGB(i % 24, i / 24, 0x010101 * n);
                }
                ImageIO.write(
                        image,
                        "png",
                        frames.resolve("frame_%010d.png".formatted(n)).toFile());
            }
            float[] motion = new float[8 * 8 * 2];
            for (int i = 0; i < motion.length; i++) {
                motion[i] = i % 2 == 0 ? n : -n;
            }
            Npy.write(flow.resolve("frame_%010d.npy".formatted(n)), ArrayData.of("flow", motion, 8, 8, 2));
            float[] maps = new float[4 * 4 * 21];
            Arrays.fill(maps, n / 100f);
            Npy.write(pose.resolve("%06d.npy".formatted(n)), ArrayData.of("pose", maps, 4, 4, 21));
        }
        Extraction extraction = new Extraction(
                WHOLE,
                Set.of(Modality.RGB, Modality.FLOW, Modality.POSE),
                Map.of(Modality.FLOW, folder.resolve("frames/flow"), Modality.POSE, folder.resolve("heatmap")),
                0,
                false,
                0,
                1);
        List<Extraction.Source> sources = annotated(
                folder.resolve("frames/rgb"),
                row("P01_01", Segment.every(4, 5, 60), "step"),
                row("P01_01", Segment.frames(21, 30, 60), "spread"));
        assertEquals(2, extraction.run(sources, out(), done -> {}, notes::add));
        int[] numbers = {5, 9, 13, 17, 21};
        VideoClip clip = rgb("step/P01_01_f00000005_00000005-00000.npy");
        float[] motion = floats("flow/step/P01_01_f00000005_00000005-00000.npy", 5, 16, 16, 2);
        float[] maps = floats("pose/step/P01_01_f00000005_00000005-00000.npy", 5, 4, 4, 21);
        for (int t = 0; t < 5; t++) {
            assertEquals(
                    t == 2 ? 9 : numbers[t], clip.pixels()[t * clip.frameLength()], "level of frame " + numbers[t]);
            assertEquals(2f * numbers[t], motion[t * 512], "flow is in pixels of the clip, twice as many");
            assertEquals(-2f * numbers[t], motion[t * 512 + 511]);
            assertEquals(numbers[t] / 100f, maps[t * 336]);
        }
        VideoClip spread = rgb("spread/P01_01_f00000021_00000030-00000.npy");
        for (int t = 0; t < 5; t++) {
            assertEquals(22 + 2 * t, spread.pixels()[t * spread.frameLength()]);
        }
        String missing = frames.resolve("frame_0000000013.png").toString();
        assertEquals(List.of("1 frame is missing, and the one before is repeated; the first is " + missing), notes);
        // Training takes them as they are.
        ModalityFolders.open(out(), Set.of(Modality.RGB, Modality.FLOW, Modality.POSE), null);

        Files.delete(flow.resolve("frame_0000000005.npy"));
        refused(
                "frame_0000000005.npy is missing and nothing of its clip comes before it",
                () -> extraction.run(sources, folder.resolve("other"), done -> {}, notes::add));
        notes.clear();
        List<Extraction.Source> timed =
                annotated(folder.resolve("frames/rgb"), row("P01_01", Segment.seconds(0, 1), "timed"));
        new Extraction(WHOLE, Set.of(Modality.RGB), false).run(timed, folder.resolve("timed"), done -> {}, notes::add);
        assertArrayEquals(new int[] {3, 8, 8, 18, 23}, levels("timed/rgb/timed/P01_01_000000000_000001000-00000.npy"));
        assertEquals(
                "folders of frames are taken to have 25 in a second, such as " + frames
                        + "; pass --fps where they have not",
                notes.getFirst());
    }

    private int[] levels(String file) {
        VideoClip clip = clip(folder.resolve(file));
        return IntStream.range(0, clip.frames())
                .map(t -> clip.pixels()[t * clip.frameLength()] & 0xFF)
                .toArray();
    }

    /** Every tenth frame under its old number: times count what is there, annotated numbers are those of the files. */
    @Test
    void foldersOfFramesThatWereThinnedOut() throws IOException {
        Path frames = Files.createDirectories(folder.resolve("frames/thin"));
        Path pose = Files.createDirectories(folder.resolve("hands/thin"));
        for (int n = 1; n <= 191; n += 10) {
            BufferedImage image = new BufferedImage(16, 16, BufferedImage.TYPE_3BYTE_BGR);
            for (int i = 0; i < 16 * 16; i++) {
                image.setRGB(i % 16, i / 16, 0x010101 * n);
            }
            Path file = frames.resolve("frame_%010d.png".formatted(n));
            ImageIO.write(image, "png", file.toFile());
            float[] maps = new float[4 * 4 * 21];
            Arrays.fill(maps, n / 255f);
            Npy.write(pose.resolve("%d.npy".formatted(n)), ArrayData.of("pose", maps, 4, 4, 21));
        }
        List<Extraction.Source> sources = annotated(
                folder.resolve("frames"),
                row("thin", Segment.WHOLE, "all"),
                row("thin", Segment.seconds(0, 1), "in seconds"),
                row("thin", Segment.frames(101, 150, 0), "in frames"),
                row("thin", Segment.every(15, 26, 0), "each fifteenth"));
        Map<Modality, Path> given = Map.of(Modality.POSE, folder.resolve("hands"));
        new Extraction(WHOLE, Set.of(Modality.RGB, Modality.POSE), given, 10, false, 0, 1)
                .run(sources, folder.resolve("cut"), done -> {}, notes::add);
        assertArrayEquals(new int[] {21, 61, 101, 141, 181}, levels("cut/rgb/all/thin-00000.npy"));
        assertArrayEquals(
                new int[] {11, 31, 51, 71, 91}, levels("cut/rgb/in seconds/thin_000000000_000001000-00000.npy"));
        assertArrayEquals(
                new int[] {101, 111, 121, 131, 141}, levels("cut/rgb/in frames/thin_f00000101_00000150-00000.npy"));
        assertArrayEquals(
                new int[] {21, 41, 51, 71, 81}, levels("cut/rgb/each fifteenth/thin_f00000026_00000026-00000.npy"));
        float[] maps = floats(folder.resolve("cut/pose/all/thin-00000.npy"), 5, 4, 4, 21);
        assertEquals(61 / 255f, maps[4 * 4 * 21]);
        assertEquals(List.of(), notes, "what was left out is not missing");
    }

    private static Map<String, FileTime> times(Path folder) throws IOException {
        Map<String, FileTime> times = new TreeMap<>();
        try (Stream<Path> files = Files.walk(folder)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                times.put(folder.relativize(file).toString(), Files.getLastModifiedTime(file));
            }
        }
        return times;
    }

    /** However many threads there are and wherever a run was stopped, the same files come out, and whole clips are not made again. */
    @Test
    void stoppedRunsGoOn() throws IOException {
        Path videos = folder.resolve("videos");
        for (int i = 0; i < 3; i++) {
            MovingVideo.write(videos.resolve(i % 2 + "/" + i + ".avi"), 16, 16, MovingVideo.steady(i - 1, .5));
        }
        ClipCut cut = ClipCut.every(.5, 4, 16, 16);
        Set<Modality> both = Set.of(Modality.RGB, Modality.FLOW);
        List<Extraction.Source> sources = ExtractionSources.labelled(videos).sources();
        Extraction one = new Extraction(cut, both, Map.of(), 0, false, 0, 1);
        Extraction three = new Extraction(cut, both, Map.of(), 0, false, 0, 3);
        Path alone = folder.resolve("alone");
        assertEquals(12, one.run(sources, alone, done -> {}, notes::add));
        List<Integer> progress = Collections.synchronizedList(new ArrayList<>());
        assertEquals(12, three.run(sources, out(), progress::add, notes::add));
        assertEquals(Set.of(1, 2, 3), Set.copyOf(progress));
        Map<String, FileTime> before = times(out());
        assertEquals(times(alone).keySet(), before.keySet());
        for (String file : before.keySet()) {
            assertEquals(-1, Files.mismatch(alone.resolve(file), out().resolve(file)), file);
        }
        // Threads that no other video needs help with the clips of one.
        Path helped = folder.resolve("helped");
        assertEquals(4, three.run(sources.subList(1, 2), helped, done -> {}, notes::add));
        for (String file : times(helped).keySet()) {
            assertEquals(-1, Files.mismatch(alone.resolve(file), helped.resolve(file)), file);
        }

        // As a run leaves it that was killed in the midst of a video.
        String name = "0/2.avi-00002.npy";
        Path done = out().resolve("done/0/2.avi");
        Files.writeString(done, Files.readString(done).strip().replaceFirst(" \\d+$", "") + "\n");
        Files.delete(out().resolve("flow").resolve(name));
        assertEquals(12, three.run(sources, out(), count -> {}, notes::add));
        Map<String, FileTime> after = times(out());
        assertEquals(before.keySet(), after.keySet());
        Set<String> again = Set.of("flow/" + name, "rgb/" + name, "done/0/2.avi");
        before.forEach((file, time) -> {
            if (!again.contains(file)) {
                assertEquals(time, after.get(file), file + " was made again");
            }
        });
        for (String file : before.keySet()) {
            assertEquals(-1, Files.mismatch(alone.resolve(file), out().resolve(file)), file);
        }
        refused(
                "holds clips that were cut otherwise (modalities rgb,flow, now rgb); use another folder",
                () -> new Extraction(cut, Set.of(Modality.RGB), false).run(sources, out(), count -> {}, notes::add));
        assertEquals(List.of(), notes);
    }

    @Test
    void brokenVideosAreCountedAndTooManyRefused() throws IOException {
        Path videos = folder.resolve("videos");
        MovingVideo.write(videos.resolve("good/a.avi"), 8, 16, MovingVideo.steady(1, 0));
        MovingVideo.write(videos.resolve("good/b.avi"), 8, 16, MovingVideo.steady(1, 0));
        Files.createDirectories(videos.resolve("bad"));
        Files.writeString(videos.resolve("bad/c.avi"), "no video");
        ClipCut cut = ClipCut.every(.5, 4, 16, 16);
        Set<Modality> rgb = Set.of(Modality.RGB);
        List<Extraction.Source> sources = ExtractionSources.labelled(videos).sources();
        refused("c.avi: cannot be decoded as a video", () -> extract(cut, rgb, sources));
        assertEquals(4, new Extraction(cut, rgb, Map.of(), 0, true, .4, 2).run(sources, out(), done -> {}, notes::add));
        assertEquals(1, notes.size());
        assertTrue(notes.getFirst().startsWith("1 of 3 videos are left out: "), notes.toString());
        assertTrue(notes.getFirst().contains("c.avi: cannot be decoded"), notes.toString());
        assertFalse(Files.exists(out().resolve("rgb/bad")), "a label without clips");
        try (ClipSet set = ModalityFolders.open(out(), rgb, null).load(done -> {})) {
            assertEquals(List.of("good"), set.classes());
        }
        refused(
                "1 of 3 videos are broken, more than the share of 0.3 that may be left out; the first: ",
                () -> new Extraction(cut, rgb, Map.of(), 0, true, .3, 2)
                        .run(sources, folder.resolve("other"), done -> {}, notes::add));
    }

    /** Paths of another machine, of Windows, from another folder on, and of files before they were converted. */
    @Test
    void annotationsFindTheirVideosByPathsOfElsewhere() throws IOException {
        Path videos = folder.resolve("videos");
        for (String each : List.of("x/a.avi", "y/c.avi", "z/c.avi", "d.avi")) {
            MovingVideo.write(videos.resolve(each), 8, 16, MovingVideo.steady(1, 0));
        }
        Map<String, String> found = Map.of(
                "x\\a.avi",
                "x/a.avi",
                ".\\y\\c",
                "y/c.avi",
                "C:\\data\\set\\z\\c.avi",
                "z/c.avi",
                "/home/else/videos/y/c.avi",
                "y/c.avi",
                "z/c.mp4",
                "z/c.avi",
                "a.webm",
                "x/a.avi",
                "set/d.avi",
                "d.avi",
                videos.toAbsolutePath().resolve("x").resolve("a.avi").toString(),
                "x/a.avi");
        found.forEach((named, there) -> assertEquals(
                videos.resolve(there),
                annotated(videos, row(named, Segment.WHOLE, "l")).getFirst().video(),
                named));
        // In another folder than it says there is another video.
        for (String lost : List.of("w/c.avi", "C:\\x\\c.avi", "w/a.avi", "a.2", "")) {
            refused(
                    "none of the 1 annotated videos is in " + videos + ": " + lost,
                    () -> annotated(videos, row(lost, Segment.WHOLE, "l")));
        }
        refused("annotations name c.mp4, but", () -> annotated(videos, row("c.mp4", Segment.WHOLE, "l")));
    }

    @Test
    void annotationsFindTheirVideos() throws IOException {
        Path videos = folder.resolve("videos");
        for (String each : List.of("x/a.avi", "y/b.avi", "y/c.avi", "z/c.avi")) {
            MovingVideo.write(videos.resolve(each), 8, 16, MovingVideo.steady(1, 0));
        }
        Files.writeString(videos.resolve("x/a.txt"), "notes on a");
        List<Annotation> rows = List.of(
                new Annotation(
                        List.of(new Place("gone", Segment.WHOLE), new Place("a", Segment.seconds(0, .5))),
                        "take_(pick,_grab) cup/mug",
                        Map.of("verb", "take_(pick,_grab)", "noun", "cup/mug"),
                        "Train"),
                new Annotation(
                        List.of(new Place("b", Segment.seconds(0, .5))),
                        "open door",
                        Map.of("verb", "open", "noun", "door"),
                        "Train"),
                new Annotation(List.of(new Place("lost", Segment.WHOLE)), "open lid", Map.of(), "Train"),
                new Annotation(List.of(new Place("c", Segment.WHOLE)), "shut door", Map.of(), "Test"));
        ExtractionSources found = ExtractionSources.annotated(videos, rows, "train", notes::add);
        assertEquals(
                List.of("open door/b_000000000_000000500", "take_(pick;_grab) cup_mug/a_000000000_000000500"),
                found.sources().stream()
                        .map(source -> source.label() + "/" + source.name())
                        .toList());
        assertEquals(List.of("1 of 3 annotations name videos that are not there (lost)"), notes);
        Files.createDirectories(out());
        found.writeHeads(out());
        assertEquals(
                "label,noun,verb\nopen door,door,open\ntake_(pick;_grab) cup_mug,cup/mug,take_(pick;_grab)\n",
                Files.readString(out().resolve("labels.csv")));
        notes.clear();
        refused(
                "no annotation is of the split 'val'; pass one of [Test, Train]",
                () -> ExtractionSources.annotated(videos, rows, "val", notes::add));
        refused("annotations name c, but", () -> ExtractionSources.annotated(videos, rows, null, notes::add));
        assertEquals(
                List.of("annotations of several splits come together, {Test=1, Train=3}; --split takes one of them"),
                notes);
        refused(
                "none of the 1 annotated videos is in " + videos + ": lost",
                () -> ExtractionSources.annotated(videos, List.of(rows.get(2)), null, notes::add));
        refused(
                "the labels 'cut/wood' and 'cut?wood' would both have the folder cut_wood",
                () -> annotated(videos, row("a", Segment.WHOLE, "cut/wood"), row("b", Segment.WHOLE, "cut?wood")));
        Annotation other = new Annotation(
                List.of(new Place("a", Segment.WHOLE)), "open door", Map.of("verb", "push", "noun", "door"), "");
        refused(
                "the label 'open door' goes with {noun=door, verb=open} and with {noun=door, verb=push}",
                () -> annotated(videos, rows.get(1), other));
        refused("is no folder", () -> ExtractionSources.labelled(videos.resolve("x/a.avi")));
        refused("a.txt: ", () -> ExtractionSources.labelled(videos));
    }

    @Test
    void settingsThatCannotBeAreRefused() {
        Set<Modality> rgb = Set.of(Modality.RGB);
        refused("pose is not found in videos", () -> new Extraction(WHOLE, Set.of(Modality.POSE), false));
        refused("[] is asked for", () -> new Extraction(WHOLE, Set.of(), false));
        refused("boxes is given", () -> new Extraction(WHOLE, rgb, Map.of(Modality.BOXES, folder), 0, false, 1, 1));
        refused("0 threads", () -> new Extraction(WHOLE, rgb, Map.of(), 0, false, 1, 0));
        refused(
                "flow of clips of 5 frames of 8 x 8",
                () -> new Extraction(ClipCut.whole(5, 8, 8), Set.of(Modality.FLOW), false));
    }
}
