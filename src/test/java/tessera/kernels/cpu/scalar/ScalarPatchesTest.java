package tessera.kernels.cpu.scalar;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.Patches.PatchGeometry;
import tessera.kernels.Patches.PatchTarget;

/** Patches and what is reconstructed of them in plain Java against reference values in f64, hand computations and their own contract. */
class ScalarPatchesTest extends PlainFamilies {
    @Test
    void patchEmbeddingMatchesConvolution() {
        String name = "patch_embed_conv3d";
        PatchGeometry g = channelFirst(2, 3, 4, 8, 8, 2, 4, 1);
        Buffer x = in(name, "x");
        Buffer w = in(name, "w");
        Buffer patches = f64(16 * 96);
        KERNELS.patches().gatherPatches(g, x, null, 8, patches);
        Buffer y = f64(16 * 6);
        KERNELS.matmul()
                .matmul(
                        MatmulShape.of(false, true, 16, 6, 96),
                        patches,
                        w,
                        new Epilogue(in(name, "b"), null, Activation.NONE),
                        y);
        assertGolden(y, name + "/out");
        Buffer dpatches = like(patches);
        KERNELS.matmul().matmul(MatmulShape.of(false, false, 16, 96, 6), cotangent(name), w, Epilogue.NONE, dpatches);
        Buffer dx = like(x);
        KERNELS.elementwise().fill(dx, 0);
        KERNELS.patches().scatterPatches(g, dpatches, null, 8, dx);
        assertGradient(dx, name, "x");
    }

    @Test
    void patchesOfPixelsAreNormalisedInOrder() {
        // 1 x 2 x 2 x 4 video with 2 channels, channel last; patches of 2 frames x 2 x 2.
        byte[] pixels = new byte[32];
        for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i * 8);
        }
        Buffer video = DEVICE.allocate(DType.U8, 32);
        video.segment().copyFrom(MemorySegment.ofArray(pixels));
        PatchGeometry g = new PatchGeometry(
                1, 2, 2, 4, 2, 2, 2, 32, 16, 8, 2, 1, 1 / 255.0, new double[] {0.5, 0.25}, new double[] {2, 4});
        Buffer out = DEVICE.allocate(DType.F32, 16);
        KERNELS.patches().gatherPatches(g, video, i32(1), 1, out);
        float[] actual = floats(out);
        int at = 0;
        for (int c = 0; c < 2; c++) {
            for (int t = 0; t < 2; t++) {
                for (int y = 0; y < 2; y++) {
                    for (int x = 2; x < 4; x++) {
                        double pixel = 8 * (t * 16 + y * 8 + x * 2 + c) / 255.0;
                        double expected = c == 0 ? (pixel - 0.5) / 2 : (pixel - 0.25) / 4;
                        Close.within(actual[at], expected, 1e-7, "patch value " + at);
                        at++;
                    }
                }
            }
        }
    }

    @Test
    void reconstructionTargetIsNormalisedPerPatchAndChannel() {
        PatchGeometry g = channelFirst(2, 3, 4, 4, 8, 2, 2, 0.5);
        Buffer video = noise(2 * 3 * 4 * 4 * 8, 21);
        Buffer indices = i32(0, 5, 15, 3, 4, 8);
        Buffer target = f64(6 * 24);
        double eps = 1e-3;
        KERNELS.patches().reconstructionTarget(new PatchTarget(g, 3, eps, true), video, indices, target);
        Buffer raw = f64(6 * 24);
        KERNELS.patches().reconstructionTarget(new PatchTarget(g, 3, eps, false), video, indices, raw);
        double[] values = doubles(raw);
        double[] expected = new double[values.length];
        for (int row = 0; row < 6; row++) {
            for (int c = 0; c < 3; c++) {
                double mean = 0;
                for (int i = 0; i < 8; i++) {
                    mean += values[row * 24 + i * 3 + c] / 8;
                }
                double squares = 0;
                for (int i = 0; i < 8; i++) {
                    squares += Math.pow(values[row * 24 + i * 3 + c] - mean, 2);
                }
                for (int i = 0; i < 8; i++) {
                    int at = row * 24 + i * 3 + c;
                    expected[at] = (values[at] - mean) / (Math.sqrt(squares / 7) + eps);
                }
            }
        }
        Close.relative(doubles(target), expected, 1e-13, "target");
        // Token 5 of sample 0: slot 0, row 1, column 1; value (dt 1, dy 0, dx 1, channel 2).
        int pixel = ((2 * 4 + 1) * 4 + 2) * 8 + 3;
        assertEquals(0.5 * doubles(video)[pixel], values[24 + (1 * 4 + 1) * 3 + 2]);

        Buffer prediction = noise(6 * 24, 22);
        Buffer loss = f64(1);
        Buffer gradient = like(prediction);
        KERNELS.patches()
                .reconstructionLoss(new PatchTarget(g, 3, eps, true), video, indices, prediction, loss, gradient);
        Buffer expectedLoss = f64(1);
        Buffer expectedGradient = like(prediction);
        KERNELS.losses().meanSquaredError(prediction, target, expectedLoss, expectedGradient);
        Close.relative(doubles(loss), doubles(expectedLoss), 1e-14, "loss");
        Close.relative(doubles(gradient), doubles(expectedGradient), 1e-14, "gradient");
    }

    private static PatchGeometry channelFirst(
            int batch, int channels, int frames, int height, int width, int tubelet, int patch, double scale) {
        double[] ones = new double[channels];
        Arrays.fill(ones, 1);
        long plane = (long) height * width;
        return new PatchGeometry(
                batch,
                frames,
                height,
                width,
                channels,
                tubelet,
                patch,
                (long) channels * frames * plane,
                plane,
                width,
                1,
                frames * plane,
                scale,
                new double[channels],
                ones);
    }
}
