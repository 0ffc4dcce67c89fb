package tessera.distill.cli;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.swin.SwinNames;
import tessera.tensor.Autograd;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** {@code tessera import} of a Swin3D. */
class ImportSwinTest {
    @TempDir
    private Path folder;

    /** The weights of a reference model as torchvision stores them. */
    private Path torchvision(Map<String, Tensor> weights) {
        SwinConfig config = new SwinConfig(
                Patches.plain(3, 2, 4), 8, 32, 32, 24, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
        Path file = folder.resolve("torchvision.safetensors");
        SwinNames.writeForTorchvision(file, weights, config);
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            Checkpoint.write(file, checkpoint.tensors(), Map.of());
        }
        return file;
    }

    @Test
    void aTorchvisionCheckpointBecomesAStudentAndGoesBack() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = GoldenTensors.below(Golden.open("swin3d-even"), "param.", DType.F32);
            Path file = torchvision(weights);
            Path student = folder.resolve("student.safetensors");
            assertEquals(
                    0,
                    Shell.run("import", "--checkpoint", file, "--frames=8", "--pixels=32", "--out", student)
                            .code());
            try (Student opened = Student.load(student, Device.cpu())) {
                assertEquals(48, opened.config().featureWidth());
                assertEquals(32, opened.config().input().width());
            }
            Path back = folder.resolve("back.safetensors");
            assertEquals(
                    0,
                    Shell.run("import", "--checkpoint", file, "--names=torchvision", "--out", back)
                            .code());
            try (Checkpoint read = Checkpoint.read(back)) {
                Map<String, Tensor> returned = new LinkedHashMap<>(read.tensors());
                returned.keySet().removeIf(name -> name.endsWith("relative_position_index"));
                assertEquals(weights.keySet(), returned.keySet());
                returned.forEach((name, tensor) ->
                        assertArrayEquals(Golden.open("swin3d-even").floats("param." + name), tensor.toFloats(), name));
            }
            Path again = folder.resolve("again.safetensors");
            assertEquals(
                    0,
                    Shell.run("import", "--checkpoint", student, "--out", again).code());
        }
    }

    /** The class scores of torchvision's own model, by a head with names. */
    @Test
    void theHeadAndItsLabelsAreKept() throws IOException {
        Golden golden = Golden.open("swin3d-even");
        try (Scope scope = Scope.open()) {
            Path file = torchvision(GoldenTensors.below(golden, "param.", DType.F32));
            Path labels = Files.writeString(folder.resolve("labels"), "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
            Path out = folder.resolve("student.safetensors");
            Shell.succeed(
                    "import", "--checkpoint", file, "--frames=8", "--pixels=32", "--labels", labels, "--out", out);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals("j", student.labels().getLast());
                double[] scores =
                        student.logits(clips(golden), Masking.none(), 1).toDoubles();
                Close.relative(scores, golden.doubles("out.logits"), 1e-5, "scores");
            }
        }
    }

    /** Of two linear layers in the place of torchvision's one, under each public name, both give the scores that the one gives. */
    @ParameterizedTest
    @CsvSource({"head.verb.,head.noun.", "head_verb.,head_noun.", "classifiers.VERB.,classifiers.NOUN."})
    void severalHeadsAreThoseOfOneStudent(String verb, String noun) throws IOException {
        Golden golden = Golden.open("swin3d-even");
        try (Scope scope = Scope.open()) {
            Path file = torchvision(GoldenTensors.below(golden, "param.", DType.F32));
            try (Checkpoint checkpoint = Checkpoint.read(file)) {
                Map<String, Tensor> named = new LinkedHashMap<>(checkpoint.tensors());
                for (String part : List.of("weight", "bias")) {
                    Tensor one = requireNonNull(named.remove("head." + part));
                    named.put(verb + part, one.slice(0, 0, 4).contiguous());
                    named.put(noun + part, one.slice(0, 4, 10).contiguous());
                }
                Checkpoint.write(folder.resolve("two.safetensors"), named, Map.of());
            }
            Path nouns = Files.writeString(folder.resolve("nouns"), "a\nb\nc\nd\ne\nf\n");
            Path out = folder.resolve("student.safetensors");
            List<Object> words = List.of(
                    "import",
                    "--checkpoint",
                    folder.resolve("two.safetensors"),
                    "--frames=8",
                    "--pixels=32",
                    "--out",
                    out);
            String told = Shell.succeed(with(words, "--labels", "noun=" + nouns));
            assertTrue(told.contains("head noun: 6 classes") && told.contains("head verb: 4 classes"), told);
            assertTrue(told.contains("the classes of its heads verb have no names but numbers"), told);
            try (Student student = Student.load(out, Device.cpu())) {
                assertEquals(
                        List.of("noun", "verb"),
                        student.heads().stream().map(Head::name).toList());
                assertEquals(
                        List.of("0", "1", "2", "3"), student.heads().getLast().labels());
                assertEquals("f", student.heads().getFirst().labels().getLast());
                double[] scores =
                        student.logits(clips(golden), Masking.none(), 1).toDoubles(); // [B, nouns and verbs]
                double[] expected = golden.doubles("out.logits");
                double[] turned = new double[expected.length];
                for (int i = 0; i < expected.length; i += 10) {
                    System.arraycopy(expected, i + 4, turned, i, 6);
                    System.arraycopy(expected, i, turned, i + 6, 4);
                }
                Close.relative(scores, turned, 1e-5, "scores");
            }
            Shell.refuse(List.of("says not of which head", "noun=FILE"), with(words, "--labels", nouns));
            Shell.refuse(List.of("a head 'action'", "[noun, verb]"), with(words, "--labels", "action=" + nouns));
            Shell.refuse(List.of("names 6 classes but the head has 4"), with(words, "--labels", "verb=" + nouns));
            Shell.refuse(
                    List.of("given twice for one head"),
                    with(words, "--labels", "noun=" + nouns, "--labels", "noun=" + nouns));
        }
    }

    private static Object[] with(List<Object> words, Object... more) {
        return Stream.concat(words.stream(), Stream.of(more)).toArray();
    }

    private static Tensor clips(Golden golden) {
        Tensor mean = Tensor.of(new float[] {.485f, .456f, .406f});
        Tensor std = Tensor.of(new float[] {.229f, .224f, .225f});
        return GoldenTensors.tensor(golden, "input.video_BCTHW", DType.F32)
                .permute(0, 2, 3, 4, 1)
                .mul(std)
                .add(mean)
                .mul(255)
                .contiguous();
    }

    /** A checkpoint of pictures becomes one of sound, which is repeated to three channels there, and of flow, there a picture (u, v, 0). */
    @Test
    void aCheckpointOfPicturesBecomesAStudentOfSoundOrFlow() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = GoldenTensors.below(Golden.open("swin3d-even"), "param.", DType.F32);
            Path file = torchvision(weights);
            Tensor decibels = normal(1).mul(17).add(-28);
            Patches sound =
                    new Patches(3, 2, 4, 1, numbers(-28.1125, -28.1125, -28.1125), numbers(16.5627, 16.5627, 16.5627));
            same("audio", file, decibels, weights, sound, Tensor.concat(4, decibels, decibels, decibels));

            Tensor pixels = normal(2).mul(4);
            Tensor levels = pixels.mul(1 / 20.0).add(1).mul(127.5);
            Patches imageNet = new Patches(3, 2, 4, 1 / 255.0, numbers(.485, .456, .406), numbers(.229, .224, .225));
            same("flow", file, pixels, weights, imageNet, Tensor.concat(4, levels, Tensor.zeros(2, 8, 32, 32, 1)));

            Shell.refuse(
                    List.of("of 3 channels but the model takes 21"),
                    "import",
                    "--checkpoint",
                    file,
                    "--modality=pose",
                    "--frames=8",
                    "--pixels=32",
                    "--out",
                    folder.resolve("pose.safetensors"));
        }
    }

    private static double[] numbers(double... values) {
        return values;
    }

    private static Tensor normal(long channels) {
        return Tensor.normal(Device.cpu(), DType.F32, Shape.of(2, 8, 32, 32, channels), 1, 3, 0, 1);
    }

    private void same(
            String modality, Path file, Tensor clips, Map<String, Tensor> weights, Patches patches, Tensor pictures) {
        Path student = folder.resolve(modality + ".safetensors");
        Shell.succeed(
                "import", "--checkpoint", file, "--modality", modality, "--frames=8", "--pixels=32", "--out", student);
        SwinConfig config =
                new SwinConfig(patches, 8, 32, 32, 24, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
        Params params = Params.from(Device.cpu(), DType.F32, weights);
        try (Student opened = Student.load(student, Device.cpu());
                SwinModel reference = new SwinModel(params, config, 0)) {
            double[] expected =
                    Autograd.noGrad(() -> reference.features(pictures, null).toDoubles());
            Tensor features = opened.features(clips, Masking.none(), 1);
            Close.relative(features.toDoubles(), expected, 1e-5, modality);
        }
    }

    @Test
    void missingAndUnexpectedWeightsAreNamed() {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = GoldenTensors.below(Golden.open("swin3d-even"), "param.", DType.F32);
            weights.put("features.9.bias", Tensor.zeros(1));
            Tensor lost = weights.remove("features.1.reduction.weight");
            assertEquals(2, java.util.Objects.requireNonNull(lost).rank());
            Path file = torchvision(weights);
            Path out = folder.resolve("student.safetensors");
            Shell.refuse(
                    List.of(file.toString(), "missing (features.1.reduction.weight", "unexpected (features.9.bias"),
                    "import",
                    "--checkpoint",
                    file,
                    "--out",
                    out);
        }
    }

    @Test
    void sizesAreNotAskedForAndVideoMaeHasNoNamesOfTorchvision() {
        try (Scope scope = Scope.open()) {
            Path file = torchvision(GoldenTensors.below(Golden.open("swin3d-even"), "param.", DType.F32));
            Path out = folder.resolve("student.safetensors");
            Shell.refuse(List.of("--depth"), "import", "--checkpoint", file, "--depth=3", "--out", out);
            Path videoMae = folder.resolve("videomae.safetensors");
            Checkpoint.write(videoMae, Map.of("encoder.norm.weight", Tensor.ones(4)), Map.of());
            Shell.refuse(
                    List.of("--names torchvision is for Swin3D"),
                    "import",
                    "--checkpoint",
                    videoMae,
                    "--names=torchvision",
                    "--out",
                    out);
        }
    }
}
