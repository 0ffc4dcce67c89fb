package tessera.nn;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Matmul.Activation;
import tessera.tensor.Autograd;
import tessera.tensor.Bf16Products;
import tessera.tensor.Mlp;
import tessera.tensor.PackedLinear;
import tessera.tensor.Tensor;

/**
 * {@code y = x W^T + b} over the last axis, with parameters {@code weight} and {@code bias}.
 *
 * <p>{@link #pack} lays the weight out for inference, on bytes where the parameters are of a model with {@link Int8Layers}; it is
 * then used wherever no gradient is recorded.
 */
public final class Linear implements AutoCloseable {
    private final Tensor weight;
    private final @Nullable Tensor bias;
    private final String name;
    private final @Nullable Int8Layers int8;
    private final boolean inBf16;
    private @Nullable PackedLinear packed;
    /** In its place, where it takes the norm's input. */
    private @Nullable PackedLinear joined;

    private @Nullable LayerNorm joinedNorm;

    private Linear(Params params, String name, Tensor weight, @Nullable Tensor bias) {
        this.weight = weight;
        this.bias = bias;
        this.name = params.name(name);
        this.int8 = params.int8();
        this.inBf16 = params.productsInBf16();
    }

    private Linear(Params params, Tensor weight, @Nullable Tensor bias) {
        this(params, "weight", weight, bias);
    }

    /**
     * A layer with parameters that were made already; a weight of more than two axes is flattened to {@code [out, rest]}.
     *
     * @param params where they were made
     * @param name of the weight there
     */
    public static Linear of(Params params, String name, Tensor weight, @Nullable Tensor bias) {
        return new Linear(params, name, weight, bias);
    }

    /** Transformer layers: Xavier-uniform weight, zero bias. */
    public static Linear xavier(Params params, long in, long out) {
        return new Linear(
                params,
                params.get("weight", Init.xavierUniform(in, out), out, in),
                params.get("bias", Init.constant(0), out));
    }

    /** As {@link #xavier}, without a bias. */
    public static Linear withoutBias(Params params, long in, long out) {
        return new Linear(params, params.get("weight", Init.fanIn(in), out, in), null);
    }

    /** Swin transformers: normal weight of a standard deviation, cut at 2, zero bias. */
    public static Linear normal(Params params, long in, long out, double std) {
        return new Linear(
                params,
                params.get("weight", Init.truncatedNormal(std, 2), out, in),
                params.get("bias", Init.constant(0), out));
    }

    /** As {@link #normal}, without a bias. */
    public static Linear normalWithoutBias(Params params, long in, long out, double std) {
        return new Linear(params, params.get("weight", Init.truncatedNormal(std, 2), out, in), null);
    }

    /** Heads and projectors: weight and bias uniform within {@code 1 / sqrt(in)}. */
    public static Linear fanIn(Params params, long in, long out) {
        return new Linear(
                params, params.get("weight", Init.fanIn(in), out, in), params.get("bias", Init.fanIn(in), out));
    }

    /** {@code [.., in]} to {@code [.., out]}. */
    public Tensor forward(Tensor x) {
        PackedLinear fast = fast(x);
        return fast != null ? fast.apply(x, Activation.NONE) : slow(x, null);
    }

    /** {@code forward(norm(x))}, as one layer where it is packed with this norm. */
    public Tensor forward(LayerNorm norm, Tensor x) {
        PackedLinear one = joined(norm);
        return one != null ? one.apply(x, Activation.NONE) : forward(norm.forward(x));
    }

    private @Nullable PackedLinear joined(LayerNorm norm) {
        return norm != joinedNorm || Autograd.isRecording() ? null : joined;
    }

    /** GELU of {@link #forward}, in one pass where the weight is packed. */
    public Tensor forwardGelu(Tensor x) {
        PackedLinear fast = fast(x);
        return fast != null ? fast.apply(x, Activation.GELU) : slow(x, null).gelu();
    }

