package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.report.Json;
import tessera.nn.inference.Head;

/** Hours of a day of video, 24 pictures of 16 x 16 pixels, in heaps in which answers as objects and features have no room. */
class LongVideosTest {
    private static final int CLASSES = 400;

    @TempDir
    private static Path folder;

    private static Path student;
    private static Path head;
    private static byte[] day;

    /** Whatever is seen, class 7 has three quarters. */
    @BeforeAll
    static void write() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"), 16);
        double[] intercepts = new double[CLASSES];
        intercepts[7] = Math.log(3 * (CLASSES - 1));
        head = folder.resolve("head.safetensors");
        Head.of(
                        new double[CLASSES][64],
                        intercepts,
                        IntStream.range(0, CLASSES).mapToObj(c -> "class " + c).toList())
                .save(head);
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes("YUV4MPEG2 W16 H16 F1:3600 Ip A1:1 C444\n".getBytes(StandardCharsets.US_ASCII));
        byte[] planes = new byte[3 * 16 * 16];
        for (int hour = 0; hour < 24; hour++) {
            out.writeBytes("FRAME\n".getBytes(StandardCharsets.US_ASCII));
            Arrays.fill(planes, (byte) (20 + 9 * hour));
            out.writeBytes(planes);
        }
        day = out.toByteArray();
    }

    private static Shell.Outcome inHeap(String most, Object... words) throws Exception {
        return new OwnJava(folder).withHeap(most).run(words);
    }

    private static Path video(String name) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(requireNonNull(file.getParent()));
        return Files.write(file, day);
    }

    /** As objects, with a map of each, the answers of every clip take 60 MB. */
    @Test
    void hoursAreRecognisedWithManyClasses() throws Exception {
        Path video = video("day.y4m");
        Shell.Outcome outcome = inHeap(
                "40m",
                "predict",
                "--student",
                student,
                "--head",
                head,
                "--video",
                video,
                "--clip-seconds=8",
                "--from=.85");
        assertEquals(0, outcome.code(), outcome.err());
        List<String> lines = outcome.out().lines().toList();
        String said = "class 7 75.0 %, class 0 0.1 %, class 1 0.1 %";
        assertEquals(1 + 1620, lines.size());
        assertEquals(video + ": " + said, lines.getFirst());
        assertEquals("  clip 1620: " + said, lines.getLast());
    }

    /** Held as a whole, the text and what it is made of take 50 MB. */
    @Test
    void everyClassOfEveryClipIsWrittenAsItComes() throws Exception {
        Shell.Outcome outcome = inHeap(
                "40m",
                "predict",
                "--json",
                "--student",
                student,
                "--head",
                head,
                "--video",
                video("first.y4m"),
                "--clip-seconds=8",
                "--to=.05");
        assertEquals(0, outcome.code(), outcome.err());
        assertTrue(outcome.out().length() > 10 << 20, outcome.out().length() + " characters");
        Map<?, ?> answer = Json.object(outcome.out());
        List<?> clips = (List<?>) requireNonNull(answer.get("clips"));
        assertEquals(540, clips.size());
        Map<?, ?> last = (Map<?, ?>) clips.getLast();
        assertEquals(CLASSES, last.size());
        Close.within(((Number) requireNonNull(last.get("class 7"))).doubleValue(), .75, 1e-6, "the last clip");
        assertEquals("class 7", answer.get("label"));
    }

    @Test
    void featuresThatDoNotFitAreRefusedWithWhatToDo() throws Exception {
        video("clips/one/day.y4m");
        video("clips/two/day.y4m");
        Object[] words = {
            "learn",
            "--student",
            TinyStudent.write(folder.resolve("wide.safetensors")),
            "--pooling=grid:4+grid:4@0+grid:4@1",
            "--clips",
            folder.resolve("clips"),
            "--out",
            folder.resolve("out.safetensors"),
            "--clip-seconds=8"
        };
        Shell.Outcome outcome = inHeap("40m", words);
        assertEquals(2, outcome.code(), outcome.err());
        assertTrue(outcome.err().contains("clips, which a tuned fit has twice, do not fit into a heap of 40 MiB"));
        assertTrue(outcome.err().contains("pass --shots N to learn from N clips of each label"), outcome.err());
    }
}
