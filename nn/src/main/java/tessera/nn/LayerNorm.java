package tessera.nn;

import java.util.Optional;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.tensor.PackedLinear;
import tessera.tensor.Tensor;

/** Layer normalisation over the last axis, with parameters {@code weight} and {@code bias}. */
public final class LayerNorm {
    private final Tensor weight;
    private final Tensor bias;
    private final double eps;

    /** Builds the layer for rows of a width. */
    public LayerNorm(Params params, long width, double eps) {
        this.weight = params.get("weight", Init.constant(1), width);
        this.bias = params.get("bias", Init.constant(0), width);
        this.eps = eps;
    }

    /** A linear layer of what this gives, packed with it; empty where that is two passes on the device. */
    Optional<PackedLinear> pack(Tensor matrix, @Nullable Tensor matrixBias, DType dtype) {
        return PackedLinear.behindNorm(matrix, matrixBias, weight, bias, eps, dtype);
    }

    /** {@code [.., width]} to {@code [.., width]}. */
    public Tensor forward(Tensor x) {
        return x.layerNorm(weight, bias, eps);
    }
}
