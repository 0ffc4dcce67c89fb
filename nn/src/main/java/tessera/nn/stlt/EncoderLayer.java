package tessera.nn.stlt;

import tessera.kernels.DType;
import tessera.nn.Dropout;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Bf16Products;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Post-norm transformer layer (Vaswani et al., NeurIPS 2017): {@code x = norm1(x + attention(x)); x = norm2(x + linear2(gelu(linear1(x))))},
 * with PyTorch's names and its four places of dropout.
 */
final class EncoderLayer implements AutoCloseable {
    /** Places at which a layer drops: attention weights, attention, the MLP's hidden values, the MLP. */
    static final int PLACES = 4;

    private static final int MLP_RATIO = 4;
    private static final double EPS = 1e-5;

    private final int heads;
    private final boolean inBf16;
    private final Linear qkv;
    private final Linear out;
    private final LayerNorm norm1;
    private final Linear linear1;
    private final Linear linear2;
    private final LayerNorm norm2;
    private final boolean recomputing;

    EncoderLayer(Params params, long width, int heads) {
        this.heads = heads;
        this.inBf16 = params.attentionInBf16();
        Params attention = params.at("self_attn");
        qkv = Linear.of(
                attention,
                "in_proj_weight",
                attention.get("in_proj_weight", Init.xavierUniform(width, 3 * width), 3 * width, width),
                attention.get("in_proj_bias", Init.constant(0), 3 * width));
        out = Linear.xavier(attention.at("out_proj"), width, width);
        linear1 = Linear.fanIn(params.at("linear1"), width, MLP_RATIO * width);
        linear2 = Linear.fanIn(params.at("linear2"), MLP_RATIO * width, width);
        norm1 = new LayerNorm(params.at("norm1"), width, EPS);
        norm2 = new LayerNorm(params.at("norm2"), width, EPS);
        recomputing = params.recomputing();
    }

    /**
     * {@code [B, N, D]} to {@code [B, N, D]}; without recording, x is used up.
     *
     * @param bias added to the attention's scores, {@code [1 or B, heads, N, N]}
     */
    Tensor forward(Tensor x, Tensor bias, Dropout dropout) {
        if (Autograd.isRecording()) {
            return recomputing ? Autograd.recomputed(() -> train(x, bias, dropout)) : train(x, bias, dropout);
        }
        try (Scope scope = Scope.open()) {
            Tensor y = scope.keep(compute(x, bias));
            if (!y.sharesMemory(x)) {
                x.close();
            }
            return y;
        }
    }

    private Tensor train(Tensor x, Tensor bias, Dropout dropout) {
        return dropout.active() ? drop(x, bias, dropout) : compute(x, bias);
    }

    private Tensor compute(Tensor x, Tensor bias) {
        Tensor mixed = attention(qkv.forward(x), bias); // [B, N, D]
        Tensor attended = norm1.forward(out.addTo(x, mixed)); // [B, N, D]
        return norm2.forward(linear2.addAfterGelu(linear1, attended, attended)); // [B, N, D]
    }

    private Tensor attention(Tensor packed, Tensor bias) {
        return inBf16 ? Bf16Products.selfAttention(packed, heads, bias, null) : packed.selfAttention(heads, bias, null);
    }

    /** The same with elements dropped; the attention's weights are too, so they exist as a matrix. */
    private Tensor drop(Tensor x, Tensor bias, Dropout dropout) {
        Tensor packed = qkv.forward(x); // [B, N, 3 D]
        double scale = Math.sqrt(heads / (double) x.size(2));
        Tensor scores = part(packed, 0).matmul(part(packed, 1).transpose(2, 3)).mul(scale); // [B, heads, N, N]
        Tensor weights = dropout.apply(scores.add(bias).softmax(), 0);
        Tensor mixed = weights.matmul(part(packed, 2))
                .permute(0, 2, 1, 3)
                .reshape(x.shape().toArray()); // [B, N, D]
        Tensor attended = norm1.forward(x.add(dropout.apply(out.forward(mixed), 1))); // [B, N, D]
        Tensor hidden = dropout.apply(linear1.forwardGelu(attended), 2); // [B, N, 4 D]
        return norm2.forward(attended.add(dropout.apply(linear2.forward(hidden), 3))); // [B, N, D]
    }

    /** Queries, keys or values of a packed projection, {@code [B, heads, N, headDim]}. */
    private Tensor part(Tensor packed, int which) {
        long d = packed.size(2) / 3;
        return packed.slice(2, which * d, (which + 1) * d)
                .reshape(packed.size(0), packed.size(1), heads, d / heads)
                .permute(0, 2, 1, 3);
    }

    void pack(DType dtype) {
        qkv.pack(dtype);
        out.pack(dtype);
        linear1.pack(dtype);
        linear2.pack(dtype);
    }

    @Override
    public void close() {
        qkv.close();
        out.close();
        linear1.close();
        linear2.close();
    }
}
