package tessera.distill.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Option;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;

/** How large a model is: a published size, or numbers of one's own. */
final class SizeOptions {
    /** Names of the options that give numbers. */
    static final String[] NUMBERS = {"--dim", "--depth", "--heads"};

    @Option(
            names = "--size",
            paramLabel = "NAME",
            description = "tiny, small, base or large; small is ViT-S, which the papers use. Default: small")
    private @Nullable String size;

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
        VideoMaeConfig named = named(size == null ? "small" : size);
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
        return made(width, blocks, split, Math.min(blocks, named.decoderDepth()));
    }

    private static VideoMaeConfig named(String size) {
        return UsageErrors.naming(() -> VideoMaeConfig.of(size, Patches.plain(3, 2, 16)), "--size");
    }

    /**
     * As {@link #size()} where a checkpoint tells what is not given.
     *
     * @param itsHeads null where it does not tell them
     */
    ModelSize size(int itsWidth, int itsDepth, @Nullable Integer itsHeads) {
        if (size != null) {
            return size();
        }
        int width = dim == null ? itsWidth : dim;
        int blocks = depth == null ? itsDepth : depth;
        Integer split = heads == null ? itsHeads : heads;
        if (split == null) {
            throw new IllegalArgumentException(
                    "a width of " + width + " does not tell the attention heads; pass --heads with their number");
        }
        return made(width, blocks, split);
    }

    /** A model of these numbers, with half of the width and as published four blocks in the decoder. */
    static ModelSize made(int width, int blocks, int split) {
        return made(width, blocks, split, Math.min(blocks, 4));
    }

    private static ModelSize made(int width, int blocks, int split, int decoderBlocks) {
        if (width < 2 || blocks < 1 || split < 1 || width % (2 * split) != 0) {
            throw new IllegalArgumentException("--dim " + width + " --depth " + blocks + " --heads " + split
                    + " make no model; pass positive numbers, and a width that is a multiple of twice the heads");
        }
        int half = Math.max(1, split / 2);
        return new ModelSize(width, blocks, split, width / 2, decoderBlocks, width / 2 % half == 0 ? half : 1);
    }

    /**
     * Compares what was given with a model whose file tells its own sizes.
     *
     * @throws IllegalArgumentException if an option contradicts the file
     */
    void requireAsGiven(VideoMaeConfig own, Path file) {
        if (size != null) {
            VideoMaeConfig named = named(size);
            String asked = size + " (" + sizes(named.embedDim(), named.depth(), named.heads()) + ")";
            boolean same = (dim != null || named.embedDim() == own.embedDim())
                    && (depth != null || named.depth() == own.depth())
                    && (heads != null || named.heads() == own.heads());
            requireEqual("--size", asked, same ? asked : sizes(own.embedDim(), own.depth(), own.heads()), file);
        }
        requireEqual("--dim", dim == null ? own.embedDim() : dim, own.embedDim(), file);
        requireEqual("--depth", depth == null ? own.depth() : depth, own.depth(), file);
        requireEqual("--heads", heads == null ? own.heads() : heads, own.heads(), file);
    }

    private static String sizes(int dim, int depth, int heads) {
        return "width " + dim + ", " + depth + " blocks, " + heads + " heads";
    }

    /** Refuses an option that contradicts what a file says of its model. */
    static void requireEqual(String option, Object given, Object own, Path file) {
        if (!given.equals(own)) {
            throw new IllegalArgumentException(
                    option + " is " + given + " but " + file + " says " + own + " of its model; leave it away");
        }
    }
}
