package tessera.nn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.Close;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.swin.SwinArchitecture;
import tessera.nn.swin.SwinConfig;
import tessera.nn.videomae.VideoMaeArchitecture;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Autograd;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Models of one and two channels against the model of pictures that they are made of, on the pictures that the authors make. */
class PictureWeightsTest {
    private static final double[] MEAN = {.485, .456, .406};
    private static final double[] STD = {.229, .224, .225};

    private static SwinConfig swin(Patches patches) {
        return new SwinConfig(patches, 8, 32, 32, 24, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);
    }

    private static VideoMaeConfig videoMae(Patches patches) {
        return new VideoMaeConfig(patches, 8, 32, 32, 16, 2, 2, 8, 1, 1, 1e-6, 1e-6, true, false);
    }

    private static Patches sound(int channels) {
        double[] mean = new double[channels];
        double[] std = new double[channels];
        Arrays.fill(mean, -28.1125);
        Arrays.fill(std, 16.5627);
        return new Patches(channels, 2, 4, 1, mean, std);
    }

    /** Weights of a reference model by torchvision. */
    private static Map<String, Tensor> swinOfPictures() {
        Map<String, Tensor> weights = GoldenTensors.below(Golden.open("swin3d-even"), "param.", DType.F32);
        weights.keySet().removeIf(name -> name.startsWith("head."));
        return weights;
    }

    private static Map<String, Tensor> videoMaeOfPictures() {
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        VideoMaeConfig config = videoMae(new Patches(3, 2, 4, 1, MEAN, STD));
        new VideoMaeArchitecture().build(params, config.toMetadata()).close();
        return params.all();
    }

    private static float[] features(
            Architecture architecture, Map<String, Tensor> weights, ModelConfig config, Tensor clips) {
        return Autograd.noGrad(() -> {
            Params params = Params.from(Device.cpu(), DType.F32, weights);
            try (VideoModel model = architecture.build(params, config.toMetadata())) {
                params.finish();
                return model.features(clips, null).toFloats();
            }
        });
    }

    private static Tensor normal(double mean, double std, long... sizes) {
        return Tensor.normal(Device.cpu(), DType.F32, Shape.of(sizes), 1, 3, mean, std);
    }

    private static void soundIsAPictureOfThreeEqualChannels(
            Architecture architecture, Map<String, Tensor> pictures, ModelConfig three, ModelConfig one) {
        Tensor decibels = normal(-28, 17, 2, 8, 32, 32, 1);
        float[] expected = features(architecture, pictures, three, Tensor.concat(4, decibels, decibels, decibels));
        Map<String, Tensor> fitted = PictureWeights.fit(architecture, pictures, three.toMetadata(), one.toMetadata());
        Close.relative(features(architecture, fitted, one, decibels), expected, 1e-5, architecture.name());
    }

    @Test
    void soundIsAPictureOfThreeEqualChannels() {
        try (Scope scope = Scope.open()) {
            soundIsAPictureOfThreeEqualChannels(
                    new SwinArchitecture(), swinOfPictures(), swin(sound(3)), swin(sound(1)));
            soundIsAPictureOfThreeEqualChannels(
                    new VideoMaeArchitecture(), videoMaeOfPictures(), videoMae(sound(3)), videoMae(sound(1)));
        }
    }

    /**
     * Levels of u and v as published, and 0 in the third channel.
     *
     * @param described metadata of the file of pictures, or of the model of flow where it has none
     */
    private static void flowIsThePublishedPicture(
            Architecture architecture,
            Map<String, Tensor> pictures,
            ModelConfig three,
            ModelConfig two,
            ModelConfig described) {
        Tensor pixels = normal(1, 4, 2, 8, 32, 32, 2);
        Tensor levels = pixels.mul(1 / 20.0).add(1).mul(127.5);
        Tensor picture = Tensor.concat(4, levels, Tensor.zeros(2, 8, 32, 32, 1));
        float[] expected = features(architecture, pictures, three, picture);
        Map<String, Tensor> fitted =
                PictureWeights.fit(architecture, pictures, described.toMetadata(), two.toMetadata());
        Close.relative(features(architecture, fitted, two, pixels), expected, 1e-5, architecture.name());
    }

    @Test
    void flowIsThePublishedPicture() {
        Patches published = new Patches(3, 2, 4, 1 / 255.0, MEAN, STD);
        Patches other = new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .4, .3}, new double[] {.5, .3, .4});
        Patches flow = new Patches(2, 2, 4, .5, new double[] {.3, -.2}, new double[] {2.5, 1.5});
        try (Scope scope = Scope.open()) {
            Architecture architecture = new SwinArchitecture();
            Map<String, Tensor> pictures = swinOfPictures();
            flowIsThePublishedPicture(architecture, pictures, swin(published), swin(flow), swin(flow));
            flowIsThePublishedPicture(architecture, pictures, swin(other), swin(flow), swin(other));
            flowIsThePublishedPicture(
                    new VideoMaeArchitecture(),
                    videoMaeOfPictures(),
                    videoMae(published),
                    videoMae(flow),
                    videoMae(flow));
        }
    }

    @Test
    void aKernelForOneChannelGivesWhatRepeatingItGives() {
        try (Scope scope = Scope.open()) {
            Tensor kernel = Tensor.normal(Device.cpu(), DType.F32, Shape.of(5, 3, 2, 4, 4), 1, 2, 0, 1);
            Tensor one = PictureWeights.oneChannel(kernel);
            assertArrayEquals(new long[] {5, 1, 2, 4, 4}, one.shape().toArray());
            Tensor x = normal(0, 1, 7, 32);
            Tensor repeated = Tensor.concat(1, x, x, x).linear(kernel.reshape(5, -1), null);
            Close.relative(x.linear(one.reshape(5, -1), null).toFloats(), repeated.toFloats(), 1e-6, "patches");
            refused(() -> PictureWeights.oneChannel(Tensor.zeros(3)), "[out, channels, ..]");
        }
    }

    @Test
    void onlyPicturesBecomeSoundOrFlow() {
        try (Scope scope = Scope.open()) {
            Architecture architecture = new SwinArchitecture();
            Map<String, Tensor> pictures = swinOfPictures();
            Map<String, String> three = swin(sound(3)).toMetadata();
            assertEquals(pictures, PictureWeights.fit(architecture, pictures, three, three));
            refused(
                    () -> PictureWeights.fit(
                            architecture, pictures, three, swin(sound(21)).toMetadata()),
                    "of 3 channels but the model takes 21",
                    "sound (1) or flow (2)");
            Map<String, Tensor> one = PictureWeights.fit(
                    architecture, pictures, three, swin(sound(1)).toMetadata());
            refused(
                    () -> PictureWeights.fit(architecture, one, swin(sound(1)).toMetadata(), three),
                    "of 1 channels but the model takes 3");
            Tensor bias = Objects.requireNonNull(one.get("patch_embed.proj.bias"));
            assertEquals(pictures.get("patch_embed.proj.bias"), bias, "only flow changes it");
        }
    }

    private static void refused(Executable call, String... parts) {
        RuntimeException e = assertThrows(RuntimeException.class, call);
        for (String part : parts) {
            assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
        }
    }
}
