package tessera.distill.cli;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.nn.CheckpointException;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Tensor;

/**
 * The architecture of a public VideoMAE: told by its weights as far as they go, by the {@link PublishedConfig} with it, and by what
 * its code has where neither says.
 *
 * @param weights under the names of the original code
 * @param huggingFace whether they had transformers' names, whose code has other epsilons than the original
 * @param described by a file beside, or null
 */
record PublishedVideoMae(
        Map<String, Tensor> weights,
        boolean huggingFace,
        @Nullable PublishedConfig described) {
    private static final String PATCH_WEIGHT = "encoder.patch_embed.proj.weight";
    private static final Pattern BLOCK = Pattern.compile("encoder\\.blocks\\.(\\d+)\\..*");
    private static final int GRID = 14;
    private static final int SLOTS = 8;
    private static final int HEAD_WIDTH = 64;
    /** transformers' converter wrote 16 heads for ViT-S, whose weights were trained with 6. */
    private static final int SMALL = 384;

    private static final int CONVERTERS_HEADS = 16;
    /** Widths whose 16 heads have other numbers of values: ViT-H and VideoMAE V2's ViT-g. */
    private static final Set<Integer> SIXTEEN_HEADS = Set.of(1280, 1408);

    /** What the original code adds to variances, transformers to those of the blocks by default, and PyTorch where nobody says. */
    private static final double ORIGINAL_EPS = 1e-6;

    private static final double TRANSFORMERS_EPS = 1e-12;
    private static final double PYTORCH_EPS = 1e-5;

    /** What was asked for, null where it was not. */
    record Asked(
            SizeOptions size,
            @Nullable Integer heads,
            @Nullable Modality modality,
            @Nullable Integer frames,
            @Nullable Integer pixels) {}

    /** The patch embedding, {@code [width, channels, tubelet, patch, patch]}. */
    private Tensor embedding() {
        Tensor embedding = weights.get(PATCH_WEIGHT);
        if (embedding == null || embedding.rank() != 5 || embedding.shape().count() == 0) {
            String found = embedding == null
                    ? "under any known name"
                    : "but " + embedding.describe()
                            + (embedding.rank() == 4 ? ", that of a model of single pictures" : "");
            throw new CheckpointException("there is no patch embedding " + PATCH_WEIGHT
                    + " [width, channels, tubelet, patch, patch] " + found + "; pass a VideoMAE checkpoint");
        }
        return embedding;
    }

    private int blocks() {
        int blocks = 0;
        for (String name : weights.keySet()) {
            Matcher block = BLOCK.matcher(name);
            if (block.matches() && block.group(1).length() < 5) {
                blocks = Math.max(blocks, Integer.parseInt(block.group(1)) + 1);
            }
        }
        return blocks;
    }

    /** What a model of these channels sees, if it was not said. */
    private Modality modality(@Nullable Modality asked) {
        long channels = embedding().size(1);
        return asked != null
                ? asked
                : Modality.KNOWN.stream()
                        .filter(known -> known.layout().channels() == channels)
                        .findFirst()
                        .orElse(Modality.RGB);
    }

    /** Whether it was fine-tuned on classes. */
    private boolean hasHead() {
        return weights.containsKey("head.weight");
    }

    /** Whether the features of its head are means; transformers' default, and of the original code where it has a norm for them. */
    private boolean meanPooling() {
        if (!hasHead()) {
            return true;
        }
        boolean normed = weights.containsKey("fc_norm.weight");
        boolean tokens = weights.containsKey("encoder.norm.weight");
        if (described == null) {
            return normed || !tokens;
        }
        boolean pooled = described.flag(true, "use_mean_pooling");
        if (!pooled && normed && !tokens) {
            throw new IllegalArgumentException(
                    described.file() + ": use_mean_pooling is false but the weights have"
                            + " fc_norm, the norm of a mean, and no layernorm of tokens; pass the config.json of these weights");
        }
        return pooled;
    }

    /** Its sizes and details, unless an option contradicts what a file says. */
    VideoMaeConfig config(Asked asked, FlowStats flow) {
        requireKnown();
        Tensor embedding = embedding();
        int patch = Math.toIntExact(embedding.size(3));
        int tubelet = Math.toIntExact(embedding.size(2));
        requireOfWeights("patch_size", patch);
        requireOfWeights("tubelet_size", tubelet);
        requireOfWeights("num_channels", embedding.size(1));
        Integer told = told("image_size", "img_size");
        int grid = patch == 14 ? 16 : GRID; // of 224 pixels in both
        int side = asked.pixels() != null ? asked.pixels() : told != null ? told : grid * patch;
        if (side < patch || side % patch != 0) {
            String source =
                    asked.pixels() == null && described != null ? described.file() + ": image_size" : "--pixels";
            throw new IllegalArgumentException(source + " is " + side + "; pass a multiple of the patch, " + patch);
        }
        Integer length = told("num_frames", "all_frames");
        int published =
                tubelet == 1 ? SLOTS : 2 * SLOTS; // UMT's patches have one frame, with the sines of as many slots
        int frames = asked.frames() != null ? asked.frames() : length != null ? length : published;
        Modality modality = modality(asked.modality());
        VideoMaeConfig plain;
        try {
            plain = new ModalityInput(Clips.geometry(frames, side, modality), side / patch, tubelet, flow)
                    .config(modality, size(asked));
        } catch (IllegalArgumentException e) {
            String file = described == null ? "" : described.file() + ": ";
            throw String.valueOf(e.getMessage()).startsWith(file)
                    ? e
                    : new IllegalArgumentException(file + e.getMessage(), e);
        }
        boolean pooled = meanPooling();
        double ofBlocks = described == null ? eps() : described.number("layer_norm_eps", eps());
        VideoMaeConfig config = new VideoMaeConfig(
                described != null && modality.equals(Modality.RGB)
                        ? described.prepared(plain.patches())
                        : plain.patches(),
                plain.frames(),
                plain.height(),
                plain.width(),
                plain.embedDim(),
                plain.depth(),
                plain.heads(),
                plain.decoderDim(),
                plain.decoderDepth(),
                plain.decoderHeads(),
                ofBlocks,
                huggingFace ? PYTORCH_EPS : eps(),
                weights.containsKey("encoder.norm.weight")
                        && !(described != null && hasHead() && pooled && huggingFace),
                weights.keySet().stream().anyMatch(name -> name.endsWith("attn.k_bias")),
                pooled,
                mlp(plain));
        if (described != null) {
            asked.size().requireAsGiven(config, described.file());
            SizeOptions.requireEqual("--pixels", side, told == null ? side : told, described.file());
            SizeOptions.requireEqual("--frames", frames, length == null ? frames : length, described.file());
        }
        return config;
    }

    /**
     * As wide as the weights are. A file beside weights of transformers that says otherwise is of another model; beside weights under
     * their first names it may be a converter's, whose models never read it.
     */
    private int mlp(VideoMaeConfig plain) {
        Integer told = told("intermediate_size");
        Tensor first = weights.get("encoder.blocks.0.mlp.fc1.weight");
        if (first == null || first.rank() != 2 || first.shape().count() == 0) {
            return told == null ? plain.mlpDim() : told;
        }
        int wide = Math.toIntExact(first.size(0));
        requireOfWeights("intermediate_size", wide);
        return wide;
    }

    /** Of weights under transformers' names, whose models are made by the file beside them. */
    private void requireOfWeights(String entry, long found) {
        Integer told = huggingFace ? told(entry) : null;
        if (described != null && told != null && told != found) {
            throw new IllegalArgumentException(described.file() + ": " + entry + " is " + told
                    + " but the weights have " + found + "; pass the config.json of these weights");
        }
    }

    private @Nullable Integer told(String... names) {
        return described == null ? null : described.integer(names);
    }

    private double eps() {
        if (huggingFace) {
            return TRANSFORMERS_EPS;
        }
        // The classifier of MM-CDFSL's second stage is built without the norm of the first.
        boolean secondStage = weights.containsKey("head_verb.weight")
                && weights.keySet().stream().noneMatch(name -> name.startsWith("decoder."));
        return secondStage ? PYTORCH_EPS : ORIGINAL_EPS;
    }

    /** Width, blocks and heads: as asked for, as the file beside says, or as the weights tell and published models have it. */
    private ModelSize size(Asked asked) {
        int width = Math.toIntExact(embedding().size(0));
        Integer dim = told("hidden_size", "embed_dim");
        Integer depth = told("num_hidden_layers", "depth");
        Integer heads = told("num_attention_heads", "num_heads");
        if (isConvertersFault()) {
            heads = asked.heads() != null ? asked.heads() : Integer.valueOf(SMALL / HEAD_WIDTH);
        }
        if (dim != null && depth != null && heads != null) {
            return SizeOptions.made(dim, depth, heads); // options that contradict it are refused
        }
        if (heads == null) {
            heads = SIXTEEN_HEADS.contains(width)
                    ? Integer.valueOf(16)
                    : width % HEAD_WIDTH == 0 ? Integer.valueOf(width / HEAD_WIDTH) : null;
        }
        return asked.size().size(dim == null ? width : dim, depth == null ? blocks() : depth, heads);
    }

    /** Whether the file beside has the 16 heads that a converter wrote for ViT-S. */
    boolean isConvertersFault() {
        Integer heads = told("num_attention_heads");
        return heads != null && heads == CONVERTERS_HEADS && embedding().size(0) == SMALL;
    }

    private void requireKnown() {
        Tensor positions =
                weights.get("encoder.pos_embed"); // the sines of every model here are left by their translation
        if (positions != null) {
            throw new CheckpointException("it has learned positions (pos_embed " + positions.describe()
                    + ") but models here have sines; pass a VideoMAE as it was published");
        }
        if (described == null) {
            return;
        }
        String activation = described.text("hidden_act", "gelu");
        if (!activation.equals("gelu") && !activation.equals("gelu_python")) { // two programs of one function
            throw new IllegalArgumentException(described.file() + ": hidden_act is " + activation
                    + " but models here have gelu; pass a VideoMAE as it was published");
        }
        if (described.flag(false, "cos_attn")) {
            throw new IllegalArgumentException(
                    described.file()
                            + ": cos_attn is true, which only VideoMAE V2's largest models have; pass a distilled ViT-S or ViT-B");
        }
    }

    /** The weights of the model, with the biases of zero that a model without has. */
    Map<String, Tensor> complete(VideoMaeConfig config) {
        boolean told = described != null && !described.flag(true, "qkv_bias", "qv_bias");
        if (!told && weights.keySet().stream().anyMatch(name -> name.endsWith("attn.q_bias"))) {
            return weights;
        }
        Map<String, Tensor> complete = new LinkedHashMap<>(weights);
        for (int i = 0; i < config.depth(); i++) {
            for (String bias : new String[] {"q_bias", "v_bias"}) {
                complete.computeIfAbsent(
                        "encoder.blocks." + i + ".attn." + bias, name -> Tensor.zeros(config.embedDim()));
            }
        }
        return complete;
    }
}
