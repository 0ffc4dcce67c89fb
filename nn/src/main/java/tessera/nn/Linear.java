package tessera.nn;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.tensor.Autograd;
import tessera.tensor.PackedLinear;
import tessera.tensor.Tensor;

/**
 * {@code y = x W^T + b} over the last axis, with parameters {@code weight} and {@code bias}.
 *
 * <p>{@link #pack} lays the weight out for inference; it is then used wherever no gradient is recorded.
 */
public final class Linear implements AutoCloseable {
    private final Tensor weight;
    private final @Nullable Tensor bias;
    private @Nullable PackedLinear packed;

    private Linear(Tensor weight, @Nullable Tensor bias) {
        this.weight = weight;
        this.bias = bias;
    }

    /** A layer with given parameters; a weight of more than two axes is flattened to {@code [out, rest]}. */
    public static Linear of(Tensor weight, @Nullable Tensor bias) {
        return new Linear(weight, bias);
    }

    /** Transformer layers: Xavier-uniform weight, zero bias. */
    public static Linear xavier(Params params, long in, long out) {
        return new Linear(
                params.get("weight", Init.xavierUniform(in, out), out, in), params.get("bias", Init.constant(0), out));
    }

    /** As {@link #xavier}, without a bias. */
    public static Linear withoutBias(Params params, long in, long out) {
        return new Linear(params.get("weight", Init.fanIn(in), out, in), null);
    }

    /** Swin transformers: normal weight of a standard deviation, cut at 2, zero bias. */
    public static Linear normal(Params params, long in, long out, double std) {
        return new Linear(
                params.get("weight", Init.truncatedNormal(std, 2), out, in), params.get("bias", Init.constant(0), out));
    }

    /** As {@link #normal}, without a bias. */
    public static Linear normalWithoutBias(Params params, long in, long out, double std) {
        return new Linear(params.get("weight", Init.truncatedNormal(std, 2), out, in), null);
    }

    /** Heads and projectors: weight and bias uniform within {@code 1 / sqrt(in)}. */
    public static Linear fanIn(Params params, long in, long out) {
        return new Linear(params.get("weight", Init.fanIn(in), out, in), params.get("bias", Init.fanIn(in), out));
    }

    /** {@code [.., in]} to {@code [.., out]}. */
    public Tensor forward(Tensor x) {
        PackedLinear fast = packed;
        return fast != null && !Autograd.isRecording() ? fast.apply(x, Activation.NONE) : x.linear(matrix(), bias);
    }

    /** GELU of {@link #forward}, in one pass where the weight is packed. */
    public Tensor forwardGelu(Tensor x) {
        PackedLinear fast = packed;
        return fast != null && !Autograd.isRecording()
                ? fast.apply(x, Activation.GELU)
                : x.linear(matrix(), bias).gelu();
    }

    /** {@code residual + forward(x)}; where the weight is packed the sum is written over {@code residual}. */
    public Tensor addTo(Tensor residual, Tensor x) {
        PackedLinear fast = packed;
        return fast != null && !Autograd.isRecording()
                ? fast.accumulate(x, residual)
                : x.linear(matrix(), bias, residual);
    }

    private Tensor matrix() {
        return weight.rank() == 2 ? weight : weight.reshape(weight.size(0), -1);
    }

    /** Lays the weight out for inference in a type, f32 or on a GPU bf16; later changes of the weight do not show. */
    public void pack(DType dtype) {
        close();
        packed = Autograd.noGrad(() -> new PackedLinear(matrix(), bias, dtype));
    }

    @Override
    public void close() {
        if (packed != null) {
            packed.close();
            packed = null;
        }
    }
}
