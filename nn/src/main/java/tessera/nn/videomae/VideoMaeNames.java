package tessera.nn.videomae;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tessera.nn.CheckpointException;
import tessera.tensor.Autograd;
import tessera.tensor.Tensor;

/** Translates the names of public VideoMAE checkpoints to Tessera's, which are those of the original code. */
public final class VideoMaeNames {
    private static final Pattern HF_LAYER =
            Pattern.compile("(?:videomae\\.encoder\\.layer|decoder\\.decoder_layers)\\.(\\d+)\\.(.*)");
    private static final String KEY_BIAS = ".key.bias";
    private static final String PATCH_WEIGHT = "patch_embed.proj.weight";

    private VideoMaeNames() {}

    /**
     * Names as the original code has them, whatever wrote the file: Hugging Face names are mapped and their separate query,
     * key and value weights joined; prefixes that training frameworks add are removed; a fine-tuned model gets the {@code
     * encoder.} that it lacks. New tensors belong to the innermost open scope.
     *
     * @return the input itself if there is nothing to translate
     */
    public static Map<String, Tensor> translate(Map<String, Tensor> checkpoint) {
        if (checkpoint.keySet().stream().anyMatch(name -> name.startsWith("videomae."))) {
            return fromHuggingFace(checkpoint);
        }
        for (String name : checkpoint.keySet()) {
            if (name.endsWith(PATCH_WEIGHT)) {
                String prefix = name.substring(0, name.length() - PATCH_WEIGHT.length());
                return prefix.endsWith("encoder.")
                        ? withoutPrefix(checkpoint, prefix.substring(0, prefix.length() - "encoder.".length()))
                        : fineTuned(withoutPrefix(checkpoint, prefix));
            }
        }
        return checkpoint;
    }

    private static Map<String, Tensor> withoutPrefix(Map<String, Tensor> checkpoint, String prefix) {
        if (prefix.isEmpty()) {
            return checkpoint;
        }
        Map<String, Tensor> result = new LinkedHashMap<>();
        checkpoint.forEach(
                (name, tensor) -> result.put(name.startsWith(prefix) ? name.substring(prefix.length()) : name, tensor));
        return result;
    }

    private static Map<String, Tensor> fineTuned(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> result = new LinkedHashMap<>();
        checkpoint.forEach((name, tensor) -> {
            boolean outer = name.startsWith("fc_norm.") || name.startsWith("head.");
            result.put(outer ? name : "encoder." + name, tensor);
        });
        return result;
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
            String block = (name.startsWith("videomae.") ? "encoder" : "decoder") + ".blocks." + layer.group(1) + ".";
            String rest = layer.group(2);
            int part = projection(rest);
            if (part >= 0) {
                projections.computeIfAbsent(block + "attn.qkv.weight", key -> new Tensor[3])[part] = tensor;
            } else {
                result.put(block + layerName(rest), tensor);
            }
        });
        projections.forEach((name, parts) -> {
            for (Tensor part : parts) {
                if (part == null) {
                    throw new CheckpointException(
                            "the checkpoint lacks one of the query, key and value weights of " + name);
                }
            }
            result.put(name, Autograd.noGrad(() -> Tensor.concat(0, parts)));
        });
        return result;
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
        return name.replace("videomae.embeddings.patch_embeddings.projection", "encoder.patch_embed.proj")
                .replace("videomae.layernorm", "encoder.norm")
                .replaceFirst("^classifier\\.", "head.");
    }
}
