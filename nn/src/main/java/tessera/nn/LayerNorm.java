package tessera.nn;

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

    /** {@code [.., width]} to {@code [.., width]}. */
    public Tensor forward(Tensor x) {
        return x.layerNorm(weight, bias, eps);
    }
}
