package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.distill.demo.DemoRuns;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Results on a disk that fills up: one line with what is full, what was there before as it was, and nothing left behind. */
@EnabledOnOs(OS.LINUX)
class FullDiskTest {
    private static final String DISTILLING = "distill --batch=2 --steps=3 --mask-ratio=.5";

    /** Whatever has this name on the disk was there before. */
    private static final String OLD = "old-";

    @TempDir
    private Path folder;

    private Path disk;
    private Path student;
    private Path clips;

    @BeforeEach
    void write() throws IOException {
        disk = Files.createDirectory(folder.resolve("disk"));
        student = TinyStudent.write(folder.resolve("student.safetensors"));
        clips = folder.resolve("clips.npy");
        Npy.write(clips, ArrayData.of("clips", new byte[4 * 32 * 32 * 3], 1, 4, 32, 32, 3));
    }

    private Path video() throws IOException {
        return video("pour");
    }

    private Path video(String label) throws IOException {
        Path video =
                Files.createDirectories(folder.resolve("videos").resolve(label)).resolve("ramp.mp4");
        try (InputStream ramp = requireNonNull(FullDiskTest.class.getResourceAsStream("/video/ramp.mp4"))) {
            Files.copy(ramp, video);
        }
        return video;
    }

    private Path data() throws IOException {
        return OwnClips.write(folder.resolve("data"), 2, "dark", "bright");
    }

    private List<Object> words(String command) throws IOException {
        return switch (command) {
            case "import" ->
                List.of("import", "--checkpoint", student, "--out", disk.resolve(OLD + "import.safetensors"));
            case "quantize" ->
                List.of("quantize", "--student", student, "--out", disk.resolve(OLD + "quantize.safetensors"));
            case "onnx" ->
                List.of("export", "--student", student, "--format=onnx", "--out", disk.resolve("student.onnx"));
            case "hf" -> List.of("export", "--student", student, "--format=hf", "--out", disk.resolve("hf"));
            case "features" ->
                List.of("features", "--student", student, "--clips", clips, "--quiet", "--out", disk.resolve("f.npy"));
            case "report" ->
                List.of("predict", "--student", student, "--video", video(), "--report", disk.resolve("page.html"));
            case "learn" -> {
                video("cut");
                yield List.of(
                        "learn",
                        "--student",
                        student,
                        "--clips",
                        requireNonNull(video().getParent()).resolveSibling(""),
                        "--clip-seconds=.5",
                        "--quiet",
                        "--out",
                        disk.resolve(OLD + "learn.safetensors"));
            }
            case "sweep" ->
                words(
                        "sweep --ways=2 --shots=1 --queries=1 --episodes=2 --fit=plain --mask-ratios=0,.5 --ensembles=1"
                                + " --batches=1 --rounds=1",
                        "--student",
                        TinyStudent.write(folder.resolve("small.safetensors"), 16),
                        "--clips",
                        data());
            case "train" ->
                words(
                        "train --modality=rgb --arch=videomae --dim=16 --depths=1 --attention-heads=2 --batch=2 --steps=3",
                        "--clips",
                        data());
            case "distill" -> words(DISTILLING, "--teachers", "rgb=" + teacher(), "--target", data());
            case "adapt" ->
                words(
                        "adapt --clip-seconds=.5 --pretrain-steps=2 --distill-steps=2 --batch=2",
                        "--start",
                        student,
                        "--clips",
                        requireNonNull(video().getParent()).resolveSibling(""));
            case "demo" -> words("demo", "--plan", Files.writeString(folder.resolve("micro.json"), DemoRuns.plan()));
            case "pretrain" -> List.of(OwnClips.pretraining("rgb", data(), disk.resolve("run"), 3));
            case "extract" ->
                List.of(
                        "extract",
                        "--videos",
                        requireNonNull(video().getParent()).resolveSibling(""),
                        "--frames=4",
                        "--size=16",
                        "--clip-seconds=.5",
                        "--quiet",
                        "--out",
                        disk.resolve("clips"));
            default -> throw new IllegalArgumentException(command);
        };
    }

    private Path teacher() throws IOException {
        Path run = folder.resolve("rgb");
        Shell.succeed(OwnClips.pretraining("rgb", data(), run, 3));
        return run;
    }

    /** Words, some with blanks between them, of a command that writes into a folder of the disk. */
    private List<Object> words(String text, Object... more) {
        List<Object> words = new ArrayList<>(List.of(text.split(" ")));
        words.addAll(List.of(more));
        words.addAll(List.of("--threads=1", "--quiet", "--out", disk.resolve("run")));
        return words;
    }

