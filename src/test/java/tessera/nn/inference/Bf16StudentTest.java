package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.nn.ModelConfig;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Bf16Products;
import tessera.tensor.PackedLinear;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Students that compute in bf16 on a CPU, beside f32. */
class Bf16StudentTest {
    private static final Patches PIXELS =
            new Patches(3, 2, 4, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2});
    private static final VideoMaeConfig VIDEO_MAE =
            new VideoMaeConfig(PIXELS, 4, 32, 32, 96, 4, 6, 16, 1, 2, 1e-5, 1e-5, true, false);
    private static final SwinConfig SWIN =
            new SwinConfig(PIXELS, 4, 32, 32, 32, List.of(2, 2), List.of(2, 4), new TokenGrid(2, 4, 4), 1e-5);

    @BeforeAll
    static void processorHasTheInstructions() {
        assumeTrue(Device.cpu().bf16().isPresent(), "this processor multiplies no bf16; refusals are tested elsewhere");
    }

    private static Tensor clips() {
        byte[] pixels = new byte[8 * 4 * 32 * 32 * 3];
        new Random(3).nextBytes(pixels);
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) ((pixels[i] & 127) + 127.0 * i / pixels.length);
        }
        return Tensor.of(pixels, 8, 4, 32, 32, 3);
    }

    private static VideoModel model(Params params, ModelConfig config) {
        return config instanceof SwinConfig swin
                ? new SwinModel(params, swin, 0)
                : new VideoMaeClassifier(params, VIDEO_MAE, 0);
    }

    private static void near(ModelConfig config, Masking masking) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            model(params, config).close();
            Map<String, Tensor> weights = params.all();
            try (Student exact = Student.of(weights, config, Device.cpu());
                    Student narrow = Student.of(weights, config, Device.cpu(), DType.BF16)) {
                float[] expected = exact.features(clips(), masking, 2).toFloats();
                Tensor features = narrow.features(clips(), masking, 2);
                assertEquals(DType.F32, features.dtype());
                float[] got = features.toFloats();
                Close.relative(got, expected, .01, "features");
                double cosine = cosine(got, expected);
                assertTrue(cosine > .9999 && cosine < 1, "cosine " + cosine);
                assertArrayEquals(
                        got, narrow.features(clips(), masking, 2).toFloats(), "the same bits at the second call");
            }
        }
    }

    private static double cosine(float[] x, float[] y) {
        double dot = 0;
        double xx = 0;
        double yy = 0;
        for (int i = 0; i < x.length; i++) {
            dot += (double) x[i] * y[i];
            xx += (double) x[i] * x[i];
            yy += (double) y[i] * y[i];
        }
        return dot / Math.sqrt(xx * yy);
    }

    @Test
    void videoMaeIsNearF32() {
        near(VIDEO_MAE, Masking.of(.5, 2));
        near(VIDEO_MAE, Masking.of(0, 1));
    }

    @Test
    void swinIsNearF32() {
        near(SWIN, Masking.of(0, 1));
    }

    /** Differences of tokens are smaller than tokens, so rounding shows more. */
    @Test
    void pooledTokensAreNearF32() {
        for (ModelConfig config : List.of(VIDEO_MAE, SWIN)) {
            try (Scope scope = Scope.open()) {
                Params params = Params.random(Device.cpu(), DType.F32, 5);
                model(params, config).close();
                Pooling pooling = Pooling.of("motion:2+grid:2");
                Masking masking = config.grid() == null ? Masking.none() : Masking.of(.5, 2);
                try (Student exact = Student.of(params.all(), config, Device.cpu());
                        Student narrow = Student.of(params.all(), config, Device.cpu(), DType.BF16)) {
                    float[] expected =
                            exact.pooled(pooling).features(clips(), masking, 2).toFloats();
                    float[] got =
                            narrow.pooled(pooling).features(clips(), masking, 2).toFloats();
                    double cosine = cosine(got, expected);
                    assertTrue(cosine > .999 && cosine < 1, "cosine " + cosine);
                }
            }
        }
    }

    @Test
    void gradientsAreF32AndNearThoseOfF32() {
        float[][] gradients = new float[2][];
        for (int i = 0; i < 2; i++) {
            try (Scope scope = Scope.open()) {
                Params params = Params.random(Device.cpu(), DType.F32, 5).computeIn(i == 0 ? DType.F32 : DType.BF16);
                try (VideoMaeClassifier model = new VideoMaeClassifier(params, VIDEO_MAE, 0)) {
                    params.addShadows();
                    Tensor features = model.features(clips(), null);
                    features.mul(features).mean().backward();
                    Tensor gradient = firstMlp(params).grad();
                    assertEquals(DType.F32, requireNonNull(gradient).dtype());
                    gradients[i] = gradient.toFloats();
                }
            }
        }
        Close.relative(gradients[1], gradients[0], .03, "gradient of the first MLP");
        assertFalse(Arrays.equals(gradients[0], gradients[1]), "bf16 did not show");
    }

    private static Tensor firstMlp(Params params) {
        return params.all().entrySet().stream()
                .filter(entry -> entry.getKey().endsWith("fc1.weight"))
                .findFirst()
                .orElseThrow()
                .getValue();
    }

    @Test
    void layersThatRoundDifferentlyAreNotJoined() {
        try (Scope scope = Scope.open()) {
            Tensor weight = Tensor.of(new float[64], 8, 8);
            Tensor x = Tensor.of(new float[16], 2, 8);
            try (PackedLinear wide = new PackedLinear(weight, null);
                    PackedLinear narrow = PackedLinear.bf16(weight, null)) {
                assertTrue(narrow.follows(narrow));
                IllegalArgumentException e =
                        assertThrows(IllegalArgumentException.class, () -> narrow.accumulateAfter(wide, x, x));
                assertEquals(
                        "linear: only layers whose factors are rounded alike are joined; make both with int8 or with bf16",
                        e.getMessage());
            }
        }
    }

    @Test
    void devicesWithoutBf16Refuse() {
        try (Scope scope = Scope.open()) {
            Tensor weight = Tensor.full(PlainDevice.withoutBf16(), DType.F32, Shape.of(2, 2), 1);
            String end = "cpu multiplies no bf16; compute in f32, or on a CPU with AVX512_BF16 or AMX";
            assertEquals(
                    "linear: " + end,
                    assertThrows(IllegalArgumentException.class, () -> PackedLinear.bf16(weight, null))
                            .getMessage());
            assertEquals(
                    "linear: " + end,
                    assertThrows(IllegalArgumentException.class, () -> Bf16Products.linear(weight, weight, null, null))
                            .getMessage());
        }
    }
}
