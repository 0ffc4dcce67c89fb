package tessera.nn;

import tessera.kernels.DType;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Pre-norm transformer block: {@code x += attn(norm1(x)); x += fc2(gelu(fc1(norm2(x))))}. */
public final class Block implements AutoCloseable {
    /** How many times as wide as the tokens an MLP is unless it is said. */
    public static final int MLP_RATIO = 4;

    private final LayerNorm norm1;
    private final Attention attn;
    private final LayerNorm norm2;
    private final Linear fc1;
    private final Linear fc2;
    private final boolean recomputing;

    /** Builds the block, with an MLP four times as wide. */
    public Block(Params params, long width, int heads, double eps, boolean keyBias) {
        this(params, width, MLP_RATIO * width, heads, eps, keyBias);
    }

    /**
     * Builds the block.
     *
     * @param mlp width of the MLP between its two layers
     */
    public Block(Params params, long width, long mlp, int heads, double eps, boolean keyBias) {
        norm1 = new LayerNorm(params.at("norm1"), width, eps);
        attn = new Attention(params.at("attn"), width, heads, keyBias);
        norm2 = new LayerNorm(params.at("norm2"), width, eps);
        fc1 = Linear.xavier(params.at("mlp").at("fc1"), width, mlp);
        fc2 = Linear.xavier(params.at("mlp").at("fc2"), mlp, width);
        recomputing = params.recomputing();
    }

    /** {@code [B, N, D]} to {@code [B, N, D]}; without recording, x is used up. */
    public Tensor forward(Tensor x) {
        return forward(x, DropPath.NONE);
    }

    /** The same in training, where {@code drop} leaves branches out while gradients are recorded. */
    public Tensor forward(Tensor x, DropPath drop) {
        if (Autograd.isRecording()) {
            return recomputing ? Autograd.recomputed(() -> train(x, drop)) : train(x, drop);
        }
        try (Scope scope = Scope.open()) {
            Tensor y = scope.keep(compute(x));
            if (!y.sharesMemory(x)) {
                x.close();
            }
            return y;
        }
    }

    /**
     * The same in inference for tokens that stand for several each; those given are used up.
     *
     * @param merged tokens of a clip that are merged away between attention and MLP, at most half of them; 0 where clips have different
     *     numbers
     */
    public TokenGroups forward(TokenGroups tokens, int merged) {
        Tensor x = tokens.x();
        try (Scope scope = Scope.open()) {
            Tensor qkv = attn.project(norm1, x);
            TokenGroups mixed = tokens.with(attn.addTo(x, tokens, qkv));
            TokenGroups fewer = merged == 0 ? mixed : mixed.merge(attn.keys(qkv), merged);
            Tensor y = scope.keep(fc2.addAfterGelu(fc1, norm2, fewer.x()));
            if (!y.sharesMemory(x)) {
                x.close();
            }
            return fewer.with(y);
        }
    }

    private Tensor train(Tensor x, DropPath drop) {
        if (drop.rate() == 0) {
            return compute(x);
        }
        Tensor mixed = drop.add(x, attn.forward(norm1.forward(x)), 0); // [B, N, D]
        return drop.add(mixed, fc2.afterGelu(fc1, norm2.forward(mixed)), 1); // [B, N, D]
    }

    private Tensor compute(Tensor x) {
        Tensor mixed = attn.addTo(norm1, x); // [B, N, D]
        return fc2.addAfterGelu(fc1, norm2, mixed); // [B, N, D]
    }

    /** Lays the weights out for inference in a type; later changes of the parameters do not show. */
    public void pack(DType dtype) {
        attn.pack(dtype, norm1);
        fc1.pack(dtype, norm2);
        fc2.pack(dtype);
    }

    @Override
    public void close() {
        attn.close();
        fc1.close();
        fc2.close();
    }
}
