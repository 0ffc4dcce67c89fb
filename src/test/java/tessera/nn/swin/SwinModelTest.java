package tessera.nn.swin;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** The model as a student, in training and by its description. */
class SwinModelTest {
    @TempDir
    private Path folder;

    private static Params fresh(long seed) {
        return Params.random(Device.cpu(), DType.F32, seed);
    }

    @Test
    void theTinyModelHasAsManyParametersAsThePublishedOne() {
        SwinConfig config = SwinConfig.tiny(
                3, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225}, 16, 224, 224);
        assertEquals(768, config.featureWidth());
        assertEquals(12, config.depth());
        assertEquals(new ClipShape(16, 224, 224, 3), config.input());
        assertNull(config.grid());
        try (Scope scope = Scope.open()) {
            Params params = fresh(1);
            new SwinModel(params, config, 0).close();
            long count = params.all().values().stream()
                    .mapToLong(tensor -> tensor.shape().count())
                    .sum();
            assertEquals(27_850_470, count);
            assertEquals(171, params.all().size());
            double[] table = requireNonNull(params.all().get("features.4.5.attn.relative_position_bias_table"))
                    .toDoubles();
            double square = 0;
            for (double value : table) {
                square += value * value;
            }
            Close.within(Math.sqrt(square / table.length), .02, 5e-4, "standard deviation of the table");
        }
    }

    @Test
    void theDescriptionIsReadAsItWasWritten() {
        for (int channels = 1; channels <= 3; channels++) {
            Map<String, String> entries = ToySwin.config(channels).toMetadata();
            assertEquals(entries, SwinConfig.fromMetadata(entries).toMetadata());
        }
    }

    @Test
    void aDamagedDescriptionIsRefused() {
        Map<String, String> good = ToySwin.config(3).toMetadata();
        refused(good, "tessera.window", "2 2", "three sizes");
        refused(good, "tessera.window", "2 2 two", "no number");
        refused(good, "tessera.window", "4096 4096 4096", "pass at most 4096 tokens");
        refused(good, "tessera.depths", "2 2000000", "1 to 1024 blocks");
        refused(good, "tessera.heads", "2", "do not name the same");
        refused(good, "tessera.heads", "3 4", "stage 0 of width 8 cannot have 3 heads");
        refused(good, "tessera.embedDim", "16777216", "cannot have");
        refused(good, "tessera.height", "16777216", "more than");
        Map<String, String> lacking = new LinkedHashMap<>(good);
        lacking.remove("tessera.depths");
        CheckpointException e = assertThrows(CheckpointException.class, () -> SwinConfig.fromMetadata(lacking));
        assertTrue(String.valueOf(e.getMessage()).contains("no entry tessera.depths"), e.getMessage());
    }

    private static void refused(Map<String, String> good, String entry, String value, String part) {
        Map<String, String> entries = new LinkedHashMap<>(good);
        entries.put(entry, value);
        CheckpointException e = assertThrows(CheckpointException.class, () -> SwinConfig.fromMetadata(entries));
        assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void aStudentFileOpensAndPredicts(int channels) {
        SwinConfig config = ToySwin.config(channels);
        Path file = folder.resolve("student.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = fresh(3);
            SwinModel model = new SwinModel(params, config, 5);
            Student.save(file, params.all(), config, Map.of());
            Tensor clips = ToySwin.clips(2, channels, 7);
            double[] expected =
                    Autograd.noGrad(() -> model.features(clips, null)).toDoubles();
            model.close();
            Head head = Head.of(new double[3][16], new double[] {0, 1, 0}, List.of("a", "b", "c"));
            try (Student student = Student.load(file, Device.cpu());
                    Student recognising = student.withHead(head);
                    Student.Session session = student.session(2, Masking.none())) {
                assertEquals(config.toMetadata(), student.config().toMetadata());
                double[] features = student.features(clips, Masking.none(), 1).toDoubles();
                Close.relative(features, expected, 1e-5, "features of packed weights");
                double[] p = recognising.predict(clips, Masking.none(), 1).toDoubles();
                double e = Math.E / (2 + Math.E);
                Close.relative(p, new double[] {(1 - e) / 2, e, (1 - e) / 2, (1 - e) / 2, e, (1 - e) / 2}, 1e-5, "p");
                session.input().copyFrom(clips.segment());
                Close.relative(widen(session.features(1)), features, 1e-6, "features of a session");
                IllegalArgumentException refusal = assertThrows(
                        IllegalArgumentException.class, () -> student.features(clips, Masking.of(.5, 1), 1));
                assertTrue(String.valueOf(refusal.getMessage()).contains("Masking.none()"), refusal.getMessage());
            }
        }
    }

    private static double[] widen(float[] values) {
        double[] wide = new double[values.length];
        for (int i = 0; i < wide.length; i++) {
            wide[i] = values[i];
        }
        return wide;
    }

    @Test
    void masksAndOtherSizesAreRefused() {
        try (Scope scope = Scope.open();
                SwinModel model = new SwinModel(fresh(1), ToySwin.config(3), 0)) {
            Tensor clips = ToySwin.clips(1, 3, 1);
            Tensor visible = Tensor.of(new int[] {0, 1}, 1, 2);
            IllegalArgumentException masked =
                    assertThrows(IllegalArgumentException.class, () -> model.features(clips, visible));
            assertTrue(String.valueOf(masked.getMessage()).contains("windows need every token"), masked.getMessage());
            IllegalArgumentException small =
                    assertThrows(IllegalArgumentException.class, () -> model.features(clips.slice(2, 0, 16), null));
            assertTrue(String.valueOf(small.getMessage()).contains("[B, 4, 18, 20, 3]"), small.getMessage());
            assertThrows(IllegalStateException.class, () -> model.forward(clips));
        }
    }

    /** Drop path leaves branches out in training alone, the same ones for the same numbers. */
    @Test
    void dropPathIsAFunctionOfItsNumbers() {
        try (Scope scope = Scope.open()) {
            Params params = fresh(1);
            try (SwinModel model = new SwinModel(params, ToySwin.config(3), 4)) {
                Tensor clips = ToySwin.clips(3, 3, 1);
                float[] whole = model.forward(clips).toFloats();
                float[] dropped = model.forward(clips, new DropPath(.9, 5, 1)).toFloats();
                float[] again = model.forward(clips, new DropPath(.9, 5, 1)).toFloats();
                float[] other = model.forward(clips, new DropPath(.9, 5, 2)).toFloats();
                assertArrayEquals(dropped, again);
                assertFalse(java.util.Arrays.equals(whole, dropped));
                assertFalse(java.util.Arrays.equals(dropped, other));
                float[] inference = Autograd.noGrad(() -> model.forward(clips, new DropPath(.9, 5, 1)))
                        .toFloats();
                Close.relative(widen(inference), widen(whole), 1e-6, "without recording");
            }
        }
    }

    /** A batch is its clips one by one, and every parameter learns from it. */
    @Test
    void clipsOfABatchDoNotMeet() {
        try (Scope scope = Scope.open()) {
            Params params = fresh(1);
            try (SwinModel model = new SwinModel(params, ToySwin.config(3), 4)) {
                Tensor clips = ToySwin.clips(2, 3, 1);
                Tensor logits = model.forward(clips);
                for (int i = 0; i < 2; i++) {
                    Close.relative(
                            model.forward(clips.slice(0, i, i + 1)).toDoubles(),
                            logits.slice(0, i, i + 1).toDoubles(),
                            1e-5,
                            "clip " + i);
                }
                Losses.crossEntropy(logits, Tensor.of(new int[] {1, 3})).backward();
                params.all().forEach((name, parameter) -> {
                    double sum = 0;
                    for (double value : requireNonNull(parameter.grad(), name).toDoubles()) {
                        sum += Math.abs(value);
                    }
                    assertTrue(sum > 0, name);
                });
            }
        }
    }

    /** Tokens of the last stage are pooled as any others are; its feature is their mean. */
    @Test
    void tokensOfTheLastStageArePooled() {
        try (Scope scope = Scope.open()) {
            Params params = fresh(3);
            SwinModel model = new SwinModel(params, ToySwin.config(3), 0);
            Tensor clips = ToySwin.clips(2, 3, 7);
            TokenGrid grid = requireNonNull(ToySwin.config(3).tokens(Pooling.LAST));
            Tensor tokens = requireNonNull(Autograd.noGrad(() -> model.tokens(clips, List.of(), Set.of(Pooling.LAST)))
                    .get(Pooling.LAST));
            assertEquals(grid.tokens(), tokens.size(1));
            try (Student student = Student.of(params.all(), ToySwin.config(3), Device.cpu())) {
                float[] mean = student.features(clips, Masking.none(), 1).toFloats();
                Close.relative(
                        student.pooled(Pooling.of("grid:1"))
                                .features(clips, Masking.none(), 1)
                                .toFloats(),
                        mean,
                        1e-5,
                        "the mean of all tokens");
                Tensor each = tokens.reshape(2, grid.slots(), grid.plane(), tokens.size(2));
                Tensor change = each.slice(1, 1, grid.slots())
                        .sub(each.slice(1, 0, grid.slots() - 1))
                        .abs();
                Close.relative(
                        student.pooled(Pooling.of("motion:1"))
                                .features(clips, Masking.none(), 1)
                                .toFloats(),
                        change.mean(1).mean(1).toFloats(),
                        1e-5,
                        "motion");
                String message = requireNonNull(
                        assertThrows(IllegalArgumentException.class, () -> student.pooled(Pooling.of("motion:1@1")))
                                .getMessage());
                assertTrue(message.contains("no tokens after 1 blocks"), message);
            }
        }
    }

    @Test
    void callsReturnTheirMemoryAndStayOnTheirDevice() {
        Device own = Device.cpu(1);
        try (Scope scope = Scope.open()) {
            Params params = fresh(3);
            new SwinModel(params, ToySwin.config(3), 0).close();
            Tensor clips = ToySwin.clips(2, 3, 7);
            try (Student student = Student.of(params.all(), ToySwin.config(3), own)) {
                long before = own.memory().liveBuffers();
                try (Tensor features = student.features(clips, Masking.none(), 1)) {
                    assertEquals(own, features.device());
                }
                assertEquals(before, own.memory().liveBuffers());
            }
        }
        assertEquals(0, own.memory().live());
    }
}
