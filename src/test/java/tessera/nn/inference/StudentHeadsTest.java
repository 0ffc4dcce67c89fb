package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A student's file holds its own heads, whatever its architecture. */
class StudentHeadsTest {
    private static final ModelHeads HEADS = new ModelHeads(labels());

    @TempDir
    private Path folder;

    private Path file;

    private static Map<String, List<String>> labels() {
        Map<String, List<String>> labels = new LinkedHashMap<>();
        labels.put("verb", List.of("open", "close \"it\""));
        labels.put("noun", List.of("jar", "door", "Tür"));
        return labels;
    }

    @BeforeEach
    void write() {
        file = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, Toy.CONFIG, 0).close();
            HEADS.layers(params, 24);
            Student.save(file, params.all(), Toy.CONFIG, HEADS, Map.of());
        }
    }

    private Map<String, Tensor> weights() {
        return Checkpoint.read(file).tensors();
    }

    @Test
    void aFileOpensWithItsHeads() {
        try (Scope scope = Scope.open();
                Student student = Student.load(file, Device.cpu())) {
            assertEquals(
                    List.of("verb", "noun"),
                    student.heads().stream().map(Head::name).toList());
            assertEquals(List.of("open", "close \"it\""), student.labels());
            assertEquals(
                    List.of("jar", "door", "Tür"), student.heads().getLast().labels());
            assertArrayEquals(
                    Objects.requireNonNull(weights().get("heads.noun.weight")).toFloats(),
                    student.heads().getLast().weight());
            Tensor clips = Toy.clips(2, 3);
            float[] all = student.predictAll(clips, Masking.none(), 1).toFloats();
            try (Student learned = student.withHeads(student.heads())) {
                assertArrayEquals(learned.predictAll(clips, Masking.none(), 1).toFloats(), all);
            }
            assertEquals(2 * 5, all.length);
        }
    }

    /** A head learned later fits the weights of the features, with or without other heads beside them in the file. */
    @Test
    void headsAreNoPartOfTheChecksum() {
        Path bare = Toy.student(folder.resolve("bare.safetensors"), Toy.CONFIG, 5);
        try (Student with = Student.load(file, Device.cpu());
                Student without = Student.load(bare, Device.cpu())) {
            assertEquals(without.checksum(), with.checksum());
            Head learned = Toy.head(3, "a", "b").fittedOn(without.checksum());
            try (Student own = with.withHead(learned)) {
                assertEquals(List.of("a", "b"), own.labels());
            }
        }
    }

    @Test
    void aPredictorNeedsNoOtherHead() {
        VideoClip clip = new VideoClip(4, 16, 16, Toy.pixels(4, 16, 16, 3));
        try (Predictor predictor = Predictor.open(Predictor.Options.standard().withDevice(Device.cpu()), file);
                Student student = Student.load(file, Device.cpu())) {
            Prediction prediction = predictor.predictAll(List.of(clip)).getFirst();
            assertEquals("verb", prediction.answers().getFirst().head());
            float[] expected = student.predictAll(Toy.clips(1, 3), Masking.DEFAULT, Predictor.Options.SEED)
                    .toFloats();
            assertEquals(
                    (double) expected[2],
                    prediction.answer("noun").scores().getFirst().probability());
        }
    }

    /** The default hides nothing of a model that cannot be masked, and features of a student of flow need no pictures. */
    @Test
    void everyArchitectureAndModalityKeepsItsHeads() {
        Path mean = folder.resolve("mean.safetensors");
        Path flow = folder.resolve("flow.safetensors");
        ModelHeads light = new ModelHeads(Map.of("light", List.of("dark", "bright")));
        try (Scope scope = Scope.open()) {
            save(mean, MeanColour.CONFIG, light, "decoder.weight", Tensor.of(new float[9], 3, 3));
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, Toy.config(2), 0).close();
            light.layers(params, 24);
            Student.save(flow, params.all(), Toy.config(2), light, Map.of());
            try (Predictor predictor =
                            Predictor.open(Predictor.Options.standard().withDevice(Device.cpu()), mean);
                    Predictor ofFlow =
                            Predictor.open(Predictor.Options.standard().withDevice(Device.cpu()), flow)) {
                assertEquals(Masking.none(), predictor.masking());
                Prediction prediction = predictor.predict(new byte[12], 1, 2, 2);
                assertEquals(
                        List.of("light"),
                        List.of(prediction.answers().getFirst().head()));
                assertEquals(Masking.DEFAULT, ofFlow.masking());
                assertEquals(
                        2 * 24,
                        ofFlow.features(Tensor.of(new float[4 * 16 * 16 * 2], 1, 4, 16, 16, 2))
                                .toFloats()
                                .length);
                Exception refused =
                        assertThrows(IllegalArgumentException.class, () -> ofFlow.predict(new byte[12], 1, 2, 2));
                assertTrue(String.valueOf(refused.getMessage()).contains("pass an rgb student"));
            }
        }
    }

    private static void save(Path file, ModelConfig config, ModelHeads heads, String name, Tensor weight) {
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        heads.layers(params, config.featureWidth());
        Map<String, Tensor> weights = new LinkedHashMap<>(params.all());
        weights.put(name, weight);
        Student.save(file, weights, config, heads, Map.of());
    }

    @Test
    void damagedFilesAreRefused() {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file)) {
            Path other = folder.resolve("other.safetensors");
            Map<String, Tensor> weights = new LinkedHashMap<>(checkpoint.tensors());
            for (String entry : List.of("", "[]", "{\"verb\":[1]}", "{\"verb\":[]}", "{\"verb\":[\"a\"]} 1", "{")) {
                Map<String, String> metadata = new LinkedHashMap<>(checkpoint.metadata());
                metadata.put("tessera.headLabels", entry);
                Checkpoint.write(other, weights, metadata);
                refused(other, "tessera.headLabels is no JSON object");
            }
            Map<String, String> metadata = new LinkedHashMap<>(checkpoint.metadata());
            metadata.put("tessera.headLabels", "{\"verb\":[\"a\",\"b\",\"c\"],\"noun\":[\"a\",\"b\",\"c\"]}");
            Checkpoint.write(other, weights, metadata);
            refused(other, "its head 'verb'", "do not fit 3 labels");
            metadata.remove("tessera.headLabels");
            Checkpoint.write(other, weights, metadata);
            refused(other, "4 unexpected (heads.noun.bias");
            weights.remove("heads.noun.bias");
            Checkpoint.write(other, weights, checkpoint.metadata());
            refused(other, "lacks heads.noun.weight or heads.noun.bias");
            assertThrows(
                    IllegalArgumentException.class, () -> Student.save(other, weights, Toy.CONFIG, HEADS, Map.of()));
        }
        assertThrows(IllegalArgumentException.class, () -> new ModelHeads(Map.of("verb", List.of())));
    }

    private static void refused(Path file, String... parts) {
        CheckpointException e = assertThrows(CheckpointException.class, () -> Student.load(file, Device.cpu()));
        for (String part : parts) {
            assertTrue(
                    String.valueOf(e.getMessage()).startsWith(file + ": ")
                            && String.valueOf(e.getMessage()).contains(part),
                    String.valueOf(e.getMessage()));
        }
    }
}
