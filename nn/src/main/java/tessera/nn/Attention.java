package tessera.nn;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Bf16Products;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Multi-head self-attention with one fused projection (BEiT's convention): the queries and values have a bias, the keys
 * have none unless asked for.
 */
final class Attention implements AutoCloseable {
    private final int heads;
    private final long width;
    private final Params params;
    private final Tensor weight;
    private final Tensor qBias;
    private final Tensor vBias;
    private final @Nullable Tensor kBias;
    private final Tensor zeros;
    private final Linear proj;
    private @Nullable Linear packedQkv;
    private @Nullable Tensor packedBias;

    Attention(Params params, long width, int heads, boolean keyBias) {
        this.params = params;
        this.heads = heads;
        this.width = width;
        this.weight = params.get("qkv.weight", Init.xavierUniform(width, 3 * width), 3 * width, width);
        this.qBias = params.get("q_bias", Init.constant(0), width);
        this.kBias = keyBias ? params.get("k_bias", Init.constant(0), width) : null;
        this.vBias = params.get("v_bias", Init.constant(0), width);
        this.zeros = zeros(params.device(), params);
        this.proj = Linear.xavier(params.at("proj"), width, width);
    }

    private Tensor zeros(Device device, Params params) {
        return Tensor.full(device, params.dtype(), Shape.of(width), 0);
    }

    /** {@code attention(x)} for x {@code [B, N, D]}. */
    Tensor forward(Tensor x) {
        return proj.forward(mix(x)); // [B, N, D]
    }

    /** {@code x + attention(norm(x))}. */
    Tensor addTo(LayerNorm norm, Tensor x) {
        return proj.addTo(x, attend(project(norm, x), null)); // [B, N, D]
    }

    /** {@code residual} and the attention of tokens that stand for several each, whose {@link #project} is given. */
    Tensor addTo(Tensor residual, TokenGroups tokens, Tensor qkv) {
        return proj.addTo(residual, tokens.attend(qkv, this::attend));
    }

    /** The mean over the heads of the keys in a projection, {@code [B, N, headDim]}. */
    Tensor keys(Tensor qkv) {
        return qkv.slice(2, width, 2 * width)
                .contiguous()
                .reshape(qkv.size(0), qkv.size(1), heads, width / heads)
                .mean(2);
    }

    private Tensor mix(Tensor x) {
        return attend(qkv().forward(x), null); // [B, N, D]
    }

    /** Queries, keys and values of {@code norm(x)}, {@code [B, N, 3 D]}. */
    Tensor project(LayerNorm norm, Tensor x) {
        return qkv().forward(norm, x);
    }

    private Linear qkv() {
        Linear fast = packedQkv;
        return fast != null && !tessera.tensor.Autograd.isRecording()
                ? fast
                : Linear.of(params, "qkv.weight", weight, bias());
    }

    /** @param keyBias {@code [B, N]}, added to the scores of the keys, or null */
    private Tensor attend(Tensor qkv, @Nullable Tensor keyBias) {
        return params.attentionInBf16()
                ? Bf16Products.selfAttention(qkv, heads, keyBias, null)
                : qkv.selfAttention(heads, keyBias, null);
    }

    private Tensor bias() {
        return Tensor.concat(0, qBias, kBias == null ? zeros : kBias, vBias);
    }

    /** @param norm before the projection */
    void pack(DType dtype, LayerNorm norm) {
        unpack();
        Tensor bias = tessera.tensor.Autograd.noGrad(this::bias);
        packedBias = bias;
        packedQkv = Linear.of(params, "qkv.weight", weight, bias);
        packedQkv.pack(dtype, norm);
        proj.pack(dtype);
    }

    private void unpack() {
        if (packedQkv != null) {
            packedQkv.close();
            packedQkv = null;
        }
        if (packedBias != null) {
            packedBias.close();
            packedBias = null;
        }
        proj.close();
    }

    @Override
    public void close() {
        unpack();
        zeros.close();
    }
}
