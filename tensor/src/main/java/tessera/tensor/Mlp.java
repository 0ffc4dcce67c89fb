package tessera.tensor;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;

/** Linear layers with GELU between them as one operation, in training. */
public final class Mlp {
    private Mlp() {}

    /** Whether one operation spares passes over memory for an input: in bf16 on devices with {@link tessera.kernels.Matmul#geluProducts}. */
    public static boolean spares(Tensor x) {
        return x.dtype() == DType.BF16 && x.kernels().matmul().geluProducts().isPresent();
    }

    /**
     * {@code residual + gelu(x W1^T + b1) W2^T + b2} with exact GELU; on any device, differentiable in all inputs.
     *
     * @param x {@code [.., in]}
     * @param firstWeight {@code [hidden, in]}, and its bias {@code [hidden]}
     * @param weight {@code [out, hidden]}, and its bias {@code [out]}
     * @param residual {@code [.., out]}, or null for none
     * @throws IllegalArgumentException if shapes or types do not fit
     */
    public static Tensor apply(
            Tensor x, Tensor firstWeight, Tensor firstBias, Tensor weight, Tensor bias, @Nullable Tensor residual) {
        return residual == null
                ? Op.apply(new MlpOp(false), x, firstWeight, firstBias, weight, bias)
                : Op.apply(new MlpOp(true), x, firstWeight, firstBias, weight, bias, residual);
    }
}