    /** {@code residual + forward(x)}; where the weight is packed the sum is written over {@code residual}. */
    public Tensor addTo(Tensor residual, Tensor x) {
        PackedLinear fast = fast(x);
        return fast != null ? fast.accumulate(x, residual) : slow(x, residual);
    }

    /** {@code forward(gelu(first(x)))}. */
    public Tensor afterGelu(Linear first, Tensor x) {
        Tensor fused = fused(first, x, null);
        return fused != null ? fused : forward(first.forwardGelu(x));
    }

    /** {@code residual + forward(gelu(first(x)))}; where the weights are packed the sum is written over {@code residual}. */
    public Tensor addAfterGelu(Linear first, Tensor residual, Tensor x) {
        PackedLinear before = first.packed;
        PackedLinear fast = packed;
        if (before != null && fast != null && fast.follows(before) && !Autograd.isRecording()) {
            return fast.accumulateAfter(before, x, residual);
        }
        Tensor fused = fused(first, x, residual);
        return fused != null ? fused : addTo(residual, first.forwardGelu(x));
    }

    /** {@code x + forward(gelu(first(norm(x))))}; where the weights are packed the sum is written over {@code x}. */
    public Tensor addAfterGelu(Linear first, LayerNorm norm, Tensor x) {
        PackedLinear one = first.joined(norm);
        return one != null ? addTo(x, one.apply(x, Activation.GELU)) : addAfterGelu(first, x, norm.forward(x));
    }

    /** Both layers as one operation, where that is faster in training. */
    private @Nullable Tensor fused(Linear first, Tensor x, @Nullable Tensor residual) {
        Tensor firstBias = first.bias;
        Tensor secondBias = bias;
        if (firstBias == null || secondBias == null || inBf16 || !Autograd.isRecording() || !Mlp.spares(x)) {
            return null;
        }
        return Mlp.apply(x, first.matrix(), firstBias, matrix(), secondBias, residual);
    }

    /** The packed weight where it is used for x. */
    private @Nullable PackedLinear fast(Tensor x) {
        PackedLinear fast = Autograd.isRecording() ? null : packed;
        if (fast != null && int8 != null && int8.isObserving()) {
            int8.observe(name, x);
        }
        return fast;
    }

    private Tensor slow(Tensor x, @Nullable Tensor residual) {
        if (inBf16) {
            return Bf16Products.linear(x, matrix(), bias, residual);
        }
        return residual == null ? x.linear(matrix(), bias) : x.linear(matrix(), bias, residual);
    }

    private Tensor matrix() {
        return weight.rank() == 2 ? weight : weight.reshape(weight.size(0), -1);
    }

    /** Lays the weight out for inference in a type, f32 or on a GPU bf16; later changes of the weight do not show. */
    public void pack(DType dtype) {
        close();
        packed = Autograd.noGrad(() -> {
            Tensor matrix = matrix();
            if (int8 == null || int8.isObserving()) {
                return inBf16 ? PackedLinear.bf16(matrix, bias) : new PackedLinear(matrix, bias, dtype);
            }
            int8.round(name, matrix);
            return matrix.device().int8().filter(bytes -> bytes.data() == dtype).isPresent()
                    ? PackedLinear.int8(matrix, bias, int8.range(name))
                    : new PackedLinear(matrix, bias, dtype);
        });
    }

    /** The same of a layer whose inputs are always what a norm gives: the two become one where the device is faster by that. */
    public void pack(DType dtype, LayerNorm norm) {
        close();
        joined = int8 != null || inBf16
                ? null
                : Autograd.noGrad(() -> norm.pack(matrix(), bias, dtype)).orElse(null);
        if (joined == null) {
            pack(dtype);
        } else {
            joinedNorm = norm;
        }
    }

    @Override
    public void close() {
        if (packed != null) {
            packed.close();
            packed = null;
        }
        if (joined != null) {
            joined.close();
            joined = null;
            joinedNorm = null;
        }
    }
}
