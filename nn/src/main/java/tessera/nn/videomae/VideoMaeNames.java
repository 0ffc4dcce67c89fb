package tessera.nn.videomae;

import static tessera.nn.WeightNames.renamed;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.CheckpointException;
import tessera.nn.WeightNames;
import tessera.tensor.Autograd;
import tessera.tensor.Tensor;

/** Translates the names of public VideoMAE checkpoints to Tessera's, which are those of the original code. */
public final class VideoMaeNames {
    private static final String KEY_BIAS = ".key.bias";
    private static final String PATCH_WEIGHT = "patch_embed.proj.weight";
    private static final String ENCODER = "encoder.";

    private static final String HF_MODEL = "videomae.";
    private static final String HF_PATCH = "embeddings.patch_embeddings.projection.";
    private static final Pattern HF_LAYER =
            Pattern.compile("(encoder\\.layer|decoder\\.decoder_layers)\\.(\\d+)\\.(.*)");

    /** What a fine-tuned model of the original code, which has no decoder, calls its encoder's parts. */
    private static final List<String> PARTS = List.of("patch_embed.", "blocks.", "norm.", "pos_embed", "cls_token");

    private static final String POSITIONS = ENCODER + "pos_embed";
    /** How far bf16 rounds sines. */
    private static final double ROUNDED = 1 / 256.0;

    private VideoMaeNames() {}

    /**
     * Names as the original code has them, whatever wrote the file: Hugging Face names, with {@code videomae.} or as the bare base
     * model has them, are mapped and their separate query, key and value weights joined; a fine-tuned model gets the {@code
     * encoder.} that it lacks, and so does one under the names of OpenMMLab's code, whose table of sines is left; from each, what
     * frameworks put around a model is removed ({@link WeightNames}), and so is whatever else stands before the only patch embedding.
     * New tensors belong to the innermost open scope.
     *
     * @return the input itself if there is nothing to translate
     * @throws CheckpointException if the file holds several models, two weights of one name, or a part of query, key and value
     */
    public static Map<String, Tensor> translate(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> named = renamed(checkpoint, name -> openMmlab(WeightNames.unwrapped(name)));
        String prefix = WeightNames.prefix(named.keySet(), VideoMaeNames::before);
        if (!prefix.isEmpty()) {
            named = renamed(named, name -> name.startsWith(prefix) ? name.substring(prefix.length()) : name);
        }
        if (named.keySet().stream().anyMatch(VideoMaeNames::isHuggingFace)) {
            return fromHuggingFace(renamed(named, VideoMaeNames::withoutModel));
        }
        return withoutSines(
                named.containsKey(PATCH_WEIGHT)
                        ? renamed(named, name -> PARTS.stream().anyMatch(name::startsWith) ? ENCODER + name : name)
                        : named);
    }

    /** The original code's names of what OpenMMLab's code, which has the same models, builds of layers of its own. */
    private static String openMmlab(String name) {
        return name.replaceFirst("(^|\\.)patch_embed\\.projection\\.", "$1patch_embed.proj.")
                .replaceFirst("\\.mlp\\.layers\\.0\\.0\\.", ".mlp.fc1.")
                .replaceFirst("\\.mlp\\.layers\\.1\\.", ".mlp.fc2.")
                .replaceFirst("^cls_head\\.fc_cls\\.", "head.");
    }

    /** Without a table of positions that is the one that every model here has; one that was learned stays. */
    private static Map<String, Tensor> withoutSines(Map<String, Tensor> named) {
        Tensor table = named.get(POSITIONS);
        if (table == null || !isSines(table)) {
            return named;
        }
        Map<String, Tensor> rest = new LinkedHashMap<>(named);
        rest.remove(POSITIONS);
        return rest;
    }

    private static boolean isSines(Tensor table) {
        if (table.rank() != 3
                || table.size(0) != 1
                || table.shape().count() == 0
                || table.dtype() == DType.I32
                || table.dtype() == DType.U8) {
            return false;
        }
        float[] given = table.toFloats();
        try (Tensor own = SinePositions.table(
                Device.cpu(), DType.F32, Math.toIntExact(table.size(1)), Math.toIntExact(table.size(2)))) {
            float[] sines = own.toFloats();
            for (int i = 0; i < sines.length; i++) {
                if (!(Math.abs(given[i] - sines[i]) <= ROUNDED)) {
                    return false;
                }
            }
        }
        return true;
    }

