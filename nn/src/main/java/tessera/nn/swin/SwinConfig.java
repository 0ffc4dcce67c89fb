package tessera.nn.swin;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.nn.Architecture;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.ConfigEntries;
import tessera.nn.ModelConfig;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.tensor.Patches;

/**
 * Sizes of a Swin3D. Immutable. Clips may be of any size: what is no multiple of the patch is padded.
 *
 * @param patches patch size and normalisation of the input
 * @param frames frames of a clip
 * @param height pixels
 * @param width pixels
 * @param embedDim width of the first stage; each further one is twice as wide
 * @param depths blocks of each stage
 * @param heads attention heads of each stage
 * @param window tokens of a window in time, rows and columns
 * @param layerNormEps added to variances
 */
public record SwinConfig(
        Patches patches,
        int frames,
        int height,
        int width,
        int embedDim,
        List<Integer> depths,
        List<Integer> heads,
        TokenGrid window,
        double layerNormEps)
        implements ModelConfig {

    /** The published rate of stochastic depth, in the last block. */
    public static final double DROP_PATH = .2;

    private static final int PUBLISHED_WIDTH = 96;
    private static final int DEEPEST = 1024;
    private static final int WIDEST = 1 << 16;
    /** Tokens times width; 2.4 million in the published models. */
    private static final long MOST_VALUES = 1L << 28;
    /** Tokens of a window; 392 in the published models. */
    private static final long LARGEST_WINDOW = 1 << 12;

    public SwinConfig {
        patches = patches.padded();
        depths = List.copyOf(depths);
        heads = List.copyOf(heads);
        require(
                frames > 0 && height > 0 && width > 0,
                "clips of " + frames + " frames of " + height + " x " + width + " pixels are not possible");
        require(
                !depths.isEmpty() && depths.size() == heads.size() && depths.size() <= 16,
                "depths " + depths + " and heads " + heads + " do not name the same one to sixteen stages");
        require(
                depths.stream().allMatch(depth -> depth > 0 && depth <= DEEPEST),
                "depths " + depths + " are not possible; give each stage 1 to " + DEEPEST + " blocks");
        for (int stage = 0; stage < depths.size(); stage++) {
            long wide = (long) embedDim << stage;
            int count = heads.get(stage);
            require(
                    wide > 0 && wide <= WIDEST && count > 0 && wide % count == 0,
                    "stage " + stage + " of width " + wide + " cannot have " + count + " heads");
        }
        require(
                window.slots() > 0
                        && window.rows() > 0
                        && window.columns() > 0
                        && (double) window.slots() * window.rows() * window.columns() <= LARGEST_WINDOW,
                "windows of " + Windows.text(window) + " tokens are not possible; pass at most " + LARGEST_WINDOW
                        + " tokens");
        // A damaged file must not make a reader allocate what its numbers claim.
        double values = (double) ceil(frames, patches.tubelet())
                * ceil(height, patches.patch())
                * ceil(width, patches.patch())
                * embedDim;
        require(
                values <= MOST_VALUES,
                "clips of " + frames + " frames of " + height + " x " + width + " pixels at a width of " + embedDim
                        + " are more than " + MOST_VALUES + " tokens times width");
    }

    private static void require(boolean ok, String problem) {
        if (!ok) {
            throw new IllegalArgumentException("Swin3D: " + problem);
        }
    }

    static int ceil(int size, int part) {
        return Math.ceilDiv(size, part);
    }

    /**
     * Swin3D-T (Swin-T in the paper): 27,850,470 parameters with three channels.
     *
     * @param channels 1, 2 or 3 (any number is possible)
     * @param scale factor on raw values, 1/255 for u8 pixels
     * @param mean per channel, subtracted after scaling
     * @param std per channel, divided by
     */
    public static SwinConfig tiny(
            int channels, double scale, double[] mean, double[] std, int frames, int height, int width) {
        return new SwinConfig(
                new Patches(channels, 2, 4, scale, mean, std),
                frames,
                height,
                width,
                PUBLISHED_WIDTH,
                List.of(2, 2, 6, 2),
                List.of(3, 6, 12, 24),
                new TokenGrid(8, 7, 7),
                1e-5);
    }

    /** Tokens at the entrance of a stage: each merging halves rows and columns, rounding up. */
    TokenGrid gridOf(int stage) {
        TokenGrid grid = new TokenGrid(
                ceil(frames, patches.tubelet()), ceil(height, patches.patch()), ceil(width, patches.patch()));
        for (int i = 0; i < stage; i++) {
            grid = Windows.merged(grid);
        }
        return grid;
    }

    /** Width of a stage. */
    int width(int stage) {
        return embedDim << stage;
    }

    /**
     * Standard deviation of fresh weights of a layer: .02, as published, from a first stage as wide as Swin3D-T's on. In narrower
     * models, our choice, one over the root of the layer's inputs (LeCun et al., Efficient BackProp, 1998): with .02 their residual
     * branches start near 0 and learning takes twice as many steps.
     */
    double initialStd(long in) {
        return embedDim < PUBLISHED_WIDTH ? 1 / Math.sqrt((double) in) : .02;
    }

    /** Blocks of all stages. */
    public int depth() {
        return depths.stream().mapToInt(Integer::intValue).sum();
    }

    @Override
    public ClipShape input() {
        return new ClipShape(frames, height, width, patches.channels());
    }

    /** Null: windows need every token. */
    @Override
    public @Nullable TokenGrid grid() {
        return null;
    }

    /** Those of the last stage alone: others are not as wide. */
    @Override
    public @Nullable TokenGrid tokens(int block) {
        return block == Pooling.LAST ? gridOf(depths.size() - 1) : null;
    }

    @Override
    public int featureWidth() {
        return width(depths.size() - 1);
    }

    @Override
    public Map<String, String> toMetadata() {
        Map<String, String> entries = new LinkedHashMap<>();
        entries.put(Architecture.ENTRY, SwinArchitecture.NAME);
        ConfigEntries.put(entries, patches);
        entries.put("tessera.frames", Integer.toString(frames));
        entries.put("tessera.height", Integer.toString(height));
        entries.put("tessera.width", Integer.toString(width));
        entries.put("tessera.embedDim", Integer.toString(embedDim));
        entries.put("tessera.depths", ConfigEntries.join(ints(depths)));
        entries.put("tessera.heads", ConfigEntries.join(ints(heads)));
        entries.put("tessera.window", ConfigEntries.join(window.slots(), window.rows(), window.columns()));
        entries.put("tessera.layerNormEps", Double.toString(layerNormEps));
        return entries;
    }

    private static int[] ints(List<Integer> values) {
        return values.stream().mapToInt(Integer::intValue).toArray();
    }

    /**
     * Reads what {@link #toMetadata} wrote.
     *
     * @throws CheckpointException if an entry is missing or no number, or the numbers make no model
     */
    public static SwinConfig fromMetadata(Map<String, String> metadata) {
        ConfigEntries entries = new ConfigEntries(metadata);
        try {
            return new SwinConfig(
                    entries.patches(),
                    entries.integer("frames"),
                    entries.integer("height"),
                    entries.integer("width"),
                    entries.integer("embedDim"),
                    list(entries.integers("depths")),
                    list(entries.integers("heads")),
                    window(entries.integers("window")),
                    entries.number("layerNormEps"));
        } catch (CheckpointException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new CheckpointException("the checkpoint's metadata describe no model: " + e.getMessage());
        }
    }

    private static List<Integer> list(int[] values) {
        List<Integer> list = new ArrayList<>();
        for (int value : values) {
            list.add(value);
        }
        return list;
    }

    private static TokenGrid window(int[] sizes) {
        require(sizes.length == 3, "a window has three sizes, not " + sizes.length);
        return new TokenGrid(sizes[0], sizes[1], sizes[2]);
    }
}
