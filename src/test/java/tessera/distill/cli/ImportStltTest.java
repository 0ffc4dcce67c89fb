package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.stlt.StltConfig;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Npy;

/** {@code tessera import} of an STLT: a reference model's weights under the names of the authors' files. */
class ImportStltTest {
    private static final Golden GOLDEN = Golden.open("stlt");
    private static final String TABLE =
            "temporal_transformer.layout_embedding.category_box_embeddings.side_embedding.weight";

    @TempDir
    private Path folder;

    private Path file;

    @BeforeEach
    void write() {
        file = folder.resolve("authors.safetensors");
        write(Map.of());
    }

    private void write(Map<String, Tensor> more) {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> named = new LinkedHashMap<>();
            GoldenTensors.below(GOLDEN, "param.", DType.F32)
                    .forEach((name, tensor) -> named.put("_orig_mod." + name, tensor));
            named.put("_orig_mod.classifiers.VERB.weight", Tensor.ones(5, 24));
            named.put("_orig_mod.classifiers.VERB.bias", Tensor.ones(5));
            named.putAll(more);
            named.values().removeIf(tensor -> tensor.shape().count() == 0);
            Checkpoint.write(file, named, Map.of());
        }
    }

    /** Frames have 14 boxes, of which those behind the reference's 6 are padding. */
    private static Tensor clips() {
        Tensor boxes = GoldenTensors.tensor(GOLDEN, "input.clips", DType.F32); // [B, T, 6, 1, 8]
        return Tensor.concat(2, boxes, Tensor.zeros(boxes.size(0), boxes.size(1), 8, 1, 8));
    }

    @Test
    void theStudentSeesWhatTheReferenceSees() {
        Path student = folder.resolve("student.safetensors");
        Shell.succeed("import", "--checkpoint", file, "--heads=3", "--out", student);
        try (Scope scope = Scope.open();
                Student opened = Student.load(student, Device.cpu())) {
            assertEquals(StltConfig.of(4, 14, 24, 3, 2, 3), opened.config());
            Tensor tokens = GoldenTensors.tensor(GOLDEN, "output.tokens", DType.F32); // [B, T + 1, D]
            Tensor features = opened.features(clips(), Masking.none(), 1);
            GoldenTensors.close(features.reshape(3, 24), tokens.slice(1, 4, 5).toDoubles(), 1e-5, "features");
        }
    }

    /** The authors' models of EPIC-KITCHENS tell verbs and nouns. */
    @Test
    void bothHeadsAreThoseOfTheStudent() throws IOException {
        Tensor nouns;
        try (Scope scope = Scope.open()) {
            nouns = Tensor.ones(3, 24);
            write(Map.of(
                    "_orig_mod.classifiers.NOUN.weight", nouns, "_orig_mod.classifiers.NOUN.bias", Tensor.ones(3)));
        }
        Path verbs = Files.writeString(folder.resolve("verbs"), "cut\nopen\nput\ntake\nwash\n");
        Path student = folder.resolve("student.safetensors");
        Shell.succeed("import", "--checkpoint", file, "--heads=3", "--labels", "verb=" + verbs, "--out", student);
        try (Student opened = Student.load(student, Device.cpu())) {
            assertEquals(
                    List.of("noun", "verb"),
                    opened.heads().stream().map(Head::name).toList());
            assertEquals("wash", opened.heads().getLast().labels().getLast());
            assertEquals(3, opened.heads().getFirst().classes());
        }
    }

    @Test
    void weightsComeBackUnderTheAuthorsNamesToTheBit() {
        Path student = folder.resolve("student.safetensors");
        Path again = folder.resolve("again.safetensors");
        Shell.succeed("import", "--checkpoint", file, "--heads=3", "--modality=boxes", "--out", student);
        Shell.succeed("import", "--checkpoint", student, "--frames=4", "--out", again);
        try (Scope scope = Scope.open();
                Checkpoint read = Checkpoint.read(again)) {
            Map<String, Tensor> expected = new HashMap<>(GoldenTensors.below(GOLDEN, "param.", DType.F32));
            expected.put("heads.verb.weight", Tensor.ones(5, 24));
            expected.put("heads.verb.bias", Tensor.ones(5));
            assertEquals(expected.keySet(), read.tensors().keySet());
            read.tensors()
                    .forEach((name, tensor) ->
                            assertArrayEquals(requireNonNull(expected.get(name)).toFloats(), tensor.toFloats(), name));
        }
    }

    /** What holds the model does not matter, and of a model and its average, as of other models, either is taken. */
    @Test
    void oneOfSeveralIsTakenByItsName() throws IOException {
        Path student = folder.resolve("student.safetensors");
        Shell.succeed("import", "--checkpoint", file, "--heads=3", "--out", student);
        byte[] plain = Files.readAllBytes(student);
        try (Scope scope = Scope.open();
                Checkpoint read = Checkpoint.read(file)) {
            Map<String, Tensor> named = new LinkedHashMap<>();
            read.tensors().forEach((name, tensor) -> named.put("net." + name, tensor));
            Checkpoint.write(file, named, Map.of());
            Shell.succeed("import", "--checkpoint", file, "--heads=3", "--out", student);
            assertArrayEquals(plain, Files.readAllBytes(student));

            Map<String, Tensor> both = new LinkedHashMap<>(read.tensors());
            read.tensors().forEach((name, tensor) -> both.put("ema." + name, tensor.mul(2)));
            Checkpoint.write(file, both, Map.of());
            refuse(student, "one of them: . (a model of boxes, width 24), ema (a model of boxes", "--heads=3");
            Shell.succeed("import", "--checkpoint", file, "--heads=3", "--prefix=.", "--out", student);
            assertArrayEquals(plain, Files.readAllBytes(student));
            Shell.succeed("import", "--checkpoint", file, "--heads=3", "--prefix=ema", "--out", student);
            assertFalse(Arrays.equals(plain, Files.readAllBytes(student)));
        }
    }

    /** By so small a rate weights stay as they start. */
    @Test
    void trainingStartsFromTheAuthorsFile() throws IOException {
        for (String label : List.of("cut", "open")) {
            Path clip = Files.createDirectories(
                            folder.resolve("data").resolve("boxes").resolve(label))
                    .resolve("clip.npy");
            Npy.write(clip, ArrayData.of("boxes", new float[4 * 14 * 8], 4, 14, 1, 8));
        }
        Path out = folder.resolve("run");
        List<Object> words = new ArrayList<>(List.of("train", "--modality=boxes", "--clips", folder.resolve("data")));
        words.addAll(List.of("--dim=24", "--depths=2,3", "--attention-heads=3", "--start", file, "--lr=1e-30"));
        words.addAll(List.of("--batch=2", "--steps=2", "--threads=1", "--quiet", "--out", out));
        Shell.succeed(words.toArray());
        try (Scope scope = Scope.open();
                Checkpoint trained = Checkpoint.read(out.resolve("model.safetensors"))) {
            GoldenTensors.below(GOLDEN, "param.", DType.F32)
                    .forEach((name, tensor) -> Close.relative(
                            requireNonNull(trained.tensors().get(name), name).toDoubles(),
                            tensor.toDoubles(),
                            1e-6,
                            name));
            assertEquals("stlt", trained.metadata().get("tessera.architecture"));
        }
    }

    @Test
    void whatDoesNotFitIsRefused() {
        Path out = folder.resolve("student.safetensors");
        refuse(out, "--dim is given but an STLT tells its sizes itself", "--dim=24");
        refuse(out, "--pixels is given", "--pixels=32");
        refuse(out, "--modality is rgb", "--modality=rgb");
        refuse(out, "--frames is 16", "--frames=16");
        refuse(out, "a width of 24 with 7 heads", "--heads=7");
        refuse(out, "is an STLT, which torchvision does not have", "--names=torchvision");
        try (Scope scope = Scope.open()) {
            write(Map.of("_orig_mod.temporal_transformer.mood", Tensor.ones(2)));
            refuse(out, "unexpected (temporal_transformer.mood)", "--heads=3");
            write(Map.of("_orig_mod." + TABLE, Tensor.zeros(0, 24)));
            refuse(out, "there is no table " + TABLE, "--heads=3");
        }
    }

    private void refuse(Path out, String part, String option) {
        Shell.refuse(List.of(part), "import", "--checkpoint", file, option, "--out", out);
    }
}
