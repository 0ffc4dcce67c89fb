package tessera.nn.stlt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Predictor;
import tessera.nn.inference.Student;
import tessera.nn.inference.VideoClip;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** An STLT's file is a student's as any other, for clips of boxes. */
class StltStudentTest {
    private static final StltConfig CONFIG = StltConfig.of(3, 4, 8, 2, 1, 2);
    private static final Head HEAD = Head.of(
            new double[][] {{1, 0, -1, 0, 2, 0, 0, 0}, {0, 1, 0, -1, 0, 1, 0, 0}},
            new double[2],
            List.of("cut", "open"));

    @TempDir
    private Path folder;

    private Path file;
    private float[] expected;

    @BeforeEach
    void save() {
        file = folder.resolve("boxes.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 2);
            try (StltModel model = new StltModel(params, CONFIG)) {
                Map<String, Tensor> weights = new LinkedHashMap<>(params.all());
                weights.put("projector.weight", Tensor.zeros(3));
                Student.save(file, weights, CONFIG, Map.of());
                expected = Autograd.noGrad(() -> model.features(clips(), null).toFloats());
            }
        }
    }

    private static Tensor clips() {
        return Boxes.random(CONFIG, 2, 9);
    }

    @Test
    void opensAndPredicts() {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(file);
                Student student = Student.load(file, Device.cpu())) {
            assertFalse(checkpoint.tensors().containsKey("projector.weight"));
            assertEquals("stlt", checkpoint.metadata().get("tessera.architecture"));
            assertEquals(CONFIG, student.config());
            Close.relative(student.features(clips(), Masking.none(), 1).toFloats(), expected, 1e-5, "features");
            Tensor probabilities = student.withHead(HEAD).predict(clips(), Masking.none(), 1);
            assertArrayEquals(new long[] {2, 2}, probabilities.shape().toArray());
            Close.relative(probabilities.sum(1).toFloats(), new float[] {1, 1}, 1e-6, "sums");
            refused(() -> student.features(clips(), Masking.of(.5, 1), 1), "Masking.none()");
        }
    }

    @Test
    void aPredictorGivesFeaturesOfBoxesButTakesNoPictures() {
        try (Scope scope = Scope.open();
                Student student = Student.load(file, Device.cpu());
                Predictor predictor = Predictor.of(student, Masking.none(), 1)) {
            Close.relative(predictor.features(clips()).toFloats(), expected, 1e-5, "features");
            VideoClip picture = new VideoClip(1, 2, 2, new byte[12]);
            refused(
                    () -> predictor.features(List.of(picture)),
                    "8 channels",
                    "pictures of 3 (RGB)",
                    "pass an rgb student");
            Student headed = student.withHead(HEAD);
            refused(() -> Predictor.of(headed, Masking.none(), 1), "8 channels", "pass an rgb student");
        }
    }

    private static void refused(Executable call, String... parts) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call);
        for (String part : parts) {
            assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }
}
