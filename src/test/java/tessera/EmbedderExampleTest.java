package tessera;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
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

class EmbedderExampleTest {
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            16,
            32,
            32,
            24,
            1,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    // example
    static float[] recognise(Path studentFile, Path headFile, byte[] frames) { // frames: u8 [16, height, width, 3]
        try (Student student = Student.load(studentFile);
                Head head = Head.load(headFile);
                Student.Session session = student.withHead(head).session(1, 0.75, 2)) { // 1 clip, 75 % masked, 2 masks
            MemorySegment.copy(frames, 0, session.input(), ValueLayout.JAVA_BYTE, 0, frames.length);
            return session.predict(42); // probabilities of head.labels(); the seed draws the masks
        }
    }
    // end

    @Test
    void recognisesAClip(@TempDir Path folder) {
        Path student = folder.resolve("student.safetensors");
        Path head = folder.resolve("head.safetensors");
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(student, params.all(), CONFIG, java.util.Map.of());
            Head.of(new double[2][24], new double[] {Math.log(3), 0}, java.util.List.of("pour", "stir"))
                    .save(head);
        }
        float[] probabilities = recognise(student, head, new byte[16 * 32 * 32 * 3]);
        assertEquals(2, probabilities.length);
        Close.within(probabilities[0], .75, 1e-6, "probability of pour");
    }
}
