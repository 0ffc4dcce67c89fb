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
    /** Softmax over the rows of all heads' scores. */
    SOFTMAX("kernels"),
    /** Patches of a clip as normalised rows: of all tokens, or of those that are seen alone. */
    PATCHES("kernels"),
    /** Gradients of {@link #LAYER_NORM}: of its input, gain and bias. */
    LAYER_NORM_GRADIENTS("kernels"),
    /** Gradient of {@link #LINEAR} for its input. */
    LINEAR_INPUT_GRADIENT("kernels"),
    /** Gradients of {@link #LINEAR} for its weight and bias. */
    LINEAR_WEIGHT_GRADIENT("kernels"),
    /** Gradient of the GELU between the layers of the MLP. */
    GELU_GRADIENT("kernels"),
    /** Gradients of {@link #ATTENTION}. */
    ATTENTION_GRADIENTS("kernels"),
    /** Softmax cross-entropy and its gradient, of as many classes as a feature has values, so that memory limits it. */
    CROSS_ENTROPY("kernels"),
    /** Distillation of the features of {@link Task#TEACHERS} teachers, and its gradients. */
    FEATURE_DISTILLATION("kernels"),
    /** Distillation of the logits of {@link Task#TEACHERS} teachers, of as many classes, and its gradient. */
    LOGIT_DISTILLATION("kernels"),
    /** The loss of reconstructing patches, with its gradient. */
    RECONSTRUCTION("kernels"),
    /** AdamW's step over the matrices of all blocks. */
    ADAMW("kernels"),
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

    /** Whether it is of one size, whatever the batch and the share of hidden tokens. */
    boolean ofOneSize() {
        return this == MATMUL || this == COPY || this == ADAMW;
    }

    /** As files and peers write it. */
    public String text() {
        return name().toLowerCase(Locale.ROOT);
    }
}
