package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;
import tessera.jmh.Models;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/**
 * Sizes of what is measured.
 *
 * @param config the model
 * @param product the large product
 * @param limits products whose rates are taken for the machine's, {@code product} among them
 * @param copyBytes how much a copy copies
 * @param classes of the head that is trained
 * @param swin whether Swin3D-T is measured
 */
public record Shapes(
        VideoMaeConfig config, Product product, List<Product> limits, long copyBytes, int classes, boolean swin) {
    /**
     * The sizes of a product {@code x w^T}.
     *
     * @param rows of the result
     * @param columns of the result
     * @param inner what it sums over
     */
    public record Product(int rows, int columns, int inner) {
        @Override
        public String toString() {
            return rows + " x " + columns + " x " + inner;
        }
    }

    /** What is measured at each number of tokens, the block last, which is a group of its own. */
    private static final List<Kind> SIZED = List.of(
            Kind.LINEAR,
            Kind.LINEAR_GELU,
            Kind.ATTENTION,
            Kind.LAYER_NORM,
            Kind.SOFTMAX,
            Kind.PATCHES,
            Kind.LINEAR_INPUT_GRADIENT,
            Kind.LINEAR_WEIGHT_GRADIENT,
            Kind.ATTENTION_GRADIENTS,
            Kind.LAYER_NORM_GRADIENTS,
            Kind.GELU_GRADIENT,
            Kind.CROSS_ENTROPY,
            Kind.FEATURE_DISTILLATION,
            Kind.LOGIT_DISTILLATION,
            Kind.RECONSTRUCTION,
            Kind.BLOCK);

    /** ViT-S on 16 x 224 x 224. */
    static Shapes paper() {
        // Large ones, and those of the model, which stay in the caches where a larger one waits for memory.
        List<Product> limits = List.of(
                new Product(2048, 2048, 1024),
                new Product(1024, 1024, 1024),
                new Product(1568, 1536, 384),
                new Product(392, 1536, 384),
                new Product(392, 384, 1536));
        return new Shapes(Models.small(), limits.getFirst(), limits, 1L << 26, 64, true);
    }

    /** A model that runs in a test. */
    static Shapes tiny() {
        Patches patches = new Patches(3, 2, 4, Models.RGB.scale(), Models.RGB.mean(), Models.RGB.std());
        VideoMaeConfig config = new VideoMaeConfig(patches, 4, 16, 16, 32, 2, 2, 16, 1, 1, 1e-6, 1e-6, true, false);
        Product product = new Product(32, 32, 32);
        return new Shapes(config, product, List.of(product, new Product(64, 32, 32)), 1 << 16, 5, false);
    }

    /** Values of the matrices of a block. */
    long blockValues() {
        return 12L * config.embedDim() * config.embedDim();
    }

    /** The same with another product. */
    Shapes with(Product other) {
        return new Shapes(config, other, limits, copyBytes, classes, swin);
    }

    /** The same with a copy of other size. */
    Shapes withCopy(long bytes) {
        return new Shapes(config, product, limits, bytes, classes, swin);
    }

    /** All that is measured, or with {@code quick} one or two of each group; what the goals ask for comes first. */
    List<Work> works(boolean quick) {
        double[] ratios = quick ? new double[] {.75} : new double[] {.75, 0};
        List<Work> works = new ArrayList<>();
        for (int batch : quick ? new int[] {1} : new int[] {1, 4}) {
            for (double ratio : quick ? new double[] {0, .75} : new double[] {0, .5, .75, .9}) {
                works.add(new Work(Kind.FORWARD, batch, ratio, 1));
            }
        }
        works.add(new Work(Kind.TRAIN, quick ? 1 : 4, .75, 1));
        if (swin) {
            works.add(new Work(Kind.SWIN, 1, 0, 1));
        }
        works.add(new Work(Kind.MATMUL, 1, 0, 1));
        for (Kind kind : SIZED) {
            for (double ratio : ratios) {
                works.add(new Work(kind, 1, ratio, 1));
            }
        }
        works.add(new Work(Kind.ADAMW, 1, 0, 1));
        for (int batch : quick ? new int[] {1} : new int[] {1, 4}) {
            for (int ensemble : quick ? new int[] {2} : new int[] {2, 4}) {
                // Of half the tokens a pair of masks sees as many as there are; four would see twice that.
                double[] seen = ensemble == 2 ? new double[] {.5, .75, .9} : new double[] {.75, .9};
                for (double ratio : quick ? new double[] {.75} : seen) {
                    works.add(new Work(Kind.FORWARD, batch, ratio, ensemble));
                }
            }
        }
        return works;
    }
}
