package tessera.distill.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.train.HeldOut;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;

/** The second system from the command line: teachers of two architectures, and students of their class scores. */
class TrainTest {
    private static final List<String> SWIN =
            List.of("--dim=8", "--depths=1,1", "--attention-heads=1,2", "--window=2x2x2");
    private static final List<String> VIDEOMAE =
            List.of("--arch=videomae", "--dim=16", "--depths=1", "--attention-heads=2");

    @TempDir
    private static Path folder;

    private static Path data;

    @BeforeAll
    static void train() throws IOException {
        data = OwnClips.write(folder.resolve("data"), 4, "dark", "grey", "bright");
        Files.writeString(
                data.resolve("labels.csv"), "label,verb,noun\ndark,hide,wall\ngrey,hide,floor\nbright,show,wall\n");
        Shell.succeed(training("rgb", folder.resolve("rgb"), SWIN));
        Shell.succeed(training("pose", folder.resolve("pose"), VIDEOMAE));
    }

    private static Object[] training(String modality, Path out, List<String> model, String... more) {
        List<Object> words = new ArrayList<>(List.of("train", "--modality", modality, "--clips", data));
        words.addAll(List.of("--heads=verb,noun", "--hold-out=0.25"));
        return words(words, out, model, more);
    }

    private static Object[] distilling(Path out, List<String> model, String... more) {
        List<Object> words = new ArrayList<>(List.of("distill", "--clips", data, "--heads=verb,noun"));
        words.addAll(List.of("--teachers", "rgb=" + folder.resolve("rgb") + ",pose=" + folder.resolve("pose")));
        return words(words, out, model, more);
    }

    private static Object[] words(List<Object> words, Path out, List<String> model, String... more) {
        words.addAll(model);
        words.addAll(List.of("--batch=4", "--steps=3", "--threads=1", "--quiet", "--out", out));
        words.addAll(List.of(more));
        return words.toArray();
    }

    @Test
    void aTrainedModelHasItsHeads() {
        try (Student student = Student.load(folder.resolve("rgb").resolve("model.safetensors"), Device.cpu())) {
            assertEquals(
                    List.of("verb", "noun"),
                    student.heads().stream().map(Head::name).toList());
            assertEquals(
                    List.of("hide", "show"), student.labels().stream().sorted().toList());
        }
    }

