package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.distill.MadeVideo;

/** What newcomers type: folders and files of another kind than a command takes, or in each other's places. Each is told so, and nothing is lost. */
class WrongUsesTest {
    @TempDir
    private Path folder;

    private Path student;
    private Path clips;

    @BeforeEach
    void inputs() throws IOException {
        student = TinyStudent.write(folder.resolve("student.safetensors"), 16);
        clips = OwnClips.write(folder.resolve("clips"), 2, "dark", "bright");
    }

    private Path film(String name) throws IOException {
        Path file = folder.resolve(name);
        Files.createDirectories(file.resolveSibling(""));
        return MadeVideo.write(file, MadeVideo.ramp("32x32", 10, 2) + " -c:v mpeg4");
    }

    private Path head() throws IOException {
        film("videos/a/a.mp4");
        film("videos/b/b.mp4");
        Path head = folder.resolve("head.safetensors");
        Shell.succeed("learn", "--student", student, "--clips", folder.resolve("videos"), "--out", head, "--quiet");
        return head;
    }

    @Test
    void aVideoOrAFolderIsNoArrayOfClips() throws IOException {
        Path video = film("a.mp4");
        Path out = folder.resolve("f.npy");
        Shell.refuse(
                List.of(
                        video + ": is neither safetensors, npy nor npz (it looks like a video",
                        "learn and predict take"),
                "features",
                "--student",
                student,
                "--clips",
                video,
                "--out",
                out);
        Shell.refuse(
                List.of(clips + " is a folder; name one array of clips"),
                "features",
                "--student",
                student,
                "--clips",
                clips,
                "--out",
                out);
        assertFalse(Files.exists(out));
    }

    @ParameterizedTest
    @ValueSource(strings = {"fewshot", "sweep"})
    void clipsLieInAFolderWithAFolderOfTheirModality(String command) throws IOException {
        Path video = film("videos/a.mp4");
        Path out = folder.resolve("out");
        List<Object> words = command.equals("sweep") ? List.of("--out", out) : List.of("--quiet");
        refuse(video + " is no folder; name a folder with clips in it, DIR/rgb/<label>/<clip>", command, video, words);
        refuse("has no folder rgb; clips lie in", command, video.resolveSibling(""), words);
        refuse(clips + " has 2 labels but --ways is 5; lower it or add labels", command, clips, words);
        assertFalse(Files.exists(out), "a folder of results without any");
    }

    private void refuse(String expected, String command, Path given, List<Object> more) {
        List<Object> words = new ArrayList<>(List.of(command, "--student", student, "--clips", given));
        words.addAll(more);
        Shell.refuse(List.of(expected), words.toArray());
    }

    @Test
    void clipsOfExtractAreNoVideosToLearnFrom() throws IOException {
        film("videos/a/a.mp4");
        film("videos/b/b.mp4");
        Path data = folder.resolve("data");
        Shell.succeed(
                "extract", "--videos", folder.resolve("videos"), "--out", data, "--frames=2", "--size=16", "--quiet");
        Shell.refuse(
                List.of(data + ": holds clips that extract made of videos; name the folder of these videos"),
                "learn",
                "--student",
                student,
                "--clips",
                data,
                "--out",
                folder.resolve("h.safetensors"));
    }

    @Test
    void clipsAreExtractedIntoAFolderOfTheirOwn() throws IOException {
        film("videos/a/a.mp4");
        Path videos = folder.resolve("videos");
        Path used = Files.createDirectory(folder.resolve("used"));
        Files.createDirectory(used.resolve("flow"));
        Files.writeString(used.resolve("thesis.tex"), "years of work");
        Shell.refuse(
                List.of(
                        used + " holds other files, such as thesis.tex, and no clips of an extraction",
                        "an empty folder"),
                "extract",
                "--videos",
                videos,
                "--out",
                used,
                "--frames=2",
                "--size=16");
        assertEquals("years of work", Files.readString(used.resolve("thesis.tex")));
        assertTrue(Files.notExists(used.resolve("cut.txt")));
        Files.delete(used.resolve("thesis.tex"));
        Files.writeString(used.resolve(".DS_Store"), "");
        Shell.succeed("extract", "--videos", videos, "--out", used, "--frames=2", "--size=16", "--quiet");
        for (String word : List.of(
                "--frames=0", "--frames=-8", "--frames=2000000000", "--size=0", "--size=64x32", "--size=9999")) {
            String option = word.substring(0, word.indexOf('='));
            Shell.refuse(
                    List.of(option + " is " + word.substring(option.length() + 1) + "; pass "),
                    "extract",
                    "--videos",
                    videos,
                    "--out",
                    folder.resolve("new"),
                    word);
        }
    }

    @Test
    void aHeadIsNoModel() throws IOException {
        Path head = head();
        Path out = folder.resolve("run");
        String told = head + ": this is a head and no model; pass the student that it was learned with";
        Shell.refuse(List.of(told), "distill", "--teachers=rgb=" + head, "--target", clips, "--out", out, "--quiet");
        Shell.refuse(List.of(told), OwnClips.pretraining("rgb", clips, out, 1, "--start", head));
        Shell.refuse(
                List.of(told), "train", "--modality=rgb", "--clips", clips, "--start", head, "--out", out, "--quiet");
        Shell.refuse(List.of("it is a head alone"), "import", "--checkpoint", head, "--out", folder.resolve("i"));
    }

