package tessera.nn.swin;

import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.Init;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Bf16Products;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Multi-head self-attention inside windows, with a learned bias for each relative position of query and key: {@code softmax(q k^T
 * / sqrt(d) + B + mask) v}, equation 3 and section 3.2 of the paper.
 */
final class WindowAttention implements AutoCloseable {
    private final WindowPartition windows;
    private final int heads;
    private final DType compute;
    private final boolean inBf16;
    private final Tensor table;
    private final Linear qkv;
    private final Linear proj;
    private @Nullable Tensor packedBias;

    WindowAttention(Params params, SwinConfig config, int stage, WindowPartition windows) {
        int width = config.width(stage);
        this.windows = windows;
        this.heads = config.heads().get(stage);
        compute = params.compute();
        inBf16 = params.attentionInBf16();
        table = params.get(
                "relative_position_bias_table",
                Init.truncatedNormal(.02, 2),
                Windows.relativePositions(config.window()),
                heads);
        qkv = Linear.normal(params.at("qkv"), width, 3L * width, config.initialStd(width));
        proj = Linear.normal(params.at("proj"), width, width, config.initialStd(width));
    }

    /** {@code attention(x)} for x {@code [B, N, D]}. */
    Tensor forward(Tensor x) {
        return proj.forward(mix(x));
    }

    /** {@code residual + attention(x)}. */
    Tensor addTo(Tensor residual, Tensor x) {
        return proj.addTo(residual, mix(x));
    }

    /** Tokens return to the grid before the projection, which is the same for every token and so skips the padding. */
    private Tensor mix(Tensor x) {
        Tensor packed = qkv.forward(windows.partition(x)); // [B * windows, window, 3 D]
        Tensor mixed = inBf16
                ? Bf16Products.selfAttention(packed, heads, bias(), windows.regions())
                : packed.selfAttention(heads, bias(), windows.regions());
        return windows.reverse(mixed); // [B, N, D]
    }

    private Tensor bias() {
        Tensor fast = packedBias;
        return fast != null && !Autograd.isRecording() ? fast : expand();
    }

    /** The table by pairs: {@code [1, heads, window, window]}. */
    private Tensor expand() {
        Tensor pairs = table.embedding(windows.relativeIndex()); // [window, window, heads]
        return pairs.permute(2, 0, 1)
                .contiguous()
                .reshape(1, heads, pairs.size(0), pairs.size(1))
                .to(compute);
    }

    void pack(DType dtype) {
        close();
        qkv.pack(dtype);
        proj.pack(dtype);
        packedBias = Scope.outside(() -> Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                return scope.keep(expand());
            }
        }));
    }

    @Override
    public void close() {
        qkv.close();
        proj.close();
        if (packedBias != null) {
            packedBias.close();
            packedBias = null;
        }
    }
}
