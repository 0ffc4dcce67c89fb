package tessera.kernels.cuda;

import java.util.Locale;
import tessera.kernels.Attention.AttentionShape;

/**
 * The kernels that compute the gradients of attention in bf16 without a bias and regions: two kernels of seven products together,
 * or one of five that adds dQ in a fixed order; see {@code attention.cu}. The property {@value #PROPERTY} chooses: the name of a
 * constant in lower case with a hyphen, or {@code auto}.
 */
enum CudaGradients {
    /** What is known to be fastest. */
    AUTO(0),
    TWO_KERNELS(0),
    /** One kernel, blocks of 64 keys. */
    KEYS_64(64),
    /** One kernel, blocks of 128 keys. */
    KEYS_128(128);

    static final String PROPERTY = "tessera.cuda.attention.gradients";

    /** Heads whose tiles of keys come one after another: a head's blocks then start apart, and its queries are still cached. */
    static final int HEADS_PER_GROUP = 66;

    /** There is a word for the turns of as many queries. */
    static final int QUERIES_PER_TURN = 8;

    private static final int QUERIES = 64;
    private static final int PADDING = 8;

    private final int keys;

    CudaGradients(int keys) {
        this.keys = keys;
    }

    /** @throws IllegalArgumentException if the property is none of the names */
    static CudaGradients ofProperty() {
        String text = System.getProperty(PROPERTY, "auto");
        for (CudaGradients choice : values()) {
            if (choice.name().toLowerCase(Locale.ROOT).replace('_', '-').equals(text)) {
                return choice;
            }
        }
        throw new IllegalArgumentException(
                "property " + PROPERTY + " is '" + text + "'; set it to auto, two-kernels, keys-64 or keys-128");
    }

    /** What computes a shape on a device: this choice where it can. */
    CudaGradients forShape(AttentionShape shape, CudaDevice device) {
        boolean suits = shape.headDim() > headDim() - 16 && shape.headDim() <= headDim();
        boolean fits = suits
                && shape.queries() > 0
                && shape.keys() > 0
                && shape.batch() * shape.heads() * tiles(shape) <= Integer.MAX_VALUE
                && sharedBytes() < device.sharedBytesPerBlock();
        return isOneKernel() && fits ? this : TWO_KERNELS;
    }

    boolean isOneKernel() {
        return keys > 0;
    }

    String kernel() {
        return "attention_backward_" + headDim() + "_" + keys / 64;
    }

    /** The largest head dim, and 15 less is the smallest. */
    int headDim() {
        return 64;
    }

    /** Tiles of keys of a head. */
    long tiles(AttentionShape shape) {
        return Math.ceilDiv(shape.keys(), Math.max(1, keys));
    }

    int threads() {
        return 128;
    }

    /** As Fused::BYTES in attention.cu: K, V, two stages of Q and dO; dS, which lies over V for 64 keys; statistics. */
    int sharedBytes() {
        int rows = 2 * keys + 4 * QUERIES;
        int scores = keys == 64 ? 0 : keys * (QUERIES + PADDING);
        return 2 * (rows * (headDim() + PADDING) + scores) + 2 * 8 * QUERIES + 16;
    }
}
