package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.MovingVideo;
import tessera.distill.report.Json;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** {@code --timing}: where the time of {@code predict} and {@code features} went. The student looks at 4 frames of 32 x 32 pixels. */
class TimingTest {
    private static final String LINE = "\\d+\\.\\d\\d s: start-up \\d+\\.\\d\\d, decoding \\d+\\.\\d\\d,"
            + " preparing \\d+\\.\\d\\d, computing \\d+\\.\\d\\d \\(%d clips, %d frames\\)";

    @TempDir
    private static Path folder;

    private static Path student;
    private static Path video;
    private static Path clips;

    /** Ten seconds of 8 frames. */
    @BeforeAll
    static void write() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        video = MovingVideo.write(
                folder.resolve("videos").resolve("ten.y4m"), 80, 40, (x, y, frame) -> new double[] {x + frame, y});
        clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[9 * 4 * 32 * 32 * 3], 9, 4, 32, 32, 3));
    }

    private static double number(Map<?, ?> timing, String name) {
        return ((Number) requireNonNull(timing.get(name))).doubleValue();
    }

    private static Map<?, ?> timing(String json, long clips, long frames) {
        Map<?, ?> timing = (Map<?, ?>) requireNonNull(Json.object(json).get("timing"));
        assertEquals(
                List.of("total", "startUp", "decoding", "preparing", "computing", "clips", "frames"),
                List.copyOf(timing.keySet()));
        assertEquals(clips, timing.get("clips"));
        assertEquals(frames, timing.get("frames"));
        List<Double> parts = Stream.of("startUp", "decoding", "preparing", "computing")
                .map(name -> number(timing, name))
                .toList();
        assertTrue(parts.stream().allMatch(part -> part >= 0), json);
        double all = parts.stream().mapToDouble(Double::doubleValue).sum();
        // What the process did is told to a hundredth of a second.
        assertTrue(all <= number(timing, "total") + .02, json);
        assertTrue(number(timing, "startUp") > 0 && number(timing, "computing") > 0, json);
        return timing;
    }

    @Test
    void predictTellsItAtTheEnd() {
        String text = Shell.succeed("predict", "--student", student, "--video", video, "--timing");
        assertTrue(text.lines().toList().getLast().matches("  " + LINE.formatted(5, 20)), text);
        String json = Shell.succeed("predict", "--student", student, "--video", video, "--timing", "--json");
        Map<?, ?> timing = timing(json, 5, 20);
        assertTrue(number(timing, "decoding") > 0 && number(timing, "preparing") > 0, json);
        Map<String, @Nullable Object> plain =
                Json.object(Shell.succeed("predict", "--student", student, "--video", video, "--json"));
        assertTrue(plain.containsKey("timing") && plain.get("timing") == null, plain.toString());
    }

    /** What is timed is predicted as without: in the same batches, also with a page. */
    @Test
    void nothingElseChanges() {
        for (List<String> more : List.of(List.<String>of(), List.of("--report=" + folder.resolve("page.html")))) {
            Object[] plain = Stream.concat(
                            Stream.of("predict", "--student", student, "--video", video, "--clip-seconds=.5"),
                            more.stream())
                    .toArray();
            Object[] timed =
                    Stream.concat(Stream.of(plain), Stream.of("--timing")).toArray();
            List<String> lines = Shell.succeed(timed).lines().toList();
            assertEquals(Shell.succeed(plain).lines().toList(), lines.subList(0, lines.size() - 1));
            assertTrue(lines.getLast().matches("  " + LINE.formatted(20, 80)), lines.getLast());
        }
    }

    @Test
    void aTimelineTellsItOnTheErrorStream() {
        Shell.Outcome outcome = Shell.run("predict", "--student", student, "--video", video, "--every=2", "--timing");
        assertEquals(0, outcome.code(), outcome.err());
        assertEquals(5, outcome.out().lines().map(Json::object).count());
        assertTrue(outcome.err().strip().matches("tessera: " + LINE.formatted(5, 20)), outcome.err());
    }

    @Test
    void featuresTellItToo() {
        Object[] words = {
            "features",
            "--student",
            student,
            "--clips",
            clips,
            "--quiet",
            "--timing",
            "--out",
            folder.resolve("out.npy")
        };
        String text = Shell.succeed(words);
        assertTrue(text.lines().toList().getLast().matches("  " + LINE.formatted(9, 36)), text);
        words[5] = "--json";
        Map<?, ?> timing = timing(Shell.succeed(words), 9, 36);
        assertEquals(0, number(timing, "decoding"), "there is nothing to decode");
        assertTrue(number(timing, "preparing") > 0, timing.toString());
    }

    /** A container that tells its own age as the system's makes every process younger than it is, and young ones not yet born. */
    @Test
    void aContainersOwnClockMakesNoTimeNegative() {
        String process = "7 (a name) of one) S" + " 0".repeat(18) + " 1000050 9 9";
        Close.within(TimingOption.seconds(process, "10003.00 1.0", 2.1), 2.5, 1e-9, "age");
        Close.within(TimingOption.seconds(process, "503.00 1.0", 3.4), 3.4, 1e-9, "age");
        Close.within(TimingOption.seconds(process, "10003.00 1.0", 60), 60, 1e-9, "age");
        Close.within(TimingOption.seconds(process, "503.00 1.0", -.3), 0, 1e-9, "age");
        Close.within(TimingOption.seconds("nothing", "known", -.3), 0, 1e-9, "age");
    }
}
