package tessera.jmh.peers;

import java.util.Locale;

/** What is carried out. */
public enum Kind {
    /** A large product {@code x w^T}. */
    MATMUL("kernels"),
    /** A copy of memory; it is a limit of others, and listed with the limits. */
    COPY("limits"),
    /** The first norm of the first block. */
    LAYER_NORM("kernels"),
    /** Its projection to queries, keys and values, with a bias. */
    LINEAR("kernels"),
    /** The first layer of its MLP, with GELU. */
    LINEAR_GELU("kernels"),
    /** Softmax attention from queries, keys and values. */
    ATTENTION("kernels"),
    /** The whole first block. */
    BLOCK("layers"),
    /** The model, from u8 pixels and tokens' numbers to features. */
    FORWARD("inference"),
    /** Swin3D-T, from u8 pixels to class scores. */
    SWIN("inference"),
    /** A step: forward, cross-entropy, backward, AdamW. */
    TRAIN("training");

    private final String group;

    Kind(String group) {
        this.group = group;
    }

    /** Where it is listed. */
    public String group() {
        return group;
    }

    /** As files and peers write it. */
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }
}
