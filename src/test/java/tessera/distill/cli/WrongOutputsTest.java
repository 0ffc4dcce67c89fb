package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.tensor.io.FolderLock;

/** Results that are sent to where they cannot or should not go: refused in one line before any work, and nothing is changed. */
class WrongOutputsTest {
    @TempDir
    private Path folder;

    private Path student;

    @BeforeEach
    void write() {
        student = TinyStudent.write(folder.resolve("student.safetensors"));
    }

    private Object[] export(Path out) {
        return new Object[] {"export", "--student", student, "--format=onnx", "--out", out};
    }

    private Object[] quantize(Path out) {
        return new Object[] {"quantize", "--student", student, "--out", out};
    }

    private Object[] hf(Path out) {
        return new Object[] {"export", "--student", student, "--format=hf", "--out", out};
    }

    private List<String> names() throws IOException {
        try (Stream<Path> files = Files.list(folder)) {
            return files.map(file -> file.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void anotherFormatsEnding() throws IOException {
        for (String name : List.of("new.npy", "new.safetensors", "new.PTH", "new.mp4")) {
            Path out = folder.resolve(name);
            Shell.refuse(
                    List.of("--out " + out + " ends as files of another format do; name a file that ends in .onnx"),
                    export(out));
        }
        Shell.refuse(List.of("name a file that ends in .safetensors"), quantize(folder.resolve("new.onnx")));
        Path page = folder.resolve("page.json");
        Shell.refuse(
                List.of("--report " + page + " ends", "name a file that ends in .html"),
                "predict",
                "--student",
                student,
                "--video",
                folder.resolve("a.mp4"),
                "--report",
                page);
        Path model = folder.resolve("model.safetensors");
        Shell.refuse(List.of("--out " + model + " ends as a file does, but a folder is written"), hf(model));
        Shell.refuse(List.of("--out " + model + " ends as a file does"), OwnClips.pretraining("rgb", folder, model, 1));
        assertEquals(List.of("student.safetensors"), names());
        // What no format has is the user's own.
        for (String name : List.of("plain", "student.v2")) {
            Shell.succeed(export(folder.resolve(name)));
        }
        Shell.succeed(hf(folder.resolve("v1.0")));
    }

    @Test
    void foldersThatAreNotThereAndFilesInTheirPlace() throws IOException {
        Path none = folder.resolve("none").resolve("new.onnx");
        Shell.refuse(List.of("--out " + none + " lies in ", "which is no folder"), export(none));
        Path below = student.resolve("new.onnx");
        Shell.refuse(List.of("--out " + below + " lies in " + student), export(below));
        Path there = Files.createDirectory(folder.resolve("there"));
        Shell.refuse(List.of("--out " + there + " is a folder"), export(there));
        Shell.refuse(List.of("because " + student + " is a file"), hf(student.resolve("hf")));
        assertEquals(List.of("student.safetensors", "there"), names());
    }

    @Test
    void linksToNowhere() throws IOException {
        Path link = Files.createSymbolicLink(folder.resolve("link.onnx"), Path.of("gone", "new.onnx"));
        Shell.refuse(List.of("--out " + link + " lies in " + folder.resolve("gone")), export(link));
        Path round = Files.createSymbolicLink(folder.resolve("round.onnx"), Path.of("round.onnx"));
        Shell.refuse(List.of("--out " + round + " is a link that leads to no file"), export(round));
        Path lost = Files.createSymbolicLink(folder.resolve("lost"), Path.of("gone"));
        for (Path out : List.of(lost, lost.resolve("run"))) {
            Shell.refuse(List.of("--out " + out + " cannot be written, because " + lost + " is a link"), hf(out));
        }
        assertFalse(Files.exists(folder.resolve("gone")));
    }

    /** Results may be on another disk than where a user looks for them. */
    @Test
    void linksToWhereAResultMayGo() throws IOException {
        Path there = Files.createDirectory(folder.resolve("there"));
        Path link = Files.createSymbolicLink(folder.resolve("link.onnx"), Path.of("there", "new.onnx"));
        Shell.succeed(export(link));
        assertTrue(Files.isSymbolicLink(link)
                && Files.isRegularFile(there.resolve("new.onnx"), LinkOption.NOFOLLOW_LINKS));
        Shell.succeed(export(link));
        assertTrue(Files.isSymbolicLink(link), "it stays one");
        Path run = Files.createSymbolicLink(folder.resolve("run"), Path.of("there"));
        Shell.succeed(hf(run));
        assertTrue(Files.exists(there.resolve("config.json")));
    }

    @Test
    void inputsByOtherPaths() throws IOException {
        byte[] before = Files.readAllBytes(student);
        Path link = Files.createSymbolicLink(folder.resolve("link.safetensors"), student);
        Path hard = Files.createLink(folder.resolve("hard.safetensors"), student);
        Path round = folder.resolve("x").resolve("..").resolve("student.safetensors");
        Files.createDirectory(folder.resolve("x"));
        for (Path out : List.of(link, hard, round, Path.of("").toAbsolutePath().relativize(student))) {
            Shell.refuse(List.of("--out " + out + " is the input of --student"), quantize(out));
        }
        assertArrayEquals(before, Files.readAllBytes(student));
    }

    @Test
    void halfOfWhatPretrainingNeeds() {
        Shell.refuse(
                List.of("--target " + folder + " is given without --source", "adapt"),
                "pretrain",
                "--modality=rgb",
                "--target",
                folder,
                "--out",
                folder.resolve("run"));
        Shell.refuse(
                List.of("--source " + folder + " is given without --target"),
                "pretrain",
                "--modality=rgb",
                "--source",
                folder,
                "--out",
                folder.resolve("run"));
    }

    /** Before the clips are read, which are none here. */
    @Test
    void foldersThatAnotherRunWritesInto() throws IOException {
        Path run = folder.resolve("run");
        String process =
                " is in use by another run (process " + ProcessHandle.current().pid() + "); ";
        try (FolderLock held = FolderLock.hold(run)) {
            Shell.refuse(List.of(run + process), OwnClips.pretraining("rgb", folder.resolve("none"), run, 1));
            Shell.refuse(List.of(run + process), hf(run));
            assertEquals(run.toRealPath(), held.folder());
        }
        Shell.succeed(hf(run));
    }
}
