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
import org.junit.jupiter.params.provider.ValueSource;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** Results on a disk that fills up: one line with what is full, what was there before as it was, and nothing left behind. */
@EnabledOnOs(OS.LINUX)
class FullDiskTest {
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
        Path video = Files.createDirectories(folder.resolve("videos").resolve("pour"))
                .resolve("ramp.mp4");
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

    /** Runs words on a disk of their own that has no room, but files of other results. */
    private Shell.Outcome run(String options, String fill, List<Object> words) throws Exception {
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
                "printf '{\"old\": 1}' | tee " + OLD + "import.safetensors > " + OLD + "quantize.safetensors",
                fill,
                "cd '" + folder + "'",
                "\"$@\"",
                "code=$?",
                "find '" + disk + "' ! -name filler | sed 's/^/left: /' >&2",
                "cat '" + disk + "'/" + OLD + "* | tr -d '\\n' | sed 's/^/kept: /' >&2",
                "exit $code");
        return new OwnJava(folder)
                .startedBy(List.of("unshare", "-rm", "sh", "-c", script, "sh"))
                .run(words.toArray());
    }

    private List<String> left(Shell.Outcome outcome) {
        return outcome.err()
                .lines()
                .filter(line -> line.startsWith("left: "))
                .map(line -> line.substring(6))
                .filter(line -> !line.equals(disk.toString()) && !line.contains("/" + OLD))
                .toList();
    }

    @ParameterizedTest
    @ValueSource(strings = {"import", "quantize", "onnx", "hf", "features", "report", "pretrain", "extract"})
    void aFullDiskIsToldInOneLine(String command) throws Exception {
        Shell.Outcome outcome = run("size=256k", "dd if=/dev/zero of=filler bs=1k 2>/dev/null", words(command));
        assertEquals(1, outcome.code(), outcome::toString);
        List<String> errors = new ArrayList<>();
        outcome.err()
                .lines()
                .filter(line -> line.startsWith("tessera: error: "))
                .forEach(errors::add);
        assertEquals(1, errors.size(), outcome.err());
        String error = errors.getFirst();
        assertTrue(error.startsWith("tessera: error: " + disk + "/"), error);
        assertTrue(error.contains("No space left on device"), error);
        assertTrue(error.contains("; 0.0 MB are free in " + disk), error);
        assertTrue(error.contains("); make room there or name another place"), error);
        assertTrue(
                left(outcome).stream().noneMatch(name -> name.contains("/.")),
                () -> "hidden files are left: " + outcome.err());
        assertTrue(outcome.err().contains("kept: {\"old\": 1}{\"old\": 1}"), outcome.err());
    }

    @Test
    void aDiskThatMayOnlyBeReadIsRefusedBeforeTheWork() throws Exception {
        Shell.Outcome outcome = run("size=256k", "mount -o remount,ro '" + disk + "'", words("onnx"));
        assertEquals(2, outcome.code(), outcome::toString);
        assertTrue(outcome.err().contains("Read-only file system"), outcome.err());
        assertEquals(List.of(), left(outcome));
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