    @Test
    void aStudentOfClassScoresSaysHowItWasTaught() throws IOException {
        Path out = folder.resolve("student");
        String printed = Shell.succeed(distilling(
                out,
                SWIN,
                "--beta=0.5",
                "--temperature=2",
                "--weighting=dataset",
                "--hold-out=0.25",
                "--features=pose=0.5"));
        Path file = out.resolve("student.safetensors");
        assertEquals(file + "\nalpha 1.0, beta 0.5, T 2.0, weighting dataset\n", printed);
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            String settings = String.valueOf(checkpoint.metadata().get("tessera.settings"));
            assertTrue(
                    settings.contains("\"alpha\":1.0,\"beta\":0.5,\"temperature\":2.0,\"weighting\":\"dataset\""),
                    settings);
            assertTrue(settings.contains("\"lr\":1.0E-4") && settings.contains("\"clipNorm\":5.0"), settings);
            assertTrue(settings.contains("\"teacherWeights\":{\"verb\":{\"rgb\":"), settings);
        }
        // The same command finds it finished.
        byte[] bytes = Files.readAllBytes(file);
        Shell.succeed(distilling(
                out,
                SWIN,
                "--beta=0.5",
                "--temperature=2",
                "--weighting=dataset",
                "--hold-out=0.25",
                "--features=pose=0.5"));
        assertArrayEquals(bytes, Files.readAllBytes(file));
        Shell.refuse(List.of("beta was 0.5, is 0.0", "temperature was 2.0, is 1.0"), distilling(out, SWIN));
    }

    @Test
    void aCacheAndAStartGiveTheSameAsWithout() throws IOException {
        Path start = folder.resolve("rgb").resolve("model.safetensors");
        String[] common = {"--view-count=2", "--weighting=per-sample", "--start=" + start, "--json"};
        String json = Shell.succeed(distilling(folder.resolve("plain"), SWIN, common));
        assertTrue(json.contains("\"alpha\":1.0,\"beta\":0.0,\"temperature\":1.0,\"weighting\":\"per-sample\""), json);
        List<String> cached = new ArrayList<>(List.of(common));
        cached.add("--cache=" + folder.resolve("cache"));
        Shell.succeed(distilling(folder.resolve("cached"), SWIN, cached.toArray(String[]::new)));
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("plain").resolve("student.safetensors")),
                Files.readAllBytes(folder.resolve("cached").resolve("student.safetensors")));
    }

    @Test
    void aMaskedStudentOfAnotherArchitecture() {
        Shell.succeed(distilling(folder.resolve("masked"), VIDEOMAE, "--mask-ratio=0.5", "--alpha=0.5"));
        assertTrue(Files.exists(folder.resolve("masked").resolve("student.safetensors")));
    }

    /** A student of two teachers of one modality, which have names of their own. */
    @Test
    void severalTeachersOfOneModality() throws IOException {
        Shell.succeed(training("rgb", folder.resolve("large"), SWIN, "--seed=7"));
        String teachers = "--teachers=small:rgb=" + folder.resolve("rgb") + ",large:rgb=" + folder.resolve("large");
        List<Object> words = new ArrayList<>(List.of("distill", "--clips", data, "--heads=verb,noun", teachers));
        words.addAll(List.of("--weighting=dataset", "--hold-out=0.25", "--features=large=0.5"));
        Path out = folder.resolve("of-two");
        Shell.succeed(words(words, out, SWIN));
        try (Checkpoint checkpoint = Checkpoint.read(out.resolve("student.safetensors"))) {
            String settings = String.valueOf(checkpoint.metadata().get("tessera.settings"));
            assertTrue(settings.matches(".*\"teacherWeights\":\\{\"verb\":\\{\"large\":[^}]*\"small\":.*"), settings);
            assertTrue(checkpoint.metadata().containsKey("tessera.teacher.large"));
            assertTrue(checkpoint.metadata().containsKey("tessera.teacher.small"));
        }
        Shell.refuse(
                List.of("--teachers names 'rgb' twice"),
                distilling(folder.resolve("never"), SWIN, "--teachers=rgb=" + folder.resolve("large")));
    }

    /** What flow is normalised with was not seen on clips that are held out. */
    @Test
    void flowIsMeasuredOnTheClipsThatAreTrainedOn() {
        Path out = folder.resolve("flow");
        Shell.succeed(training("flow", out, SWIN));
        ModalityFolders folders = ModalityFolders.open(data, Set.of(Modality.FLOW), null);
        Set<String> held = HeldOut.of(.25).names(folders.names());
        assertEquals(3, held.size());
        FlowStats rest = folders.flowStats(name -> !held.contains(name));
        assertNotEquals(folders.flowStats(), rest);
        try (Checkpoint checkpoint = Checkpoint.read(out.resolve("model.safetensors"))) {
            double[] mean =
                    SwinConfig.fromMetadata(checkpoint.metadata()).patches().mean();
            assertEquals(rest.mean(), List.of((float) mean[0], (float) mean[1]));
        }
    }

    @Test
    void wrongWordsAreRefused() {
        Path out = folder.resolve("never");
        Shell.refuse(List.of("mood"), training("rgb", out, SWIN, "--heads=mood"));
        Shell.refuse(List.of("--arch is stlt", "pass stlt for boxes"), training("rgb", out, List.of("--arch=stlt")));
        Shell.refuse(
                List.of("--attention-heads"),
                training("rgb", out, List.of("--arch=videomae", "--attention-heads=1,2")));
        Shell.refuse(List.of("--head-weights names 'mood'"), training("rgb", out, SWIN, "--head-weights=mood=1"));
        Shell.refuse(List.of("--start"), training("rgb", out, SWIN, "--start=" + folder.resolve("none")));
        Shell.refuse(List.of("share of 2.0"), distilling(out, SWIN, "--hold-out=2"));
        Shell.refuse(List.of("train needs labelled clips"), "train", "--modality=rgb", "--out", out);
        Shell.refuse(List.of("temperature"), distilling(out, SWIN, "--temperature=0"));
        Shell.refuse(List.of("none are held out"), distilling(out, SWIN, "--weighting=dataset"));
        Shell.Outcome wrong = Shell.run(distilling(out, SWIN, "--weighting=best"));
        assertEquals(2, wrong.code());
        assertTrue(
                wrong.err()
                        .startsWith("tessera: error: --weighting is 'best'; pass one of uniform, dataset, per-sample"),
                wrong.err());
        Shell.refuse(List.of("give each clip some views"), distilling(out, SWIN, "--cache=" + folder.resolve("c")));
        Shell.refuse(List.of("--target and --weights"), distilling(out, SWIN, "--weights=rgb=1"));
        assertFalse(Files.exists(out.resolve("student.safetensors")));
    }
}
