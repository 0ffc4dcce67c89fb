package tessera;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Head;
import tessera.nn.Params;
import tessera.nn.Student;
import tessera.nn.VideoMaeClassifier;
import tessera.nn.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/** A student of random weights and a head for it, in files, for tests that run other processes. */
final class TinyStudent {
    static final int FRAMES = 16;
    static final int SIZE = 32;

    private static final int WIDTH = 24;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            FRAMES,
            SIZE,
            SIZE,
            WIDTH,
            1,
            3,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    private TinyStudent() {}

    /** Writes the student, and a head that answers 75 % pour and 25 % stir whatever it sees. */
    static void write(Path student, Path head) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            Student.save(student, params.all(), CONFIG, Map.of());
            Head.of(new double[2][WIDTH], new double[] {Math.log(3), 0}, List.of("pour", "stir"))
                    .save(head);
        }
    }
}
