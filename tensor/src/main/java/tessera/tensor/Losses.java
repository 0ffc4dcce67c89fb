package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Losses of classification and distillation; each is a scalar whose gradient is computed in the same pass. */
public final class Losses {
    private Losses() {}

    /** Mean softmax cross-entropy of logits {@code [rows, classes]} against i32 labels {@code [rows]}. */
    public static Tensor crossEntropy(Tensor logits, Tensor labels) {
        return crossEntropy(logits, labels, 0);
    }

    /** As {@link #crossEntropy(Tensor, Tensor)} with targets {@code (1 - s) onehot + s / classes}. */
    public static Tensor crossEntropy(Tensor logits, Tensor labels, double smoothing) {
        return Op.apply(new LossesOps.CrossEntropy(smoothing), logits, labels);
    }

    /** Mean of the squared difference over all elements. */
    public static Tensor meanSquaredError(Tensor a, Tensor b) {
        return Op.apply(new LossesOps.MeanSquaredError(), a, b);
    }

    /**
     * Multimodal feature distillation (MM-CDFSL, ECCV 2024): {@code sum_m weights[m] * mean((projected[m] -
     * targets[m])^2)}.
     *
     * @param projected the student's feature through each modality's projector, {@code [B, D]}
     * @param targets the frozen teachers' features, without a gradient
     */
    public static Tensor features(List<Tensor> projected, List<Tensor> targets, double... weights) {
        List<Tensor> inputs = new ArrayList<>(projected);
        inputs.addAll(targets);
        return Op.apply(new LossesOps.FeatureLoss(weights.clone()), inputs.toArray(Tensor[]::new));
    }

    /**
     * Logit distillation from a weighted ensemble of teachers (Radevski et al., ICCV 2023): {@code alpha T^2 KL(softmax(z / T)
     * || softmax(student / T)) + beta CE(student, labels)} with ensemble logits {@code z = sum_t weights_t teacher_t}; the KL is
     * the mean over rows.
     *
     * @param student {@code [rows, classes]}
     * @param teachers 1 to 8 tensors like the student's
     * @param weights {@code [teachers]}, or {@code [rows, teachers]} for weights per sample
     * @param labels i32 {@code [rows]}; may be null if beta is 0
     */
    public static Tensor distillation(
            Tensor student,
            List<Tensor> teachers,
            Tensor weights,
            @Nullable Tensor labels,
            double temperature,
            double alpha,
            double beta) {
        List<Tensor> inputs = new ArrayList<>(List.of(student, weights));
        if (labels != null) {
            inputs.add(labels);
        }
        inputs.addAll(teachers);
        return Op.apply(
                new LossesOps.DistillationLoss(temperature, alpha, beta, labels != null),
                inputs.toArray(Tensor[]::new));
    }
}
