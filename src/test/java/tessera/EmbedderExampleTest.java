package tessera;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Head;
import tessera.nn.Params;
import tessera.nn.Student;
import tessera.nn.VideoMaeClassifier;
import tessera.nn.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** The README's example of an application that recognises actions; {@link ReadmeTest} keeps the two equal. */
class EmbedderExampleTest {
    private static final VideoMaeConfig CONFIG =
            new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 16, 16, 24, 2, 3, 16, 1, 2, 1e-6, 1e-6, true, false);

    // example
    static float[] recognise(Path studentFile, Path headFile, byte[] pixels) {
        try (Student student = Student.load(studentFile);
                Head head = Head.load(headFile);
                Scope scope = Scope.open()) {
            VideoMaeConfig config = student.config();
            Tensor clip = Tensor.of(pixels, 1, config.frames(), config.height(), config.width(), 3); // u8 RGB
            return student.withHead(head).predict(clip, 0.75, 2, 0).toFloats(); // probabilities of head.labels()
        }
    }
    // end

    @Test
    void recognisesFromFiles(@TempDir Path folder) {
        Path studentFile = folder.resolve("student.safetensors");
        Path headFile = folder.resolve("head.safetensors");
        byte[] pixels = new byte[4 * 16 * 16 * 3];
        new Random(3).nextBytes(pixels);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0);
            Student.save(studentFile, params.all(), CONFIG, Map.of());
            double[][] weight = new double[2][24];
            weight[1][3] = 7;
            Head.of(weight, new double[2], List.of("cut", "pour")).save(headFile);
        }
        long before = Device.best().memory().liveBuffers();
        float[] probabilities = recognise(studentFile, headFile, pixels);
        assertEquals(2, probabilities.length);
        Close.within(probabilities[0] + probabilities[1], 1, 1e-6, "sum of the probabilities");
        assertArrayEquals(probabilities, recognise(studentFile, headFile, pixels));
        assertEquals(before, Device.best().memory().liveBuffers());
    }
}
