package tessera.jmh.gpu;

import tessera.jmh.Models;
import tessera.kernels.Patches.PatchGeometry;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/**
 * The shapes that are measured.
 *
 * @param config the model
 * @param batch clips of a step of distillation and of inference
 * @param pretrainBatch clips of a step of pretraining
 * @param classes of the classifier
 * @param largeRows rows of a loss that is bound by memory
 * @param largeCols its columns
 * @param copyBytes how much is copied to measure the bandwidth
 * @param matmulSide of the square matrices that measure the rate of matrix products
 */
record Sizes(
        VideoMaeConfig config,
        int batch,
        int pretrainBatch,
        int classes,
        int largeRows,
        int largeCols,
        long copyBytes,
        int matmulSide) {

    /** ViT-S on 16 x 224 x 224. */
    static Sizes paper() {
        return new Sizes(Models.small(), 64, 48, 204, 16384, 4096, 1L << 30, 8192);
    }

    /** A model that runs in a test. */
    static Sizes tiny() {
        VideoMaeConfig config = new VideoMaeConfig(
                new Patches(3, 2, 4, Models.RGB.scale(), Models.RGB.mean(), Models.RGB.std()),
                4,
                16,
                16,
                32,
                2,
                2,
                16,
                1,
                1,
                1e-6,
                1e-6,
                true,
                false);
        return new Sizes(config, 2, 2, 10, 5, 33, 1 << 16, 32);
    }

    int tokens() {
        return config.slots() * config.plane();
    }

    /** Tokens that a mask leaves. */
    int visible(double maskRatio) {
        return config.slots() * (config.plane() - tessera.tensor.TokenMask.maskedCells(config.plane(), maskRatio));
    }

    /** Pixels of one clip. */
    long pixels() {
        return (long) config.frames()
                * config.height()
                * config.width()
                * config.patches().channels();
    }

    /** Clips with channels last. */
    PatchGeometry geometry(long batch) {
        int channels = config.patches().channels();
        return new PatchGeometry(
                batch,
                config.frames(),
                config.height(),
                config.width(),
                channels,
                config.patches().tubelet(),
                config.patches().patch(),
                pixels(),
                (long) config.height() * config.width() * channels,
                (long) config.width() * channels,
                channels,
                1,
                config.patches().scale(),
                config.patches().mean(),
                config.patches().std());
    }
}
