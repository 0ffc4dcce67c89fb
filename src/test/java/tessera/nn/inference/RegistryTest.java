package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Files of any registered architecture open; what is no student is told as what it is. */
class RegistryTest {
    @TempDir
    private Path folder;

    @Test
    void filesWithoutTheEntryAreVideoMae() {
        Path file = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 5);
        Path old = folder.resolve("old.safetensors");
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            Map<String, String> metadata = new LinkedHashMap<>(checkpoint.metadata());
            assertEquals("videomae", metadata.remove(Architecture.ENTRY));
            Checkpoint.write(old, checkpoint.tensors(), metadata);
            Tensor clips = Toy.clips(1, 3);
            try (Student one = Student.load(file, Device.cpu());
                    Student two = Student.load(old, Device.cpu())) {
                assertArrayEquals(
                        one.features(clips, Masking.none(), 1).toFloats(),
                        two.features(clips, Masking.none(), 1).toFloats());
            }
        }
    }

    @Test
    void anUnknownArchitectureIsRefusedWithThoseThatAreKnown() {
        Path file = folder.resolve("unknown.safetensors");
        try (Scope scope = Scope.open()) {
            Checkpoint.write(file, Map.of("w", Tensor.zeros(1)), Map.of(Architecture.ENTRY, "perceiver"));
        }
        refused(file, file + ": ", "architecture 'perceiver' but known are mean-colour, stlt, swin3d, videomae");
    }

    @Test
    void anApplicationsOwnArchitectureOpensAsAnyOther() {
        Path file = folder.resolve("mean.safetensors");
        try (Scope scope = Scope.open()) {
            float[] identity = {1, 0, 0, 0, 1, 0, 0, 0, 1};
            Map<String, Tensor> weights =
                    Map.of("decoder.weight", Tensor.of(identity, 3, 3), "decoration", Tensor.zeros(1));
            Student.save(file, weights, MeanColour.CONFIG, Map.of());
            try (Student student = Student.load(file, Device.cpu())) {
                Tensor clips = Tensor.of(new byte[] {10, 20, 30}, 1, 1, 1, 1, 3)
                        .expand(1, 2, 4, 4, 3)
                        .contiguous();
                float[] features = student.features(
                                clips, new Masking(0, 2, MaskStrategy.tubes(), Aggregation.LOGITS), 1)
                        .toFloats();
                Close.relative(features, new float[] {10, 20, 30, 10, 20, 30}, 1e-6, "features");
                IllegalArgumentException e =
                        assertThrows(IllegalArgumentException.class, () -> student.session(1, Masking.of(.5, 1)));
                assertTrue(String.valueOf(e.getMessage()).contains("Masking.none()"), e.getMessage());
                try (Predictor predictor = Predictor.of(student, Masking.DEFAULT, 1)) {
                    assertEquals(Masking.none(), predictor.masking(), "the default suits a model without tokens");
                    assertEquals(
                            "f32[1, 1, 3]", predictor.features(clips).describe(), "one pass, for all would be equal");
                }
            }
        }
    }

    @Test
    void anUnfinishedTrainingIsToldByTheArchitecturesOwnNames() {
        Path run = folder.resolve("checkpoint.safetensors");
        for (String begin : List.of("p.", "p.student.")) {
            try (Scope scope = Scope.open()) {
                Map<String, Tensor> weights = Map.of(begin + "decoder.weight", Tensor.zeros(3, 3));
                Checkpoint.write(run, weights, MeanColour.CONFIG.toMetadata());
            }
            refused(run, "has not finished");
        }
    }

    @Test
    void whatIsNoStudentIsToldAsWhatItIs() {
        Path pretrained = folder.resolve("model.safetensors");
        Path plain = folder.resolve("plain.safetensors");
        Path run = folder.resolve("checkpoint.safetensors");
        Path head = folder.resolve("head.safetensors");
        Toy.head(1, "a", "b").save(head);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaePretraining(params, Toy.CONFIG, 3).close();
            Checkpoint.write(pretrained, params.all(), Toy.CONFIG.toMetadata());
            Checkpoint.write(plain, Map.of("encoder.norm.bias", Tensor.zeros(24)), Map.of());
            Checkpoint.write(run, Map.of("p.encoder.norm.bias", Tensor.zeros(24)), Toy.CONFIG.toMetadata());
        }
        refused(pretrained, "a pretraining model", "`tessera distill --teachers rgb=" + pretrained, "`tessera import");
        refused(plain, "no tessera.architecture", "import the weights first");
        refused(run, "has not finished");
        refused(head, "this is a head, not a student");
    }

    private static void refused(Path file, String... parts) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> Student.load(file, Device.cpu()));
        for (String part : List.of(parts)) {
            assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }
}
