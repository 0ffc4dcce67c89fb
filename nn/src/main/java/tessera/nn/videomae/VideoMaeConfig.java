package tessera.nn.videomae;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.nn.Architecture;
import tessera.nn.Block;
import tessera.nn.CheckpointException;
import tessera.nn.ClipShape;
import tessera.nn.ConfigEntries;
import tessera.nn.ModelConfig;
import tessera.nn.Pooling;
import tessera.nn.TokenGrid;
import tessera.tensor.Patches;

/**
 * Sizes of a VideoMAE (Tong et al., NeurIPS 2022) for one modality. Immutable.
 *
 * @param patches patch size and normalisation of the input
 * @param frames frames of a clip
 * @param height pixels
 * @param width pixels
 * @param embedDim width of the encoder
 * @param depth blocks of the encoder
 * @param heads attention heads of the encoder
 * @param decoderDim width of the decoder
 * @param decoderDepth blocks of the decoder
 * @param decoderHeads attention heads of the decoder
 * @param layerNormEps added to variances in the blocks and the encoder's final norm
 * @param outputNormEps added to variances in the decoder's final norm and the classifier's norm
 * @param encoderNorm whether the encoder ends in a norm of every token
 * @param keyBias whether attention keys have a bias
 * @param meanPooling whether a clip's feature is the normed mean of its tokens, as in every published model; or else its first
 *     visible token, which BERT's kind of head reads, with no norm but the encoder's
 * @param mlpDim width between the two layers of the MLP in each block of the encoder; in the decoder it is four times its width
 */
