package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.MovingVideo;
import tessera.distill.report.Json;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

class AdaptTest {
    private static final String FIRST = "kitchen_right.avi";

    @TempDir
    Path folder;

    private Path videos;
    private Path student;
    private Path out;

    @BeforeEach
    void makeVideosAndAStudent() throws IOException {
        videos = folder.resolve("videos");
        out = folder.resolve("run");
        // Two clips of 4 frames in a second and a half a second each, and a bit that is no clip.
        MovingVideo.write(videos.resolve("kitchen/right.avi"), 9, 32, MovingVideo.steady(1.5, 0));
        MovingVideo.write(videos.resolve("kitchen/late/down.avi"), 8, 32, MovingVideo.steady(0, 1));
        MovingVideo.write(videos.resolve("left.avi"), 8, 32, MovingVideo.steady(-2, .5));
        Files.writeString(videos.resolve("notes.txt"), "no video");
        student = TinyStudent.write(folder.resolve("student.safetensors"));
    }

    /** A short run's words; an option that is given takes the place of the usual one. */
    private Object[] words(String... more) {
        List<Object> words = new ArrayList<>(List.of("adapt", "--clips", videos, "--start", student, "--out", out));
        List<String> options = new ArrayList<>(
                List.of("--pretrain-steps=3", "--distill-steps=3", "--batch=2", "--threads=1", "--quiet"));
        if (!Files.isDirectory(videos.resolve("rgb"))) {
            options.addFirst("--clip-seconds=0.5"); // of what is still to be cut
        }
        for (String option : more) {
            String name = option.contains("=") ? option.substring(0, option.indexOf('=') + 1) : option;
            options.removeIf(usual -> usual.startsWith(name));
            options.add(option);
        }
        words.addAll(options);
        return words.toArray();
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

    private static float[] floats(Path file) {
        try (Arena arena = Arena.ofConfined()) {
            return Npy.read(file, arena).data().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    @Test
    void videosBecomeAStudentAndNothingIsDoneTwice() throws IOException {
        Map<String, @Nullable Object> answer = Json.object(Shell.succeed(words("--json")));
        assertEquals(6, ((Number) requireNonNull(answer.get("clips"))).intValue());
        assertEquals(List.of("flow"), answer.get("modalities"), "who taught");
        Path result = out.resolve("student.safetensors");
        assertEquals(result.toString(), answer.get("student"));
        try (Student adapted = Student.load(result, Device.cpu(), DType.F32)) {
            assertEquals(64, adapted.config().featureWidth());
        }
        assertNotEquals(-1, Files.mismatch(student, result));

        float[] flow = floats(out.resolve("clips/flow/unlabelled").resolve(FIRST + "-00001.npy"));
        assertEquals(4 * 32 * 32 * 2, flow.length);
        Close.within(flow[2 * (16 * 32 + 16)], 1.5, .3, "motion to the right");
        Close.within(flow[2 * (16 * 32 + 16) + 1], 0, .3, "motion down");

        Map<String, FileTime> before = times(out);
        assertEquals(
                12,
                before.keySet().stream().filter(name -> name.endsWith(".npy")).count());
        Shell.succeed(words());
        assertEquals(before, times(out), "all is there");
    }

    /** Flow teaches the student itself, which is held back by what it was: at first not at all, since it is that still. */
    @Test
    void theStudentIsTaughtFurtherAndKeepsWhatItWas() throws IOException {
        Shell.succeed(words());
        assertFalse(Files.exists(out.resolve("pretrain-rgb")), "RGB needs no model beside the student");
        List<Map<String, @Nullable Object>> steps = Files.readAllLines(out.resolve("metrics.jsonl")).stream()
                .map(Json::object)
                .toList();
        assertEquals(3, steps.size());
        Close.within(number(steps.getFirst(), "kept"), 0, 1e-9, "still the student that it was");
        assertTrue(number(steps.getLast(), "kept") > 1e-9, steps::toString);
        for (Map<String, @Nullable Object> step : steps) {
            double sum = number(step, "features") + .05 * number(step, "kept");
            Close.within(number(step, "loss"), sum, 1e-5, "loss");
        }
    }

    /** Where nothing else teaches, RGB does. */
    @Test
    void clipsWithoutFlowTeachByRgb() throws IOException {
        Shell.succeed(words());
        Path clips = Files.createDirectories(folder.resolve("own"));
        Files.move(out.resolve("clips/rgb"), clips.resolve("rgb"));
        videos = clips;
        out = folder.resolve("rgb-alone");
        assertTrue(Shell.succeed(words()).contains("from 6 clips, taught by rgb: 3 steps, then 3"));
        assertTrue(Files.exists(out.resolve("pretrain-rgb/model.safetensors")));
        assertFalse(Files.exists(out.resolve("pretrain-flow")));
    }

    /** Beside videos, a folder of numbered pictures is one more, with as many frames a second as is said. */
    @Test
    void foldersOfNumberedFramesAreVideos() throws IOException {
        Path frames = Files.createDirectories(videos.resolve("kitchen/frames"));
        byte[] pixels = MovingVideo.clip(8, 32, MovingVideo.steady(0, -1.5)).pixels();
        for (int frame = 0; frame < 8; frame++) {
            BufferedImage picture = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
            for (int i = 0; i < 32 * 32; i++) {
                int level = pixels[3 * (frame * 32 * 32 + i)] & 255;
                picture.setRGB(i % 32, i / 32, level << 16 | level << 8 | level);
            }
            Path file = frames.resolve("img_%04d.png".formatted(frame + 1));
            assertTrue(ImageIO.write(picture, "png", file.toFile()), file::toString);
        }
        assertTrue(Shell.succeed(words("--fps=8")).contains("from 8 clips, taught by flow: 3 steps, then 3"));
        Path made = out.resolve("clips/flow/unlabelled");
        for (String clip : List.of("kitchen_frames-00000.npy", "kitchen_frames-00001.npy")) {
            float[] flow = floats(made.resolve(clip));
            Close.within(flow[2 * (16 * 32 + 16)], 0, .3, clip + ": motion to the right");
            Close.within(flow[2 * (16 * 32 + 16) + 1], -1.5, .3, clip + ": motion down");
        }
        // The clips are cut by then, so another rate is not what the run began with.
        Shell.refuse(List.of(out.resolve("clips") + " holds clips that were cut otherwise"), words("--fps=16"));
    }

    /** What a run that was stopped in one of its parts lacks is made again, and comes out the same. */
    @Test
    void interruptedRunsGoOn() throws IOException {
        Shell.succeed(words());
        byte[] whole = Files.readAllBytes(out.resolve("student.safetensors"));
        Map<String, FileTime> before = times(out.resolve("clips"));
        Path flow = out.resolve("clips/flow/unlabelled").resolve(FIRST + "-00000.npy");
        float[] was = floats(flow);
        Files.delete(flow);
        Files.delete(out.resolve("clips/done/unlabelled").resolve(FIRST));
        Files.delete(out.resolve("pretrain-flow/model.safetensors"));
        Files.delete(out.resolve("student.safetensors"));
        Shell.succeed(words());
        assertArrayEquals(was, floats(flow));
        assertArrayEquals(whole, Files.readAllBytes(out.resolve("student.safetensors")));
        Map<String, FileTime> after = times(out.resolve("clips"));
        assertEquals(before.keySet(), after.keySet());
        before.forEach((name, time) -> {
            if (!name.contains(FIRST)) {
                assertEquals(time, after.get(name), name + " was made again");
            }
        });
    }

    @Test
    void aRunGoesOnOnlyWithWhatItBeganWith() throws IOException {
        Shell.succeed(words());
        Shell.refuse(List.of("was trained with other settings", "steps was 3, is 4"), words("--distill-steps=4"));
        Shell.refuse(List.of(out.resolve("clips") + " holds clips that were cut otherwise"), words("--clip-seconds=1"));
        MovingVideo.write(videos.resolve("left.avi"), 12, 32, MovingVideo.steady(-2, 1.5));
        Shell.refuse(List.of("was trained with other settings", "target was 6 clips", "is 7 clips"), words());
        Files.delete(videos.resolve("left.avi"));
        Shell.refuse(List.of("was trained with other settings", "target was 6 clips", "is 4 clips"), words());
        assertFalse(times(out.resolve("clips")).keySet().stream().anyMatch(name -> name.contains("left")));
    }

    @Test
    void clipsOfOnesOwnTeachWithWhatTheyHave() throws IOException {
        Shell.succeed(words());
        Path clips = out.resolve("clips");
        try (Stream<Path> names = Files.list(clips.resolve("rgb/unlabelled"))) {
            Path pose = Files.createDirectories(clips.resolve("pose/unlabelled"));
            for (Path name : names.toList()) {
                float[] maps = new float[4 * 8 * 8 * 21];
                Arrays.fill(maps, .5f);
                Npy.write(pose.resolve(name.getFileName()), ArrayData.of("pose", maps, 4, 8, 8, 21));
            }
        }
        videos = clips;
        out = folder.resolve("three");
        assertTrue(Shell.succeed(words()).contains("from 6 clips, taught by flow and pose: 3 steps each, then 3"));
        assertFalse(Files.exists(out.resolve("clips")), "they are there already");
    }

    @Test
    void badInputIsToldInALine() throws IOException {
        Path none = Files.createDirectories(folder.resolve("none"));
        Path given = videos;
        videos = none;
        Shell.refuse(List.of(none + " holds no video, at any depth"), words());
        videos = folder.resolve("nowhere");
        Shell.refuse(List.of(videos + " does not exist"), words());
        videos = given;
        Shell.refuse(
                List.of("none of the 3 videos of " + videos + " gives a clip of 9.0 s", "--clip-seconds"),
                words("--clip-seconds=9"));
        Shell.refuse(List.of("--batch is 0"), words("--batch=0"));
        Shell.refuse(List.of("--lr is 0.0"), words("--lr=0"));
        out = folder.resolve("other");
        Path start = student;
        student = flowStudent();
        Shell.refuse(List.of(student + " is a model of flow but videos hold pictures"), words());
        student = folder.resolve("gone.safetensors");
        Shell.refuse(List.of(student + " is no file"), words());
        student = start;
        Path broken = Files.writeString(videos.resolve("broken.mp4"), "no video at all");
        Shell.refuse(List.of(broken + ": cannot be decoded as a video"), words());
        Shell.succeed(words("--skip-broken"));
    }

    private Path flowStudent() {
        VideoMaeConfig config = new VideoMaeConfig(
                new Patches(2, 2, 8, 1, new double[2], new double[] {1, 1}),
                4,
                32,
                32,
                16,
                1,
                2,
                8,
                1,
                2,
                1e-5,
                1e-5,
                true,
                false);
        Path file = folder.resolve("flow.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, config, 0).close();
            Student.save(file, params.all(), config, config.toMetadata());
        }
        return file;
    }

    /** One command adapts the student and learns a head of it, with which predict recognises. */
    @Test
    void learnAdaptsFirst() throws IOException {
        Path labelled = folder.resolve("labelled");
        MovingVideo.write(labelled.resolve("right/a.avi"), 8, 32, MovingVideo.steady(1.5, 0));
        Path down = MovingVideo.write(labelled.resolve("down/a.avi"), 8, 32, MovingVideo.steady(0, 1.5));
        Path head = folder.resolve("head.safetensors");
        String told = Shell.succeed(
                "learn",
                "--student",
                student,
                "--clips",
                labelled,
                "--adapt",
                videos,
                "--clip-seconds=0.5",
                "--threads=1",
                "--quiet",
                "--out",
                head);
        Path adapted = folder.resolve("head.safetensors.adapted/student.safetensors");
        assertTrue(told.startsWith(adapted + ": the adapted student"), told);
        assertTrue(told.contains("2 labels learned from 4 clips"), told);
        String seen =
                Shell.succeed("predict", "--student", adapted, "--head", head, "--video", down, "--clip-seconds=0.5");
        assertTrue(seen.startsWith(down + ": "), seen);
        Shell.refuse(
                List.of("was learned with student"), "predict", "--student", student, "--head", head, "--video", down);
    }
}
