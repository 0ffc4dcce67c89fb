package tessera.distill.cli;

import java.util.Collection;
import java.util.List;
import java.util.regex.Pattern;
import tessera.nn.CheckpointException;

/**
 * Public video models that none of the architectures here computes, although some share names with them: what they are is told by
 * a weight, and what a model here would leave out without another word is refused.
 */
final class OtherModels {
    private static final String HERE =
            "; models here are VideoMAE (also V2, MVD and UMT), Swin3D and STLT, so pass one of these";

    private static final List<Kind> KINDS = List.of(
            new Kind(
                    "resblocks\\.\\d+\\.attn\\.in_proj_weight|embeddings\\.class_embedding",
                    "a CLIP of videos or pictures (ViCLIP, X-CLIP, UniFormerV2), with a class token and learned positions"),
            new Kind(
                    "vivit\\.embeddings\\..+|timesformer\\..+|time_embed|blocks\\.\\d+\\.temporal_attn\\..+",
                    "a ViViT or TimeSformer, with a class token and learned positions"),
            new Kind(
                    "blocks\\.\\d+\\.(?:ls1\\.(?:gamma|weight)|gamma_1)",
                    "a transformer whose blocks are scaled (InternVideo2, DINOv2)"),
            new Kind(
                    "pos_embed_(?:spatial|temporal)",
                    "a transformer with learned positions of space and time (MAE-ST, Hiera)"),
            new Kind(
                    "embeddings\\.patch_embeddings\\.proj\\.weight|predictor\\.predictor_embed\\..+|blocks\\.\\d+\\.attn\\.qkv\\.bias",
                    "a transformer with one bias for queries, keys and values, and other positions (V-JEPA)"),
            new Kind("layers\\.\\d+\\.mixer\\..+", "a state space model (VideoMamba)"));

    /** Parameters of a model itself, not of its head, that are added to its tokens or are such: positions, class tokens, a norm before the blocks. */
    private static final Pattern OF_TOKENS =
            Pattern.compile("(?!mask_token$)(?:embeddings\\..+|[a-z_]*(?:embed|embedding|token|position)s?"
                    + "(?:_[a-z]+)?|(?:norm_pre|ln_pre|pre_norm)\\..+)");

    private OtherModels() {}

    private record Kind(Pattern weight, String what) {
        /** @param weights a pattern of what a weight's name is or ends with after a dot */
        Kind(String weights, String what) {
            this(Pattern.compile("(?:.*\\.)?(?:" + weights + ")"), what);
        }
    }

    /**
     * Refuses a model by its names.
     *
     * @param names of weights that are no Swin's and no STLT's
     * @throws CheckpointException if they tell another model
     */
    static void refuse(Collection<String> names) {
        for (Kind kind : KINDS) {
            names.stream()
                    .filter(name -> kind.weight.matcher(name).matches())
                    .findFirst()
                    .ifPresent(name -> {
                        throw new CheckpointException("it is " + kind.what + ", by its weight " + name + HERE);
                    });
        }
    }

    /**
     * Refuses weights without which a model gives something else.
     *
     * @param left names of what a model has no place for
     */
    static void requireNoTokens(Collection<String> left) {
        left.stream()
                .filter(name -> OF_TOKENS.matcher(name).matches())
                .findFirst()
                .ifPresent(name -> {
                    throw new CheckpointException(
                            "it has " + name + ", which changes what its blocks see, and no model here has it" + HERE);
                });
    }
}
