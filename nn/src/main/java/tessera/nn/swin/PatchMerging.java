package tessera.nn.swin;

import tessera.kernels.DType;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;

/** Halves rows and columns: each 2 x 2 tokens become one of twice the width. Time stays. */
final class PatchMerging implements AutoCloseable {
    private final Rearrangement order;
    private final LayerNorm norm;
    private final Linear reduction;

    PatchMerging(Params params, SwinConfig config, int stage) {
        TokenGrid grid = config.gridOf(stage);
        int width = config.width(stage);
        int[] index = Windows.merging(grid);
        order = Rearrangement.of(params.device(), index, Windows.inverse(index, grid.tokens()));
        reduction =
                Linear.normalWithoutBias(params.at("reduction"), 4L * width, 2L * width, config.initialStd(4L * width));
        norm = new LayerNorm(params.at("norm"), 4L * width, config.layerNormEps());
    }

    /** {@code [B, N, D]} to {@code [B, about N / 4, 2 D]}. */
    Tensor forward(Tensor x) {
        Tensor quads = order.there(x); // [B, 4 M, D]
        Tensor joined = quads.reshape(x.size(0), quads.size(1) / 4, 4 * x.size(2)); // [B, M, 4 D]
        return reduction.forward(norm.forward(joined)); // [B, M, 2 D]
    }

    void pack(DType dtype) {
        reduction.pack(dtype);
    }

    @Override
    public void close() {
        reduction.close();
        order.close();
    }
}
