package tessera.distill.cli;

import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/** How large a model is: a published size, or numbers of one's own. */
final class SizeOptions {

    @Option(
            names = "--size",
            paramLabel = "NAME",
            description = "tiny, small, base or large; small is ViT-S, which the papers use. Default: ${DEFAULT-VALUE}")
    private String size = "small";

    @Option(
            names = "--dim",
            paramLabel = "D",
            description = "Width of the encoder instead of the size's; the decoder has half.")
    private @Nullable Integer dim;

    @Option(names = "--depth", paramLabel = "L", description = "Blocks of the encoder instead of the size's.")
    private @Nullable Integer depth;

    @Option(names = "--heads", paramLabel = "H", description = "Attention heads of the encoder instead of the size's.")
    private @Nullable Integer heads;

    ModelSize size() {
        VideoMaeConfig named = VideoMaeConfig.of(size, Patches.plain(3, 2, 16));
        if (dim == null && depth == null && heads == null) {
            return new ModelSize(
                    named.embedDim(),
                    named.depth(),
                    named.heads(),
                    named.decoderDim(),
                    named.decoderDepth(),
                    named.decoderHeads());
        }
        int width = dim == null ? named.embedDim() : dim;
        int blocks = depth == null ? named.depth() : depth;
        // Published widths have 64 numbers for each head.
        int split = heads == null ? Math.max(1, width / 64) : heads;
        if (width < 2 || blocks < 1 || split < 1 || width % (2 * split) != 0) {
            throw new IllegalArgumentException("--dim " + width + " --depth " + blocks + " --heads " + split
                    + " make no model; pass positive numbers, and a width that is a multiple of twice the heads");
        }
        return new ModelSize(
                width, blocks, split, width / 2, Math.min(blocks, named.decoderDepth()), Math.max(1, split / 2));
    }
}