public record VideoMaeConfig(
        Patches patches,
        int frames,
        int height,
        int width,
        int embedDim,
        int depth,
        int heads,
        int decoderDim,
        int decoderDepth,
        int decoderHeads,
        double layerNormEps,
        double outputNormEps,
        boolean encoderNorm,
        boolean keyBias,
        boolean meanPooling,
        int mlpDim)
        implements ModelConfig {

    private static final int DEEPEST = 1024;
    /** Tokens times width; 2.4 million in the largest published model. */
    private static final long MOST_POSITIONS = 1L << 26;
    /** MLPs against tokens; 4 in nearly all published models, 48/11 in the largest. */
    private static final long MOST_TIMES_AS_WIDE = 64;

    public VideoMaeConfig {
        require(
                frames > 0 && frames % patches.tubelet() == 0,
                frames + " frames are no whole number of tubelets of " + patches.tubelet());
        require(
                height > 0 && width > 0 && height % patches.patch() == 0 && width % patches.patch() == 0,
                height + " x " + width + " pixels are no whole number of patches of " + patches.patch());
        require(
                heads > 0 && embedDim > 0 && embedDim % heads == 0 && depth >= 0 && mlpDim > 0,
                "an encoder of width " + embedDim + ", depth " + depth + ", " + heads + " heads and MLPs of " + mlpDim
                        + " is not possible");
        require(
                decoderHeads > 0 && decoderDim > 0 && decoderDim % decoderHeads == 0 && decoderDepth >= 0,
                "a decoder of width " + decoderDim + ", depth " + decoderDepth + " and " + decoderHeads
                        + " heads is not possible");
        // A damaged file must not make a reader allocate what its numbers claim.
        long cells = (long) (height / patches.patch()) * (width / patches.patch());
        int slots = frames / patches.tubelet();
        double positions = (double) cells * slots * Math.max(embedDim, decoderDim);
        if (positions > MOST_POSITIONS
                || Math.max(depth, decoderDepth) > DEEPEST
                || mlpDim > MOST_TIMES_AS_WIDE * embedDim) {
            throw new IllegalArgumentException("VideoMAE: " + frames + " frames of " + height + " x " + width
                    + " pixels, widths of " + embedDim + " and " + decoderDim + ", MLPs of " + mlpDim
                    + " and depths of " + depth + " and " + decoderDepth
                    + " are more than any model has; pass at most " + DEEPEST + " blocks, " + MOST_POSITIONS
                    + " tokens times width and MLPs " + MOST_TIMES_AS_WIDE + " times as wide");
        }
    }

    /** Sizes of a model whose features are means, with MLPs four times as wide as its tokens. */
    public VideoMaeConfig(
            Patches patches,
            int frames,
            int height,
            int width,
            int embedDim,
            int depth,
            int heads,
            int decoderDim,
            int decoderDepth,
            int decoderHeads,
            double layerNormEps,
            double outputNormEps,
            boolean encoderNorm,
            boolean keyBias) {
        this(
                patches,
                frames,
                height,
                width,
                embedDim,
                depth,
                heads,
                decoderDim,
                decoderDepth,
                decoderHeads,
                layerNormEps,
                outputNormEps,
                encoderNorm,
                keyBias,
                true,
                fourTimes(embedDim));
    }

    private static int fourTimes(int embedDim) {
        // A width that is too large is refused for itself.
        return Block.MLP_RATIO * Math.min(embedDim, Integer.MAX_VALUE / Block.MLP_RATIO);
    }

    private static void require(boolean ok, String problem) {
        if (!ok) {
            throw new IllegalArgumentException("VideoMAE: " + problem + "; pass sizes that divide");
        }
    }

    /**
     * The published sizes and, below them, {@code tiny} for trying things.
     *
     * @param size tiny, small, base or large
     * @param patches input of the modality; height and width are 14 patches
     * @throws IllegalArgumentException for another size
     */
    public static VideoMaeConfig of(String size, Patches patches) {
        int side = 14 * patches.patch();
        return switch (size.toLowerCase(Locale.ROOT)) {
            case "tiny" -> make(patches, side, 192, 12, 3, 96, 4, 3);
            case "small" -> make(patches, side, 384, 12, 6, 192, 4, 3);
            case "base" -> make(patches, side, 768, 12, 12, 384, 4, 6);
            case "large" -> make(patches, side, 1024, 24, 16, 512, 12, 8);
            default ->
                throw new IllegalArgumentException(
                        "there is no VideoMAE size '" + size + "'; pass tiny, small, base or large");
        };
    }

    private static VideoMaeConfig make(
            Patches patches,
            int side,
            int embedDim,
            int depth,
            int heads,
            int decoderDim,
            int decoderDepth,
            int decoderHeads) {
        return new VideoMaeConfig(
                patches,
                16,
                side,
                side,
                embedDim,
                depth,
                heads,
                decoderDim,
                decoderDepth,
                decoderHeads,
                1e-6,
                1e-6,
                true,
                false);
    }

    /** The same model with other epsilons. */
    public VideoMaeConfig withEps(double layerNorm, double outputNorm) {
        return with(patches, layerNorm, outputNorm);
    }

    /** The same model whose input is normalised by one mean and one standard deviation for all channels, after the scale. */
    public VideoMaeConfig withNormalisation(double mean, double std) {
        double[] means = new double[patches.channels()];
        double[] stds = new double[patches.channels()];
        Arrays.fill(means, mean);
        Arrays.fill(stds, std);
        return with(
                new Patches(patches.channels(), patches.tubelet(), patches.patch(), patches.scale(), means, stds),
                layerNormEps,
                outputNormEps);
    }

    /**
     * The same with MLPs of another width in the encoder.
     *
     * @throws IllegalArgumentException if it is not positive, or more than a model may have
     */
    public VideoMaeConfig withMlp(int width) {
        return with(patches, layerNormEps, outputNormEps, width);
    }

    private VideoMaeConfig with(Patches input, double layerNorm, double outputNorm) {
        return with(input, layerNorm, outputNorm, mlpDim);
    }

    private VideoMaeConfig with(Patches input, double layerNorm, double outputNorm, int mlp) {
        return new VideoMaeConfig(
                input,
                frames,
                height,
                width,
                embedDim,
                depth,
                heads,
                decoderDim,
                decoderDepth,
                decoderHeads,
                layerNorm,
                outputNorm,
                encoderNorm,
                keyBias,
                meanPooling,
                mlp);
    }

    /** Time slots of the token grid. */
    public int slots() {
        return frames / patches.tubelet();
    }

    /** Tokens of one slot. */
    public int plane() {
        return (height / patches.patch()) * (width / patches.patch());
    }

    /** Tokens of a clip. */
    public int tokens() {
        return slots() * plane();
    }

    @Override
    public ClipShape input() {
        return new ClipShape(frames, height, width, patches.channels());
    }

    @Override
    public TokenGrid grid() {
        return new TokenGrid(slots(), height / patches.patch(), width / patches.patch());
    }

    /** The same grid after every block. */
    @Override
    public @Nullable TokenGrid tokens(int block) {
        return block >= Pooling.LAST && block <= depth ? grid() : null;
    }

    @Override
    public int featureWidth() {
        return embedDim;
    }

    @Override
    public Map<String, String> toMetadata() {
        Map<String, String> entries = new LinkedHashMap<>();
        entries.put(Architecture.ENTRY, VideoMaeArchitecture.NAME);
        ConfigEntries.put(entries, patches);
        entries.put("tessera.frames", Integer.toString(frames));
        entries.put("tessera.height", Integer.toString(height));
        entries.put("tessera.width", Integer.toString(width));
        entries.put("tessera.embedDim", Integer.toString(embedDim));
        entries.put("tessera.depth", Integer.toString(depth));
        entries.put("tessera.heads", Integer.toString(heads));
        entries.put("tessera.decoderDim", Integer.toString(decoderDim));
        entries.put("tessera.decoderDepth", Integer.toString(decoderDepth));
        entries.put("tessera.decoderHeads", Integer.toString(decoderHeads));
        entries.put("tessera.layerNormEps", Double.toString(layerNormEps));
        entries.put("tessera.outputNormEps", Double.toString(outputNormEps));
        entries.put("tessera.encoderNorm", Boolean.toString(encoderNorm));
        entries.put("tessera.keyBias", Boolean.toString(keyBias));
        if (!meanPooling) { // rare, and files before it do not say
            entries.put("tessera.meanPooling", "false");
        }
        if (mlpDim != Block.MLP_RATIO * embedDim) { // as rare
            entries.put("tessera.mlpDim", Integer.toString(mlpDim));
        }
        return entries;
    }

    /**
     * Reads what {@link #toMetadata} wrote; files without {@link Architecture#ENTRY} are taken for VideoMAE's.
     *
     * @throws CheckpointException if an entry is missing or no number, or the numbers make no model
     */
    public static VideoMaeConfig fromMetadata(Map<String, String> entries) {
        String architecture = entries.getOrDefault(Architecture.ENTRY, VideoMaeArchitecture.NAME);
        if (!architecture.equals(VideoMaeArchitecture.NAME)) {
            throw new CheckpointException("the checkpoint holds a model of architecture '" + architecture
                    + "', not videomae; pass a VideoMAE checkpoint");
        }
        try {
            return read(new ConfigEntries(entries));
        } catch (CheckpointException e) {
            throw e;
        } catch (IllegalArgumentException e) {
            throw new CheckpointException("the checkpoint's metadata describe no model: " + e.getMessage());
        }
    }

    private static VideoMaeConfig read(ConfigEntries entries) {
        int embedDim = entries.integer("embedDim");
        int mlpDim = entries.metadata().containsKey("tessera.mlpDim") ? entries.integer("mlpDim") : fourTimes(embedDim);
        return new VideoMaeConfig(
                entries.patches(),
                entries.integer("frames"),
                entries.integer("height"),
                entries.integer("width"),
                embedDim,
                entries.integer("depth"),
                entries.integer("heads"),
                entries.integer("decoderDim"),
                entries.integer("decoderDepth"),
                entries.integer("decoderHeads"),
                entries.number("layerNormEps"),
                entries.number("outputNormEps"),
                Boolean.parseBoolean(entries.text("encoderNorm")),
                Boolean.parseBoolean(entries.text("keyBias")),
                Boolean.parseBoolean(entries.metadata().getOrDefault("tessera.meanPooling", "true")),
                mlpDim);
    }
}
