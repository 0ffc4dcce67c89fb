package tessera.kernels;

import org.jspecify.annotations.Nullable;

/**
 * The optimiser's update and the norm of gradients, over many tensors at once.
 *
 * <p>Types: parameters and moments are all f32 or, on the CPU, all f64; each gradient has their type or bf16.
 */
public interface Optimiser {
    /**
     * L2 norm of all elements of many gradients together, each f32 or bf16, on the CPU also f64. Squares are summed in f32 at least.
     * NaN or infinite where an element is, or where that sum overflows.
     *
     * @param norm one element, f32, on the CPU also f64
     */
    void globalNorm(Buffer[] gradients, Buffer norm);

    /**
     * One AdamW step (Loshchilov and Hutter, 2019): {@code p *= 1 - lr * decay; m, v} updated; {@code p -= lr * mhat / (sqrt(vhat)
     * + eps)}.
     */
    void adamW(AdamWTensors tensors, AdamWStep step);

    /**
     * What a step changes; entry i of each array belongs to parameter i.
     *
     * @param shadows bf16 copies of the parameters that are written in the same pass, null where there is none
     * @param decay weight decay of each tensor
     */
    record AdamWTensors(
            Buffer[] parameters,
            Buffer[] gradients,
            Buffer[] firstMoments,
            Buffer[] secondMoments,
            @Nullable Buffer @Nullable [] shadows,
            double[] decay) {}

    /**
     * How a step changes it.
     *
     * @param step 1 for the first step
     * @param clip how the gradients are scaled first, null for as they are
     */
    record AdamWStep(
            double lr,
            double beta1,
            double beta2,
            double eps,
            long step,
            @Nullable Clip clip) {}

    /**
     * How {@link #adamW} scales gradients: by {@code min(1, largest / (norm + 1e-6))}, as PyTorch's {@code clip_grad_norm_}.
     * What is not finite stays visible there too: a norm of NaN makes every parameter NaN, an infinite one the parameters
     * whose gradient is infinite (others get a gradient of 0). Who wants to stop before looks at the norm.
     *
     * @param norm one element that {@link #globalNorm} wrote
     */
    record Clip(Buffer norm, double largest) {}
}
