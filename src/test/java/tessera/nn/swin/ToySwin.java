package tessera.nn.swin;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import tessera.nn.TokenGrid;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/** A tiny Swin of two stages for clips of 4 x 18 x 20 pixels, which are no whole number of patches or windows. */
final class ToySwin {
    private ToySwin() {}

    static SwinConfig config(int channels) {
        double[] mean = new double[channels];
        double[] std = new double[channels];
        Arrays.fill(mean, .5);
        Arrays.fill(std, .25);
        return new SwinConfig(
                new Patches(channels, 2, 4, 1 / 255.0, mean, std),
                4,
                18,
                20,
                8,
                List.of(2, 2),
                List.of(2, 4),
                new TokenGrid(2, 2, 2),
                1e-5);
    }

    static Tensor clips(int batch, int channels, long seed) {
        byte[] pixels = new byte[batch * 4 * 18 * 20 * channels];
        new Random(seed).nextBytes(pixels);
        return Tensor.of(pixels, batch, 4, 18, 20, channels);
    }
}