    /** Swapped options: what no command has written is not replaced by a result. */
    @Test
    void whatIsNoResultIsNotReplaced() throws IOException {
        Path video = film("mine.mp4");
        byte[] before = Files.readAllBytes(video);
        Path text = Files.writeString(folder.resolve("notes"), "years of work");
        for (Path lost : List.of(video, text)) {
            String told = lost + " is there already and no result of tessera's";
            Shell.refuse(List.of("--out " + told), "import", "--checkpoint", student, "--out", lost);
            Shell.refuse(List.of("--out " + told), "export", "--student", student, "--format=onnx", "--out", lost);
            Shell.refuse(List.of("--out " + told), "quantize", "--student", student, "--out", lost);
            Shell.refuse(
                    List.of("--report " + told),
                    "predict",
                    "--student",
                    student,
                    "--video",
                    film("other.mp4"),
                    "--report",
                    lost);
        }
        assertArrayEquals(before, Files.readAllBytes(video));
        assertEquals("years of work", Files.readString(text));
        Path empty = Files.writeString(folder.resolve("empty"), "");
        Shell.succeed("import", "--checkpoint", student, "--out", empty);
        Shell.succeed("export", "--student", student, "--format=onnx", "--out", empty);
        Shell.succeed("import", "--checkpoint", student, "--out", empty);
    }

    @Test
    void anExportDoesNotReplaceATraining() throws IOException {
        Path run = Files.createDirectory(folder.resolve("run"));
        Path model = Files.copy(student, run.resolve("model.safetensors"));
        Shell.refuse(
                List.of("--out " + run + " has a model.safetensors that is no export", "name another folder"),
                "export",
                "--student",
                student,
                "--format=hf",
                "--out",
                run);
        assertArrayEquals(Files.readAllBytes(student), Files.readAllBytes(model));
        // Another program's, as a hub has it.
        Files.writeString(run.resolve("config.json"), "{}");
        Shell.refuse(
                List.of("--out " + run + " has a model.safetensors that is no export"),
                "export",
                "--student",
                student,
                "--format=hf",
                "--out",
                run);
        Files.move(model, run.resolve("model-00001-of-00001.safetensors"));
        Shell.refuse(
                List.of("--out " + run + " has weights already, model-00001-of-00001.safetensors", "another folder"),
                "export",
                "--student",
                student,
                "--format=hf",
                "--out",
                run);
        Path export = folder.resolve("export");
        for (int times = 0; times < 2; times++) {
            Shell.succeed("export", "--student", student, "--format=hf", "--out", export);
        }
        Shell.refuse(
                List.of("--mask-ratio is built into models of --format onnx"),
                "export",
                "--student",
                student,
                "--format=hf",
                "--mask-ratio=0.5",
                "--out",
                folder.resolve("hf"));
        Shell.succeed("export", "--student", student, "--format=hf", "--out", folder.resolve("hf"));
        Shell.succeed("export", "--student", student, "--format=hf", "--out", folder.resolve("hf"));
        Files.delete(folder.resolve("hf/config.json")); // as a run that was killed leaves it
        Shell.succeed("export", "--student", student, "--format=hf", "--out", folder.resolve("hf"));
        assertTrue(Files.exists(folder.resolve("hf/config.json")));
    }

    @Test
    void whatIsNoCheckpointIsSaidToBeWhatItIs() throws IOException {
        Path out = folder.resolve("i.safetensors");
        Path video = film("a.mkv");
        Shell.refuse(
                List.of(video + ": is no safetensors file (it looks like a video"),
                "import",
                "--checkpoint",
                video,
                "--out",
                out);
        Path table = Files.writeString(folder.resolve("rows.csv"), "path,start,end\nbox,0,1\n");
        Shell.refuse(
                List.of(table + ": is no safetensors file (it looks like a text)"),
                "import",
                "--checkpoint",
                table,
                "--out",
                out);
        Path picture =
                Files.write(folder.resolve("a.png"), "\u0089PNG\r\n\u001a\n....".getBytes(StandardCharsets.ISO_8859_1));
        Shell.refuse(
                List.of(picture + ": is no safetensors file (it looks like a picture"),
                "import",
                "--checkpoint",
                picture,
                "--out",
                out);
        assertFalse(Files.exists(out));
    }

    @Test
    void splitsAndColumnsThatAreNotThere() throws IOException {
        film("videos/box.mp4");
        Path rows = Files.writeString(folder.resolve("rows.csv"), "path,start,end\nbox,0,1\n");
        Path out = folder.resolve("data");
        Object[] words = {"extract", "--videos", folder.resolve("videos"), "--annotations", rows, "--out", out, ""};
        words[7] = "--split=train";
        Shell.refuse(List.of("no annotation is of the split 'train'; they name none, so leave it away"), words);
        words[7] = "--format=epic";
        Shell.refuse(List.of("line 1, names no column video_id; mend it, or name another --format"), words);
        assertTrue(Files.notExists(out));
    }
}
