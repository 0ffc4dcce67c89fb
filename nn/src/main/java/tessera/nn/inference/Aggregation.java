package tessera.nn.inference;

import tessera.tensor.Tensor;

/** How the passes of an ensemble, each through a mask of its own, become one answer. */
public enum Aggregation {
    /** The mean of the passes' class probabilities (MM-CDFSL, ECCV 2024). */
    PROBABILITIES,
    /** The softmax of the mean of the passes' class scores: a confident pass counts for more. */
    LOGITS,
    /** The class probabilities of the mean of the passes' features. */
    FEATURES;

    /**
     * Class probabilities, f32 {@code [B, classes]}.
     *
     * @param features f32 {@code [P * B, D]}, pass by pass
     * @param passes P
     * @param weight f32 {@code [classes, D]}
     * @param bias f32 {@code [classes]}
     */
    Tensor probabilities(Tensor features, int passes, Tensor weight, Tensor bias) {
        return switch (this) {
            case PROBABILITIES -> mean(features.linear(weight, bias).softmax(), passes);
            case LOGITS -> mean(features.linear(weight, bias), passes).softmax();
            case FEATURES -> mean(features, passes).linear(weight, bias).softmax();
        };
    }

    /** The mean over the passes, {@code [P * B, n]} to {@code [B, n]}. */
    static Tensor mean(Tensor rows, int passes) {
        return rows.reshape(passes, rows.size(0) / passes, rows.size(1)).mean(0);
    }
}
