package tessera.kernels.cuda;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;
import tessera.kernels.Attention.AttentionShape;

/**
 * The kernels that compute the gradients of attention in bf16 without a bias and regions: two of seven products together, or one of
 * five that adds dQ in a fixed order; see {@code attention.cu} and {@code attention_backward.cu}. The property {@value #PROPERTY}
 * chooses: the name of a constant in lower case, with hyphens.
 */
enum CudaGradients {
    /** {@link #HOPPER_128} where it can be used, which measured fastest there for 98 to 1568 tokens, else {@link #TWO_KERNELS}. */
    AUTO("", 0, false),
    TWO_KERNELS("", 0, false),
    /** Blocks of 64 keys. */
    KEYS_64("64", 64, false),
    KEYS_128("128", 128, false),
    /** Blocks of 64 keys on warpgroup products, for compute capability 9.0 alone. */
    HOPPER_64("wgmma_64", 64, true),
    HOPPER_128("wgmma_128", 128, true);

    static final String PROPERTY = "tessera.cuda.attention.gradients";

    /** Heads whose tiles of keys come one after another: a head's blocks then start apart, and its queries are still cached. */
    static final int HEADS_PER_GROUP = 132;

    /** There is a word for the turns of as many queries. */
    static final int QUERIES_PER_TURN = 8;

    private static final int HEAD_DIM = 64;
    private static final int QUERIES = 64;
    private static final int PADDING = 8;
    private static final int SWIZZLE_SLACK = 1008;
    private static final int HOPPER = 90;

    private final String suffix;
    private final int keys;
    private final boolean hopper;

    CudaGradients(String suffix, int keys, boolean hopper) {
        this.suffix = suffix;
        this.keys = keys;
        this.hopper = hopper;
    }

    /**
     * The constant that the property names.
     *
     * @throws IllegalArgumentException if it names none
     */
    static CudaGradients ofProperty() {
        String text = System.getProperty(PROPERTY, "auto");
        return Arrays.stream(values())
                .filter(choice -> choice.property().equals(text))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("property " + PROPERTY + " is '" + text
                        + "'; set it to "
                        + Arrays.stream(values()).map(CudaGradients::property).collect(Collectors.joining(", "))));
    }

    private String property() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    /** What computes a shape on a device: this choice where it can. */
    CudaGradients forShape(AttentionShape shape, CudaDevice device) {
        if (this == AUTO) {
            return HOPPER_128.forShape(shape, device);
        }
        boolean suits = isOneKernel()
                && shape.headDim() > HEAD_DIM - 16
                && shape.headDim() <= HEAD_DIM
                && shape.queries() > 0
                && shape.keys() > 0
                && shape.batch() * shape.heads() * tiles(shape) <= Integer.MAX_VALUE
                && sharedBytes() < device.sharedBytesPerBlock()
                && (!hopper || device.capability() == HOPPER);
        return suits ? this : TWO_KERNELS;
    }

    boolean isOneKernel() {
        return keys > 0;
    }

    String kernel() {
        return "attention_backward_" + suffix;
    }

    /** Tiles of keys of a head. */
    long tiles(AttentionShape shape) {
        return Math.ceilDiv(shape.keys(), keys);
    }

    /** Elements of the sums of dQ for so many queries, padded to whole tiles. */
    long sums(AttentionShape shape, long rows) {
        return tiles(shape) > 1 ? rows * HEAD_DIM : 1;
    }

    /** Words for the turns of so many queries, padded to whole tiles. */
    long turns(long rows) {
        return 1 + rows / QUERIES_PER_TURN;
    }

    int threads() {
        return hopper ? 2 * keys : 128;
    }

    /** As BYTES in attention_backward.cu: rows of K and V and two stages of Q and dO, rows of dS, statistics. */
    int sharedBytes() {
        int rows = 2 * keys + 4 * QUERIES;
        int scores = hopper || keys > 64 ? keys : 0;
        int padding = hopper ? 0 : PADDING;
        return 2 * (rows * (HEAD_DIM + padding) + scores * (QUERIES + padding))
                + 16 * QUERIES
                + 16
                + (hopper ? SWIZZLE_SLACK : 0);
    }
}
