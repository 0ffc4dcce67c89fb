package tessera.nn.swin;

import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;

/**
 * Blocks of one width, with windows that are shifted in every other one, and patch merging after all stages but the last.
 * Parameter names {@code features.{2 stage}.{block}.*} and {@code features.{2 stage + 1}.*}.
 */
final class SwinStage implements AutoCloseable {
    private final int first;
    private final int depth;
    private final List<WindowPartition> partitions = new ArrayList<>();
    private final List<SwinBlock> blocks = new ArrayList<>();
    private final @Nullable PatchMerging merging;

    SwinStage(Params params, SwinConfig config, int stage) {
        first = config.depths().subList(0, stage).stream()
                .mapToInt(Integer::intValue)
                .sum();
        depth = config.depth();
        TokenGrid grid = config.gridOf(stage);
        Params features = params.at("features");
        for (int i = 0; i < config.depths().get(stage); i++) {
            if (i < 2) {
                partitions.add(new WindowPartition(params.device(), grid, config.window(), i == 1));
            }
            blocks.add(new SwinBlock(features.at(2 * stage).at(i), config, stage, partitions.get(i % 2)));
        }
        merging =
                stage + 1 < config.depths().size() ? new PatchMerging(features.at(2 * stage + 1), config, stage) : null;
    }

    /** {@code [B, N, D]} to the next stage's; drop is that of the whole network. */
    Tensor forward(Tensor x, DropPath drop) {
        Tensor y = x;
        for (int i = 0; i < blocks.size(); i++) {
            y = blocks.get(i).forward(y, drop.ofBlock(first + i, depth)); // [B, N, D]
        }
        return merging == null ? y : merging.forward(y);
    }

    void pack(DType dtype) {
        blocks.forEach(block -> block.pack(dtype));
        if (merging != null) {
            merging.pack(dtype);
        }
    }

    @Override
    public void close() {
        blocks.forEach(SwinBlock::close);
        partitions.forEach(WindowPartition::close);
        if (merging != null) {
            merging.close();
        }
    }
}
