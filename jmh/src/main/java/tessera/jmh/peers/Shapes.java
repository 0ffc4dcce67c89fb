package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/**
 * Sizes of what is measured.
 *
 * @param config the model
 * @param rows of the large product
 * @param columns of its result
 * @param inner what it sums over
 * @param copyBytes how much is copied to measure the bandwidth
 * @param classes of the head that is trained
 * @param swin whether Swin3D-T is measured
 */
public record Shapes(
        VideoMaeConfig config, int rows, int columns, int inner, long copyBytes, int classes, boolean swin) {

    private static final Patches RGB =
            new Patches(3, 2, 16, 1 / 255.0, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});

    /** ViT-S on 16 x 224 x 224. */
    static Shapes paper() {
        return new Shapes(VideoMaeConfig.of("small", RGB), 2048, 2048, 1024, 1L << 27, 64, true);
    }

    /** A model that runs in a test. */
    static Shapes tiny() {
        Patches patches = new Patches(3, 2, 4, RGB.scale(), RGB.mean(), RGB.std());
        VideoMaeConfig config = new VideoMaeConfig(patches, 4, 16, 16, 32, 2, 2, 16, 1, 1, 1e-6, 1e-6, true, false);
        return new Shapes(config, 32, 32, 32, 1 << 16, 5, false);
    }

    /** All that is measured, or with {@code quick} one or two of each group. */
    List<Work> works(boolean quick) {
        double[] ratios = quick ? new double[] {.75} : new double[] {.75, 0};
        List<Work> works = new ArrayList<>();
        works.add(new Work(Kind.MATMUL, 1, 0, 1));
        for (Kind kind : List.of(Kind.LINEAR, Kind.LINEAR_GELU, Kind.ATTENTION, Kind.LAYER_NORM, Kind.BLOCK)) {
            for (double ratio : ratios) {
                works.add(new Work(kind, 1, ratio, 1));
            }
        }
        for (int batch : quick ? new int[] {1} : new int[] {1, 4}) {
            for (double ratio : quick ? new double[] {0, .75} : new double[] {0, .5, .75, .9}) {
                works.add(new Work(Kind.FORWARD, batch, ratio, 1));
            }
        }
        for (int batch : quick ? new int[] {1} : new int[] {1, 4}) {
            for (int ensemble : quick ? new int[] {2} : new int[] {2, 4}) {
                for (double ratio : quick ? new double[] {.75} : new double[] {.75, .9}) {
                    works.add(new Work(Kind.FORWARD, batch, ratio, ensemble));
                }
            }
        }
        if (swin) {
            works.add(new Work(Kind.SWIN, 1, 0, 1));
        }
        works.add(new Work(Kind.TRAIN, quick ? 1 : 4, .75, 1));
        return works;
    }
}
