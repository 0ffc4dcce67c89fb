package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static tessera.distill.cli.Shell.succeed;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.ChildJava;
import tessera.distill.MovingVideo;
import tessera.distill.report.Json;

/** {@code tessera quantize}, and what the other commands do with its file. */
class QuantizeTest {
    @TempDir
    private Path folder;

    private Path student;
    private Path out;
    private Path video;
    private Path videos;

    @BeforeEach
    void write() throws Exception {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        out = folder.resolve("int8.safetensors");
        video = Path.of(QuantizeTest.class.getResource("/video/ramp.mp4").toURI());
        videos = folder.resolve("videos");
        for (String label : new String[] {"one", "two"}) {
            Files.copy(video, Files.createDirectories(videos.resolve(label)).resolve("clip.mp4"));
        }
    }

    @Test
    void theFileIsSmallAndPredictsAsBefore() throws Exception {
        String line = succeed("quantize", "--student", student, "--out", out);
        assertEquals("%s: int8, %,d bytes of %,d%n".formatted(out, Files.size(out), Files.size(student)), line);
        assertTrue(Files.size(out) < .5 * Files.size(student), line);
        assertTrue(succeed("inspect", out).contains("# tessera.precision = int8"));
        String before = succeed("predict", "--student", student, "--video", video);
        String after = succeed("predict", "--student", out, "--video", video);
        assertEquals(best(before), best(after));
    }

    @Test
    void otherProcessorsComputeTheSameFileWithBytesOfFewerBitsOrInF32() throws Exception {
        succeed("quantize", "--student", student, "--out", out);
        String label = best(succeed("predict", "--student", out, "--video", video));
        String vectors = "--add-modules=jdk.incubator.vector";
        for (String isa : List.of("AVX2", "SSE41")) {
            String said = ChildJava.run(
                    folder,
                    List.of(vectors, "-XX:+IgnoreUnrecognizedVMOptions", "-XX:UseAVX=2"),
                    Map.of("ONEDNN_MAX_CPU_ISA", isa),
                    120,
                    OlderProcessor.class,
                    out.toString(),
                    video.toString());
            assertTrue(said.contains("students of tessera quantize run in f32\n") == isa.equals("SSE41"), said);
            assertTrue(said.contains("inputs of 7 bits (AVX2 without VNNI)") == isa.equals("AVX2"), said);
            assertTrue(said.lines().anyMatch(line -> line.startsWith(video + ": " + label + " ")), said);
        }
    }

    /** Runs on a processor that the environment makes an older one. */
    static final class OlderProcessor {
        private OlderProcessor() {}

        public static void main(String[] arguments) {
            System.out.println(succeed("doctor"));
            System.out.println(succeed("predict", "--student", arguments[0], "--video", arguments[1]));
        }
    }

    /** The likeliest label of a video. */
    private static String best(String predicted) {
        return predicted.lines().findFirst().orElseThrow().replaceFirst(".*: (\\w+) .*", "$1");
    }

    private static final String COSINES =
            "the cosine of its features with the student's is (0\\.99\\d\\d|1\\.0000) in the mean and \\S+ at least";

    /** A recording whose clips differ. */
    private static Path moving(Path file, int seconds) throws Exception {
        return MovingVideo.write(
                file, 8 * seconds, 40, (x, y, frame) -> new double[] {x + frame * frame / 9.0, y - frame});
    }

    /** Of four videos the second is held out, and is what the calibration knows nothing of. */
    @Test
    void agreementIsToldOnVideosThatAreNotCalibratedOn() throws Exception {
        moving(videos.resolve("one").resolve("second.y4m"), 10);
        moving(videos.resolve("two").resolve("fourth.y4m"), 2);
        Path left = folder.resolve("left");
        for (String name : new String[] {"one/clip.mp4", "two/clip.mp4", "two/fourth.y4m"}) {
            Path copy = left.resolve(name);
            Files.createDirectories(copy.getParent());
            Files.copy(videos.resolve(name), copy);
        }
        Path same = folder.resolve("same.safetensors");
        succeed("quantize", "--student", student, "--calibrate", left, "--check", videos, "--quiet", "--out", same);
        List<String> lines = succeed("quantize", "--student", student, "--calibrate", videos, "--quiet", "--out", out)
                .lines()
                .toList();
        assertTrue(lines.get(1).matches("  5 clips of 1 video that was not calibrated on: " + COSINES), lines.get(1));
        assertTrue(lines.get(2).matches("  [345] of 5 get the same label"), lines.get(2));
        assertTrue(lines.get(3).matches("  [345] of 5 have the same nearest other clip"), lines.get(3));
        assertArrayEquals(Files.readAllBytes(same), Files.readAllBytes(out), "calibrated on the same three videos");
        assertTrue(
                succeed("inspect", out).contains("# tessera.inputRanges = {\"encoder.blocks.0.attn.proj.weight\":["));
        Map<String, @Nullable Object> json = Json.object(
                succeed("quantize", "--student", student, "--calibrate", videos, "--quiet", "--json", "--out", out));
        assertEquals(3L, json.get("calibratedOn"));
        assertEquals(1L, json.get("checkedOn"));
        Map<?, ?> agreement = (Map<?, ?>) requireNonNull(json.get("agreement"));
        assertEquals(
                List.of("clips", "meanCosine", "leastCosine", "sameLabel", "sameNearest"),
                List.copyOf(agreement.keySet()));
        assertEquals(5L, agreement.get("clips"));
    }

