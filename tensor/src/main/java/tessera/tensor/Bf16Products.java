package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * Operations on f32 tensors with the factors of their products rounded to bf16, on CPUs that multiply it; see {@link
 * tessera.kernels.Bf16Kernels}.
 */
public final class Bf16Products {
    private Bf16Products() {}

    /**
     * {@code x W^T + bias + residual} as {@link Tensor#linear(Tensor, Tensor, Tensor)}; gradients are products in bf16 too, and f32.
     *
     * @param residual what the product is added to, or null
     * @throws IllegalArgumentException where {@link tessera.kernels.Device#bf16} is empty
     */
    public static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias, @Nullable Tensor residual) {
        List<Tensor> in = new ArrayList<>(List.of(x, weight));
        if (residual != null) {
            in.add(residual);
        }
        if (bias != null) {
            in.add(bias);
        }
        return Op.apply(new MatmulOps.Linear(residual != null, true), in.toArray(Tensor[]::new));
    }

    /**
     * As {@link Tensor#selfAttention(int, Tensor, Tensor)}; the products of its gradients are in bf16 too. All stay f32 where the device has
     * no other.
     */
    public static Tensor selfAttention(Tensor qkv, int heads, @Nullable Tensor bias, @Nullable Tensor regions) {
        return AttentionOps.self(qkv, heads, bias, regions, true);
    }
}
