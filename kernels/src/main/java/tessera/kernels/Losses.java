package tessera.kernels;

import org.jspecify.annotations.Nullable;
import tessera.kernels.Norms.RowShape;

/**
 * Losses, each with its gradient in the same pass.
 *
 * <p>Types: logits, features and their gradients share one type, f32 or f64 on the CPU, f32 or bf16 on a GPU. Losses and the weights of
 * an {@link Ensemble} have that type too, on a GPU always f32. Labels are i32.
 */
public interface Losses {
    /**
     * Mean softmax cross-entropy with label smoothing s: target {@code (1 - s) onehot + s / cols}. Loss and gradient in one
     * pass.
     *
     * @param logits {@code [rows, cols]}
     * @param labels i32 {@code [rows]}
     * @param loss one element
     * @param dlogits gradient of the loss, or null
     */
    void crossEntropy(
            RowShape shape, Buffer logits, Buffer labels, double smoothing, Buffer loss, @Nullable Buffer dlogits);

    /** {@code loss = mean((a - b)^2)}; {@code da = 2 (a - b) / count} where not null. */
    void meanSquaredError(Buffer a, Buffer b, Buffer loss, @Nullable Buffer da);

    /**
     * Multi-modality feature distillation (MM-CDFSL): {@code sum_m weights[m] * mean((projected[m] - target[m])^2)} over
     * all modalities in one pass, with the gradients of the projected features.
     *
     * @param losses one element per modality, unweighted
     * @param loss one element, the weighted sum
     */
    void featureLoss(
            Buffer[] projected,
            Buffer[] targets,
            double[] weights,
            Buffer losses,
            Buffer loss,
            Buffer @Nullable [] dprojected);

    /**
     * Weighted-ensemble logit distillation (Radevski et al., ICCV 2023): with ensemble logits {@code z = sum_t w_t z_t},
     * {@code loss = alpha T^2 mean_b KL(softmax(z / T) || softmax(student / T)) + beta CE(student, labels)}; loss and gradient
     * in one pass, in log space.
     *
     * @param student logits {@code [rows, cols]}
     * @param labels i32 {@code [rows]}; may be null if beta is 0
     * @param loss one element
     * @param dstudent gradient of the loss, or null
     */
    void distillationLoss(
            RowShape shape,
            Buffer student,
            Ensemble ensemble,
            @Nullable Buffer labels,
            Buffer loss,
            @Nullable Buffer dstudent);

    /**
     * The teachers of {@link #distillationLoss} and how much they and the labels count.
     *
     * @param teachers logits, each {@code [rows, cols]}, at most 8
     * @param weights {@code [teachers]} or per sample {@code [rows, teachers]}
     * @param temperature T
     * @param alpha weight of the divergence
     * @param beta weight of the cross-entropy
     */
    record Ensemble(
            Buffer[] teachers, Buffer weights, boolean perSample, double temperature, double alpha, double beta) {}
}
