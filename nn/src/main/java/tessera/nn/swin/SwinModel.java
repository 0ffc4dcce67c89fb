package tessera.nn.swin;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.nn.DropPath;
import tessera.nn.Init;
import tessera.nn.LayerNorm;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.Pooling;
import tessera.nn.VideoModel;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/**
 * Swin3D with an optional linear head. The feature is the mean of all normed tokens of the last stage. Parameter names are
 * torchvision's: {@code patch_embed.*}, {@code features.*}, {@code norm.*} and {@code head.*}.
 *
 * <p>The index lists for the clip's size are made once, on the parameters' device; {@link #close} frees them.
 */
public final class SwinModel implements VideoModel {
    private final SwinConfig config;
    private final DType compute;
    private final Linear patchEmbed;
    private final LayerNorm patchNorm;
    private final List<SwinStage> stages = new ArrayList<>();
    private final LayerNorm norm;
    private final @Nullable Linear head;

    /**
     * Builds the model.
     *
     * @param classes outputs of the head, 0 for features only
     */
    public SwinModel(Params params, SwinConfig config, int classes) {
        this.config = config;
        compute = params.compute();
        Patches patches = config.patches();
        Params proj = params.at("patch_embed").at("proj");
        Init init = Init.fanIn(patches.patchLength());
        patchEmbed = Linear.of(
                proj,
                "weight",
                proj.get(
                        "weight",
                        init,
                        config.embedDim(),
                        patches.channels(),
                        patches.tubelet(),
                        patches.patch(),
                        patches.patch()),
                proj.get("bias", init, config.embedDim()));
        patchNorm = new LayerNorm(params.at("patch_embed").at("norm"), config.embedDim(), config.layerNormEps());
        for (int stage = 0; stage < config.depths().size(); stage++) {
            stages.add(new SwinStage(params, config, stage));
        }
        norm = new LayerNorm(params.at("norm"), config.featureWidth(), config.layerNormEps());
        head = classes > 0
                ? Linear.normal(
                        params.at("head"), config.featureWidth(), classes, config.initialStd(config.featureWidth()))
                : null;
    }

    @Override
    public SwinConfig config() {
        return config;
    }

    @Override
    public Tensor features(Tensor clips, @Nullable Tensor visible, DropPath drop) {
        if (visible != null) {
            throw masked(visible);
        }
        return feature(tokens(clips, drop)); // [B, D of the last stage]
    }

    /** Those of the last stage, normed; windows need every one. */
    @Override
    public Map<Integer, Tensor> tokens(Tensor clips, List<Tensor> visible, Set<Integer> blocks) {
        if (!visible.isEmpty()) {
            throw masked(visible.getFirst());
        }
        if (!blocks.equals(Set.of(Pooling.LAST))) {
            throw new IllegalArgumentException("Swin3D: tokens after " + blocks
                    + " blocks are asked for, but stages differ in width; take those of the last");
        }
        return Map.of(Pooling.LAST, tokens(clips, DropPath.NONE));
    }

    private static IllegalArgumentException masked(Tensor visible) {
        return new IllegalArgumentException("Swin3D: visible tokens " + visible.describe()
                + " given, but windows need every token; pass no mask (Masking.none())");
    }

    private Tensor tokens(Tensor clips, DropPath drop) {
        requireSize(clips);
        Tensor patches = config.patches().gather(clips, null, compute); // [B, N, C * dt * p * p]
        Tensor x = patchNorm.forward(patchEmbed.forward(patches)); // [B, N, D]
        for (SwinStage stage : stages) {
            x = stage.forward(x, drop); // [B, N of the next stage, its D]
        }
        return norm.forward(x);
    }

    private void requireSize(Tensor clips) {
        if (clips.rank() != 5
                || clips.size(1) != config.frames()
                || clips.size(2) != config.height()
                || clips.size(3) != config.width()) {
            throw new IllegalArgumentException(
                    "Swin3D: clips are " + clips.describe() + " but the model was built for [B, "
                            + config.frames() + ", " + config.height() + ", " + config.width() + ", "
                            + config.patches().channels() + "]; resize them or build it for their size");
        }
    }

    /** Class scores of clips, {@code [B, classes]}. */
    public Tensor forward(Tensor clips) {
        return forward(clips, DropPath.NONE);
    }

    /** As {@link #forward(Tensor)} in training, where {@code drop} leaves branches out. */
    public Tensor forward(Tensor clips, DropPath drop) {
        if (head == null) {
            throw new IllegalStateException("forward: the model was built without classes; call features");
        }
        return head.forward(features(clips, null, drop));
    }

    @Override
    public void pack() {
        patchEmbed.pack(compute);
        stages.forEach(stage -> stage.pack(compute));
    }

    @Override
    public void close() {
        patchEmbed.close();
        stages.forEach(SwinStage::close);
    }
}
