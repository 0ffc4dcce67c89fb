package tessera.nn.swin;

import tessera.kernels.DType;
import tessera.nn.DropPath;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** Swin's block: {@code x += attn(norm1(x)); x += mlp(norm2(x))} with attention inside windows, shifted in every other block. */
final class SwinBlock implements AutoCloseable {
    private static final int MLP_RATIO = 4;

    private final LayerNorm norm1;
    private final WindowAttention attn;
    private final LayerNorm norm2;
    private final Linear fc1;
    private final Linear fc2;
    private final boolean recomputing;

    SwinBlock(Params params, SwinConfig config, int stage, WindowPartition windows) {
        int width = config.width(stage);
        double eps = config.layerNormEps();
        norm1 = new LayerNorm(params.at("norm1"), width, eps);
        attn = new WindowAttention(params.at("attn"), config, stage, windows);
        norm2 = new LayerNorm(params.at("norm2"), width, eps);
        fc1 = Linear.normal(params.at("mlp").at(0), width, (long) MLP_RATIO * width, config.initialStd(width));
        fc2 = Linear.normal(
                params.at("mlp").at(3), (long) MLP_RATIO * width, width, config.initialStd((long) MLP_RATIO * width));
        recomputing = params.recomputing();
    }

    /** {@code [B, N, D]} to {@code [B, N, D]}; without recording, x is used up. */
    Tensor forward(Tensor x, DropPath drop) {
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

    private Tensor compute(Tensor x) {
        Tensor mixed = attn.addTo(x, norm1.forward(x)); // [B, N, D]
        return fc2.addAfterGelu(fc1, mixed, norm2.forward(mixed)); // [B, N, D]
    }

    private Tensor train(Tensor x, DropPath drop) {
        if (drop.rate() == 0) {
            return compute(x);
        }
        Tensor mixed = drop.add(x, attn.forward(norm1.forward(x)), 0); // [B, N, D]
        return drop.add(mixed, fc2.afterGelu(fc1, norm2.forward(mixed)), 1); // [B, N, D]
    }

    void pack(DType dtype) {
        attn.pack(dtype);
        fc1.pack(dtype);
        fc2.pack(dtype);
    }

    @Override
    public void close() {
        attn.close();
        fc1.close();
        fc2.close();
    }
}
