package tessera.nn.inference;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A tiny student of clips of 4 x 16 x 16 pixels, 2 x 16 tokens and 24 features, and heads for it. */
final class Toy {
    static final VideoMaeConfig CONFIG = config(3);

    private Toy() {}

    static VideoMaeConfig config(int channels) {
        double[] mean = new double[channels];
        double[] std = new double[channels];
        Arrays.fill(mean, .5);
        Arrays.fill(std, .2);
        return new VideoMaeConfig(
                new Patches(channels, 2, 4, 1 / 255.0, mean, std),
                4,
                16,
                16,
                24,
                2,
                3,
                16,
                1,
                2,
                1e-5,
                1e-5,
                true,
                false);
    }

    /** Writes a student's file. */
    static Path student(Path file, VideoMaeConfig config, long seed) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, seed);
            new VideoMaeClassifier(params, config, 0).close();
            Student.save(file, params.all(), config, Map.of("tessera.note", "seed " + seed));
        }
        return file;
    }

    static Head head(long seed, String... labels) {
        Random random = new Random(seed);
        double[][] weight = new double[labels.length][24];
        for (double[] row : weight) {
            Arrays.setAll(row, j -> random.nextGaussian());
        }
        return Head.of(weight, new double[labels.length], List.of(labels));
    }

    static byte[] pixels(int frames, int height, int width, long seed) {
        byte[] pixels = new byte[frames * height * width * 3];
        new Random(seed).nextBytes(pixels);
        return pixels;
    }

    static Tensor clips(int batch, long seed) {
        return Tensor.of(pixels(batch * 4, 16, 16, seed), batch, 4, 16, 16, 3);
    }
}