    /**
     * Runs words on a disk of their own, on which there are files of other results.
     *
     * @param before done to the disk before, such as to fill it
     * @param after done after what is there has been told
     */
    private Shell.Outcome run(String options, String before, String after, List<Object> words) throws Exception {
        String mount = "mount -t tmpfs -o " + options + " none '" + disk + "'";
        Process possible = new ProcessBuilder("unshare", "-rm", "sh", "-c", mount)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("mount.log").toFile())
                .start();
        Assumptions.assumeTrue(possible.waitFor() == 0, "this user may mount nothing");
        String script = String.join(
                "; ",
                mount + " || exit 99",
                "cd '" + disk + "'",
                "printf '{\"old\": 1}' | tee " + OLD + "import.safetensors " + OLD + "learn.safetensors > " + OLD
                        + "quantize.safetensors",
                "limit() { true; }",
                before,
                "cd '" + folder + "'",
                "exec 3>&1",
                // What is told goes into a file, for which no limit is meant.
                "{ (limit; \"$@\"); echo $? > code; } 2>&1 >&3 | cat >&2",
                "code=$(cat code)",
                found("left: "),
                "cat '" + disk + "'/" + OLD + "* | tr -d '\\n' | sed 's/^/kept: /' >&2",
                after,
                "exit $code");
        return new OwnJava(folder)
                .startedBy(List.of("unshare", "-rm", "sh", "-c", script, "sh"))
                .run(words.toArray());
    }

    /** Tells what is on the disk. */
    private String found(String mark) {
        return "find '" + disk + "' ! -name filler | sed 's/^/" + mark + "/' >&2";
    }

    private List<String> left(String mark, Shell.Outcome outcome) {
        return outcome.err()
                .lines()
                .filter(line -> line.startsWith(mark))
                .map(line -> line.substring(mark.length()))
                .filter(line -> !line.equals(disk.toString()) && !line.contains("/" + OLD))
                .toList();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "import",
                "quantize",
                "onnx",
                "hf",
                "features",
                "report",
                "pretrain",
                "extract",
                "learn",
                "sweep",
                "train",
                "distill",
                "adapt",
                "demo"
            })
    void aFullDiskIsToldInOneLine(String command) throws Exception {
        Shell.Outcome outcome = run("size=256k", "dd if=/dev/zero of=filler bs=1k 2>/dev/null", "true", words(command));
        String error = told(outcome, "No space left on device", "make room there");
        assertTrue(error.contains("; 0.0 MB are free in " + disk), error);
    }

    /** A user's files may be limited in size, which Java is told as any other failure to write. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "import",
                "quantize",
                "onnx",
                "hf",
                "features",
                "report",
                "pretrain",
                "extract",
                "learn",
                "sweep",
                "train",
                "distill",
                "adapt",
                "demo"
            })
    void aLimitOnTheSizeOfFilesIsToldInOneLine(String command) throws Exception {
        Shell.Outcome outcome = run("size=16m", "limit() { ulimit -f 1; }", "true", words(command));
        told(outcome, "File too large", "raise the limit on the size of files (ulimit -f)");
    }

    /** There is room for a part of the result; with more the same command goes on. */
    @ParameterizedTest
    @CsvSource({
        "import, 32",
        "quantize, 24",
        "onnx, 40",
        "hf, 40",
        "extract, 40",
        "train, 40",
        "distill, 40",
        "demo, 128"
    })
    void aDiskThatFillsMidwayLosesNothing(String command, int kilobytes) throws Exception {
        String again = "mount -o remount,size=16m '" + disk + "'; \"$@\"; echo again: $? >&2; " + found("then: ");
        Shell.Outcome outcome = run("size=" + kilobytes + "k", "true", again, words(command));
        told(outcome, "No space left on device", "make room there");
        assertTrue(outcome.err().contains("again: 0\n"), outcome.err());
        assertTrue(
                left("then: ", outcome).stream().noneMatch(name -> name.contains("/.tessera")),
                () -> "hidden files are left: " + outcome.err());
    }

    /** The one line in which it is told that a result could not be written. */
    private String told(Shell.Outcome outcome, String why, String remedy) {
        assertEquals(1, outcome.code(), outcome::toString);
        List<String> errors = new ArrayList<>();
        outcome.err()
                .lines()
                .filter(line -> line.startsWith("tessera: error: "))
                .forEach(errors::add);
        assertEquals(1, errors.size(), outcome.err());
        String error = errors.getFirst();
        assertTrue(error.startsWith("tessera: error: " + disk + "/"), error);
        assertTrue(error.contains(why), error);
        assertTrue(error.contains("); " + remedy), error);
        assertTrue(
                left("left: ", outcome).stream().noneMatch(name -> name.contains("/.")),
                () -> "hidden files are left: " + outcome.err());
        assertTrue(outcome.err().contains("kept: " + "{\"old\": 1}".repeat(3)), outcome.err());
        return error;
    }

    @Test
    void aDiskThatMayOnlyBeReadIsRefusedBeforeTheWork() throws Exception {
        Shell.Outcome outcome = run("size=256k", "mount -o remount,ro '" + disk + "'", "true", words("onnx"));
        assertEquals(2, outcome.code(), outcome::toString);
        assertTrue(outcome.err().contains("Read-only file system"), outcome.err());
        assertEquals(List.of(), left("left: ", outcome));
    }

    /** Half of a result on standard output must not look like the whole. */
    @Test
    void standardOutputThatIsFullIsAFailure() throws Exception {
        Shell.Outcome outcome = new OwnJava(folder)
                .startedBy(List.of("sh", "-c", "exec \"$@\" > /dev/full", "sh"))
                .run("inspect", student, "--json");
        assertEquals(1, outcome.code(), outcome::toString);
        assertTrue(outcome.err().startsWith("tessera: error: standard output took only a part"), outcome.err());
        assertEquals(1, outcome.err().lines().count(), outcome.err());
    }
}