    /** Whether weights have the names of Hugging Face's transformers, whatever stands before them. */
    public static boolean areTransformers(Set<String> names) {
        return names.stream().anyMatch(name -> name.endsWith(HF_PATCH + "weight"));
    }

    /** What stands before the words of either naming. */
    private static Optional<String> before(String name) {
        return name.endsWith(PATCH_WEIGHT)
                ? Optional.of(before(name, PATCH_WEIGHT, ENCODER))
                : name.endsWith(HF_PATCH + "weight")
                        ? Optional.of(before(name, HF_PATCH + "weight", HF_MODEL))
                        : Optional.empty();
    }

    private static String before(String name, String patch, String inner) {
        String prefix = name.substring(0, name.length() - patch.length());
        boolean own = prefix.equals(inner) || prefix.endsWith("." + inner);
        return own ? prefix.substring(0, prefix.length() - inner.length()) : prefix;
    }

    private static boolean isHuggingFace(String name) {
        String bare = withoutModel(name);
        return bare.startsWith(HF_PATCH) || HF_LAYER.matcher(bare).matches();
    }

    private static String withoutModel(String name) {
        return name.startsWith(HF_MODEL) ? name.substring(HF_MODEL.length()) : name;
    }

    private static Map<String, Tensor> fromHuggingFace(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> result = new LinkedHashMap<>();
        Map<String, Tensor[]> projections = new LinkedHashMap<>();
        checkpoint.forEach((name, tensor) -> {
            Matcher layer = HF_LAYER.matcher(name);
            if (!layer.matches()) {
                result.put(outerName(name), tensor);
                return;
            }
            if (name.endsWith(KEY_BIAS) && checkpoint.containsKey(name.replace(KEY_BIAS, ".q_bias"))) {
                return; // zeros, for newer code, beside the names of code that has no bias of keys
            }
            String block =
                    (layer.group(1).startsWith(ENCODER) ? "encoder" : "decoder") + ".blocks." + layer.group(2) + ".";
            String rest = layer.group(3);
            int part = projection(rest);
            if (part >= 0) {
                projections.computeIfAbsent(block + "attn.qkv.weight", key -> new Tensor[3])[part] = tensor;
            } else {
                result.put(block + layerName(rest), tensor);
            }
        });
        projections.forEach((name, parts) -> {
            requireAlike(name, parts);
            result.put(name, Autograd.noGrad(() -> Tensor.concat(0, parts)));
        });
        return result;
    }

    private static void requireAlike(String name, @Nullable Tensor[] parts) {
        boolean alike = true;
        List<String> told = new ArrayList<>();
        for (int i = 0; i < parts.length; i++) {
            Tensor part = parts[i];
            Tensor first = parts[0];
            told.add(List.of("query ", "key ", "value ").get(i) + (part == null ? "missing" : part.describe()));
            alike &= part != null
                    && first != null
                    && part.rank() > 0
                    && part.rank() == first.rank()
                    && part.dtype() == first.dtype()
                    && (part.rank() == 1 || part.size(1) == first.size(1));
        }
        if (!alike) {
            throw new CheckpointException("the weights that make " + name + " are " + String.join(", ", told)
                    + "; all three must be floats [width, width], so fetch the checkpoint again");
        }
    }

    private static int projection(String name) {
        return switch (name) {
            case "attention.attention.query.weight" -> 0;
            case "attention.attention.key.weight" -> 1;
            case "attention.attention.value.weight" -> 2;
            default -> -1;
        };
    }

    private static String layerName(String name) {
        return name.replace("attention.attention.query.bias", "attn.q_bias")
                .replace("attention.attention.key.bias", "attn.k_bias")
                .replace("attention.attention.value.bias", "attn.v_bias")
                .replace("attention.attention.q_bias", "attn.q_bias")
                .replace("attention.attention.v_bias", "attn.v_bias")
                .replace("attention.output.dense", "attn.proj")
                .replace("layernorm_before", "norm1")
                .replace("layernorm_after", "norm2")
                .replace("intermediate.dense", "mlp.fc1")
                .replace("output.dense", "mlp.fc2");
    }

    private static String outerName(String name) {
        return name.replace(HF_PATCH, "encoder.patch_embed.proj.")
                .replaceFirst("^layernorm\\.", "encoder.norm.")
                .replaceFirst("^classifier\\.", "head.");
    }
}
