package tessera.distill.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.inference.Head;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/** A student of clips of 4 x 32 x 32 pixels, or of another size, with 64 features and a head of three labels. */
final class TinyStudent {
    private TinyStudent() {}

    private static VideoMaeConfig config(int side) {
        Patches patches = new Patches(3, 2, 8, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2});
        return new VideoMaeConfig(patches, 4, side, side, 64, 2, 4, 16, 1, 2, 1e-5, 1e-5, true, false);
    }

    /** Writes its file. */
    static Path write(Path file) {
        return write(file, 32);
    }

    /** Writes the file of one of clips of so many pixels. */
    static Path write(Path file, int side) {
        VideoMaeConfig config = config(side);
        double[][] weight = new double[3][64];
        IntStream.range(0, 192).forEach(i -> weight[i / 64][i % 64] = Math.sin(i));
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, config, 0).close();
            try (Student made = Student.of(params.all(), config, Device.cpu())) {
                made.withHead(Head.of(weight, new double[3], List.of("open", "cut", "pour")))
                        .save(file);
            }
        }
        return file;
    }
}
