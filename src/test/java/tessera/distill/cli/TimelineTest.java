package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.number;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.ChildJava;
import tessera.Close;
import tessera.distill.MadeVideo;
import tessera.distill.MovingVideo;
import tessera.distill.report.Json;
import tessera.distill.video.ClipCut;
import tessera.distill.video.Video;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Prediction;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.VideoClip;

/** {@code predict --every}, a timeline, and {@code predict --report}, a page. The student looks at 4 frames of 32 x 32 pixels. */
class TimelineTest {
    @TempDir
    private static Path folder;

    private static Path student;
    private static Path video;

    /** Ten seconds of 8 frames, whose motion changes. */
    @BeforeAll
    static void write() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        MovingVideo.Motion motion = (x, y, frame) -> new double[] {x + frame * frame / 9.0, y - frame};
        video = MovingVideo.write(folder.resolve("videos").resolve("ten.y4m"), 80, 40, motion);
    }

    private static Object[] words(Object... more) {
        List<Object> words = new ArrayList<>(List.of("predict", "--student", student, "--video", video));
        words.addAll(List.of(more));
        return words.toArray();
    }

    private static List<Map<String, @Nullable Object>> timeline(Object... more) {
        return Shell.succeed(words(more)).lines().map(Json::object).toList();
    }

    private static List<Prediction> alone(List<VideoClip> clips) {
        Predictor.Options options =
                new Predictor.Options(Device.cpu(), DType.F32, Masking.DEFAULT, Predictor.Options.SEED);
        try (Predictor predictor = Predictor.open(options, student)) {
            return clips.stream()
                    .map(clip -> predictor.predict(clip.pixels(), clip.frames(), clip.height(), clip.width()))
                    .toList();
        }
    }

    private static void assertSays(Map<String, @Nullable Object> line, Prediction prediction, int top) {
        Map<?, ?> probabilities = (Map<?, ?>) requireNonNull(line.get("probabilities"));
        List<Prediction.Score> scores = prediction.top(top);
        assertEquals(prediction.label(), line.get("label"));
        assertEquals(
                scores.stream().map(Prediction.Score::label).toList(),
                List.copyOf(probabilities.keySet()),
                "the likeliest first");
        for (Prediction.Score score : scores) {
            double told = ((Number) requireNonNull(probabilities.get(score.label()))).doubleValue();
            Close.within(told, score.probability(), 1e-6, score.label());
        }
    }

    /** Clips that overlap, cut and predicted one by one. */
    @ParameterizedTest
    @CsvSource({"2, 1, 0", "1, 2, 0", "2, .5, .5", "1, .25, .3"})
    void aLineForEveryWindow(double seconds, double every, double from) {
        List<VideoClip> clips = Video.cut(video, new ClipCut(4, 32, 32, seconds, every, from, 1));
        List<Prediction> predictions = alone(clips);
        List<Map<String, @Nullable Object>> lines =
                timeline("--clip-seconds=" + seconds, "--every=" + every, "--from=" + from, "--top=2");
        assertEquals(clips.size(), lines.size());
        assertTrue(lines.size() > 3, lines.size() + " lines");
        for (int k = 0; k < lines.size(); k++) {
            assertEquals(
                    List.of("start", "end", "label", "probabilities"),
                    List.copyOf(lines.get(k).keySet()));
            Close.within(number(lines.get(k), "start"), 10 * from + k * every, 1e-9, "start of " + k);
            Close.within(number(lines.get(k), "end"), 10 * from + k * every + seconds, 1e-9, "end of " + k);
            assertSays(lines.get(k), predictions.get(k), 2);
        }
    }

    /** The student looks at a frame every half second; .7 lies between these. */
    @Test
    void windowsDoNotDriftFromWhatWasAskedFor() {
        List<Map<String, @Nullable Object>> lines = timeline("--every=.7");
        assertEquals(12, lines.size());
        for (int k = 0; k < 12; k++) {
            Close.within(number(lines.get(k), "start"), Math.round(1.4 * k) / 2.0, 1e-9, "start of " + k);
        }
    }

    @Test
    void probabilitiesAreSmoothedOverWindows() {
        List<Prediction> predictions = alone(Video.cut(video, new ClipCut(4, 32, 32, 2, 1, 0, 1)));
        List<Map<String, @Nullable Object>> lines = timeline("--every=1", "--smooth=3");
        for (int k = 0; k < lines.size(); k++) {
            assertSays(lines.get(k), Prediction.mean(predictions.subList(Math.max(0, k - 2), k + 1)), 3);
        }
    }

    @Test
    void severalHeadsStandInTheLineByTheirNames() {
        Path verb = folder.resolve("verb.safetensors");
        Path place = folder.resolve("place.safetensors");
        Head.of(new double[2][64], new double[] {0, 1}, List.of("cut", "pour"))
                .named("verb")
                .save(verb);
        Head.of(new double[2][64], new double[] {2, 0}, List.of("kitchen", "garden"))
                .named("place")
                .save(place);
        List<Map<String, @Nullable Object>> lines = timeline("--every=4", "--head", verb + "," + place);
        assertEquals(3, lines.size());
        for (Map<String, @Nullable Object> line : lines) {
            Map<?, ?> heads = (Map<?, ?>) requireNonNull(line.get("heads"));
            assertEquals(List.of("verb", "place"), List.copyOf(heads.keySet()));
            Map<?, ?> first = (Map<?, ?>) requireNonNull(heads.get("verb"));
            assertEquals("pour", line.get("label"));
            assertEquals(line.get("probabilities"), first.get("probabilities"));
            assertEquals("kitchen", ((Map<?, ?>) requireNonNull(heads.get("place"))).get("label"));
        }
    }

    @Test
    void aRecordingShorterThanAWindowGivesOne() {
        Shell.Outcome outcome = Shell.run(words("--every=4", "--clip-seconds=16"));
        assertEquals(0, outcome.code(), outcome.err());
        assertEquals(
                "tessera: " + video
                        + ": the part that is looked at is shorter than a window of 16.0 s (3 of its 4 frames);"
                        + " the last frame is repeated (--clip-seconds makes clips shorter)",
                outcome.err().strip());
        Map<String, @Nullable Object> line = Json.object(outcome.out().strip());
        assertEquals(16, number(line, "end"));
        Prediction padded = alone(Video.cut(video, new ClipCut(4, 32, 32, 16, 16, 0, 1), note -> {}))
                .getFirst();
        assertSays(line, padded, 3);
    }

    @Test
    void theLikeliestLabelsArePrinted() {
        String one = Shell.succeed(words("--top=1"));
        String all = Shell.succeed(words("--top=9"));
        assertTrue(one.lines().allMatch(line -> line.split("%", -1).length == 2), one);
        assertTrue(all.lines().allMatch(line -> line.split("%", -1).length == 4), all);
    }

    private static byte[] day(int size) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(
                ("YUV4MPEG2 W" + size + " H" + size + " F1:3600 Ip A1:1 C444\n").getBytes(StandardCharsets.US_ASCII));
        byte[] planes = new byte[3 * size * size];
        for (int hour = 0; hour < 24; hour++) {
            out.writeBytes("FRAME\n".getBytes(StandardCharsets.US_ASCII));
            Arrays.fill(planes, 0, size * size, (byte) (20 + 9 * hour));
            Arrays.fill(planes, size * size, planes.length, (byte) 128);
            out.writeBytes(planes);
        }
        return out.toByteArray();
    }

    /** In a heap in which its 43 200 frames of 3 KB have no room. */
    @Test
    void aDayIsToldInLittleMemory() throws Exception {
        Path day = Files.write(folder.resolve("day.y4m"), day(32));
        Path page = folder.resolve("day.html");
        String told = ChildJava.run(
                folder,
                List.of("-Xmx40m", "--add-modules=jdk.incubator.vector"),
                Map.of(),
                300,
                Main.class,
                "predict",
                "--student=" + student,
                "--video=" + day,
                "--clip-seconds=8",
                "--every=30",
                "--report=" + page);
        List<Map<String, @Nullable Object>> lines = told.lines()
                .filter(line -> line.startsWith("{"))
                .map(Json::object)
                .toList();
        assertEquals(24 * 120, lines.size(), told.substring(0, Math.min(2000, told.length())));
        assertEquals(24 * 3600 - 30.0, number(lines.getLast(), "start"));
        assertTrue(Files.readString(page).contains("of 2880 clips, evenly spread."));
    }

    /** As {@code head} does, which stops reading. */
    @Test
    void whereNobodyReadsAnyMoreTheCommandEnds() {
        int[] lines = {0};
        Writer broken = new Writer() {
            @Override
            public void write(char[] characters, int from, int length) throws IOException {
                if (lines[0] == 2) {
                    throw new IOException("broken pipe");
                }
                lines[0] += new String(characters, from, length).contains("\n") ? 1 : 0;
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        StringWriter err = new StringWriter();
        List<String> line = Stream.of(words("--every=1")).map(Object::toString).toList();
        assertEquals(1, Main.run(line, new PrintWriter(broken, true), new PrintWriter(err)));
        assertEquals(2, lines[0]);
        assertTrue(err.toString().contains("nobody reads the timeline any more"), err.toString());
    }

    /** The same ten seconds as numbered pictures, whose rate is said. */
    @Test
    void aFolderOfFramesIsAVideo() throws IOException {
        Path frames = Files.createDirectory(folder.resolve("frames"));
        MadeVideo.write(frames.resolve("%03d.png"), "-i " + video);
        List<Map<String, @Nullable Object>> of = timeline("--every=2");
        List<Map<String, @Nullable Object>> told = Shell.succeed(
                        "predict", "--student", student, "--every=2", "--fps=8", "--video", frames)
                .lines()
                .map(Json::object)
                .toList();
        assertEquals(5, told.size());
        for (int i = 0; i < told.size(); i++) {
            Close.within(number(told.get(i), "start"), number(of.get(i), "start"), 1e-6, "start");
            Close.within(number(told.get(i), "end"), number(of.get(i), "end"), 1e-6, "end");
        }
        Shell.refuse(List.of("--fps is 0.0; pass a positive number of frames a second"), words("--fps=0"));
    }

    @Test
    void whatContradictsATimelineIsRefusedBeforeAnyWork() {
        Path none = folder.resolve("none.safetensors");
        Map<String, String> refused = Map.of(
                "--every=1 --json",
                "--every prints a line of JSON for each window and --json one object; leave --json away",
                "--every=1 --stride-seconds=2",
                "--every and --stride-seconds say the same; leave --stride-seconds away",
                "--every=1 --clip-seconds=0",
                "--clip-seconds 0 is one clip of the whole part, which has no timeline",
                "--every=0",
                "--every is 0.0; pass a positive number of seconds",
                "--every=1 --smooth=0",
                "--smooth is 0; pass 1 or more windows",
                "--smooth=2",
                "--smooth is over the windows of a timeline; pass --every too",
                "--top=0",
                "--top is 0; pass the number of labels",
                "--report=" + folder.resolve("no").resolve("page.html"),
                "which is no folder; make it first");
        refused.forEach((options, message) -> {
            List<Object> line = new ArrayList<>(List.of("predict", "--student", none, "--video", none));
            line.addAll(List.of(options.split(" ")));
            Shell.refuse(List.of(message), line.toArray());
        });
        Shell.refuse(
                List.of(
                        "--every is 0.4 but the student looks at a frame every 0.5 s of a window of 2.0 s; pass at least"),
                words("--every=.4"));
        Shell.refuse(
                List.of(video.getParent() + ": is a folder, not a video; name a file, or a folder"),
                "predict",
                "--student",
                student,
                "--every=1",
                "--video",
                requireNonNull(video.getParent()));
        Shell.refuse(List.of("--report " + video + " is the input of --video"), words("--report", video));
        Shell.refuse(List.of("--report " + student + " is the input of --student"), words("--report", student));
    }

    private static int count(String text, String part) {
        return text.split(Pattern.quote(part), -1).length - 1;
    }

    /** With and without a timeline; the answers are those without a page. */
    @Test
    void aPageShowsWhatTheStudentSaw() throws IOException {
        Path page = folder.resolve("page.html");
        for (List<Object> more : List.<List<Object>>of(
                List.of(), List.of("--every=1"), List.of("--mask-ratio=0"), List.of("--every=2", "--mask-ratio=.5"))) {
            String plain = Shell.succeed(words(more.toArray()));
            List<Object> with = new ArrayList<>(more);
            with.addAll(List.of("--report", page));
            assertEquals(plain, Shell.succeed(words(with.toArray())));
            String html = Files.readString(page);
            int clips = more.contains("--every=1") ? 9 : 5;
            assertTrue(html.startsWith("<!DOCTYPE html>") && html.contains("<h1>ten.y4m</h1>"), html);
            assertEquals(clips, count(html, "<image "), more.toString());
            assertFalse(html.contains("<script") || html.contains("src=\"http"), html);
            boolean masked = !more.contains("--mask-ratio=0");
            assertEquals(masked ? clips : 0, count(html, "<use "), "one more mask");
            int tokens = 2 * 16;
            int seen = more.contains("--mask-ratio=.5") ? tokens / 2 : tokens / 4;
            assertEquals(masked ? clips : 0, count(html, "mask 2: " + seen + " of 32 tokens are seen"));
            assertEquals(masked ? 0 : clips, count(html, "every token is seen"));
            assertTrue(html.contains(more.toString().contains("every") ? "time (s)</text>" : "clip</text>"), html);
            assertTrue(
                    html.contains(
                            "<figcaption>" + (more.toString().contains("every") ? "0.0 to 2.0 s" : "clip 1") + ": "),
                    html);
        }
        byte[] first = Files.readAllBytes(page);
        Shell.succeed(words("--every=2", "--mask-ratio=.5", "--report", page));
        assertArrayEquals(first, Files.readAllBytes(page), "equal inputs give equal bytes");
        try (Stream<Path> left = Files.list(folder)) {
            assertTrue(left.noneMatch(file -> file.toString().endsWith(".tmp")), "no temporary file stays");
        }
    }

    /** The cells that two masks of a pair see differ, and are those through which the student looked at this clip. */
    @Test
    void aPageShowsTheMasksOfEveryClip() throws IOException {
        Path page = folder.resolve("masks.html");
        Shell.succeed(words("--mask-ratio=.75", "--report", page));
        List<String> areas = Pattern.compile("<path d=\"([^\"]+)\" fill=\"#000\"")
                .matcher(Files.readString(page))
                .results()
                .map(found -> found.group(1))
                .toList();
        assertEquals(5 * 2 * 4, areas.size(), "clips, masks, frames");
        List<String> ofFirstFrames =
                Stream.iterate(0, k -> k < 40, k -> k + 8).map(areas::get).toList();
        assertEquals(5, ofFirstFrames.stream().distinct().count(), "each clip of a batch has masks of its own");
    }
}