    @Test
    void anyStudentMayBeCheckedOnVideosOfTheirOwn() throws Exception {
        Path own = folder.resolve("own");
        moving(own.resolve("label").resolve("video.y4m"), 10);
        String text = succeed("quantize", "--student", student, "--check", own, "--quiet", "--out", out);
        assertTrue(text.contains("  5 clips of 1 video that was not calibrated on: "), text);
        assertFalse(succeed("inspect", out).contains("tessera.inputRanges"), "nothing is calibrated");
        Map<String, @Nullable Object> all = Json.object(succeed(
                "quantize",
                "--student",
                student,
                "--calibrate",
                videos,
                "--check",
                own,
                "--clip-seconds=1",
                "--quiet",
                "--json",
                "--out",
                out));
        assertEquals(2L, all.get("calibratedOn"));
        assertEquals(10L, ((Map<?, ?>) requireNonNull(all.get("agreement"))).get("clips"));
    }

    @Test
    void theOnlyVideoLeavesNothingToCheck() throws Exception {
        Files.delete(videos.resolve("two/clip.mp4"));
        Files.delete(videos.resolve("two"));
        Object[] words = {"quantize", "--student", student, "--calibrate", videos, "--quiet", "--out", out};
        assertEquals(
                "  the only video was calibrated on; --check DIR with others tells how far it agrees with the student",
                succeed(words).lines().toList().getLast());
    }

    @Test
    void headsOfBothStudentsServe() {
        Path head = folder.resolve("head.safetensors");
        succeed("quantize", "--student", student, "--out", out);
        succeed("learn", "--student", student, "--clips", videos, "--quiet", "--out", head);
        assertTrue(succeed("predict", "--student", out, "--head", head, "--video", video)
                .startsWith(video + ": "));
        Path own = folder.resolve("own.safetensors");
        succeed("learn", "--student", out, "--clips", videos, "--quiet", "--out", own);
        assertTrue(succeed("predict", "--student", out, "--head", own, "--video", video)
                .startsWith(video + ": "));
        Shell.refuse(
                List.of("was learned with student"), "predict", "--student", student, "--head", own, "--video", video);
    }

    @Test
    void misuseIsRefusedInOneLine() {
        succeed("quantize", "--student", student, "--out", out);
        Shell.refuse(
                List.of("weights are int8 already; pass the student that it was made from"),
                "quantize",
                "--student",
                out,
                "--out",
                folder.resolve("twice.safetensors"));
        Shell.refuse(List.of("--out"), "quantize", "--student", student, "--out", student);
        Path never = folder.resolve("never.safetensors");
        for (String option :
                List.of("--clip-seconds=1", "--from=0.5", "--mask-ratio=0.5", "--ensemble=1", "--seed=3")) {
            Shell.refuse(
                    List.of(
                            option.replaceFirst("=.*", "") + " says how clips are looked at",
                            "add --calibrate DIR or --check DIR"),
                    "quantize",
                    "--student",
                    student,
                    option,
                    "--out",
                    never);
        }
        Shell.refuse(List.of(out + ": it is a student on bytes"), "import", "--checkpoint", out, "--out", never);
        assertTrue(Files.notExists(never));
        Shell.refuse(
                List.of("gone"),
                "quantize",
                "--student",
                student,
                "--calibrate",
                folder.resolve("gone"),
                "--out",
                folder.resolve("other.safetensors"));
        Shell.refuse(
                List.of("lost: does not exist"),
                "quantize",
                "--student",
                student,
                "--check",
                folder.resolve("lost"),
                "--out",
                folder.resolve("other.safetensors"));
        Shell.refuse(
                List.of("--check has " + videos, "which --calibrate has too; pass videos that are not calibrated on"),
                "quantize",
                "--student",
                student,
                "--calibrate",
                videos,
                "--check",
                videos,
                "--out",
                never);
        assertTrue(Files.notExists(never));
        Shell.refuse(List.of("bf16"), "predict", "--precision=bf16", "--student", out, "--video", video);
    }

    @Test
    void noTrainingStartsFromBytes() {
        succeed("quantize", "--student", student, "--out", out);
        List<String> refusal =
                List.of(out + ": its weights are int8 (made by tessera quantize), which no training starts from");
        // Before clips are looked for.
        Path data = folder.resolve("gone");
        Path run = folder.resolve("run");
        Shell.refuse(refusal, OwnClips.pretraining("rgb", data, run, 2, "--start", out));
        Shell.refuse(refusal, "train", "--modality=rgb", "--clips", data, "--start", out, "--out", run);
    }
}
