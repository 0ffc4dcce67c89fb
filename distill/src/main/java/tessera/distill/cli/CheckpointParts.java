package tessera.distill.cli;

import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.nn.CheckpointException;
import tessera.nn.WeightNames;
import tessera.tensor.Tensor;

/**
 * A checkpoint that may hold several models under a name each, as MM-CDFSL's second stage writes its student, its three teachers
 * and their projectors.
 */
final class CheckpointParts {
    /** What the name of a video model's first weight ends with, after the name of the model if it has one. */
    private static final Pattern FIRST =
            Pattern.compile("^(?:(.*?)\\.)??(?:encoder\\.|backbone\\.|videomae\\.embeddings\\.)?(?:patch_embed\\.proj"
                    + "|patch_embed\\.projection|patch_embeddings\\.projection)\\.weight$");

    /** What adapters call their factors, and what programs that pack weights into fewer bits write beside them. */
    private static final Pattern ADAPTER =
            Pattern.compile(".*\\.(?:lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector)\\b.*");

    private static final Pattern PACKED =
            Pattern.compile(".*\\.(?:absmax|quant_map|quant_state\\..*|SCB|qweight|qzeros|g_idx)");

    private CheckpointParts() {}

    /**
     * Refuses what is a model only together with something else.
     *
     * @throws CheckpointException if there are adapters that are not merged into weights, or weights that another program has packed
     */
    static void requireWhole(Collection<String> names) {
        Optional<String> adapter =
                names.stream().filter(name -> ADAPTER.matcher(name).matches()).findFirst();
        if (adapter.isPresent()) {
            boolean alone =
                    names.stream().allMatch(name -> ADAPTER.matcher(name).matches());
            throw new CheckpointException("it holds adapters (LoRA), such as " + adapter.get()
                    + (alone ? ", without the model that they change" : ", which are not part of its weights yet")
                    + "; merge them where they were trained (merge_and_unload of peft) and save the whole model");
        }
        names.stream()
                .filter(name -> PACKED.matcher(name).matches())
                .findFirst()
                .ifPresent(name -> {
                    throw new CheckpointException("its weights are packed into fewer bits by another program (" + name
                            + "); save the model in f32, f16 or bf16, and quantize its student here");
                });
    }

    /**
     * The weights of one model.
     *
     * @param prefix under which it lies, with or without what training frameworks put before it; null where the checkpoint
     *     holds a single model
     * @throws IllegalArgumentException if there are several models and none is named, or none of that name; it lists them
     */
    static Map<String, Tensor> select(Map<String, Tensor> checkpoint, @Nullable String prefix) {
        if (prefix != null) {
            String wanted = prefix.replaceFirst("\\.*$", "") + ".";
            Map<String, Tensor> found = new LinkedHashMap<>();
            checkpoint.forEach((name, tensor) -> {
                String plain = plain(name);
                if (name.startsWith(wanted)) {
                    found.put(name.substring(wanted.length()), tensor);
                } else if (plain.startsWith(wanted)) {
                    found.put(plain.substring(wanted.length()), tensor);
                }
            });
            if (found.isEmpty()) {
                throw new IllegalArgumentException(
                        "--prefix is " + prefix + " but no weight's name begins so; inside are " + inside(checkpoint));
            }
            return found;
        }
        Map<String, String> models = models(checkpoint);
        if (models.size() > 1) {
            throw new IllegalArgumentException(
                    "it holds " + models.size() + " models; pass --prefix with one of them: " + inside(checkpoint));
        }
        return checkpoint;
    }

    private static String plain(String name) {
        return WeightNames.unwrapped(name);
    }

    /** What each model is, by its name. */
    private static Map<String, String> models(Map<String, Tensor> checkpoint) {
        Map<String, String> models = new LinkedHashMap<>();
        checkpoint.forEach((name, tensor) -> {
            var first = FIRST.matcher(plain(name));
            if (first.matches() && tensor.rank() == 5) {
                String part = first.group(1) == null ? "" : first.group(1);
                models.put(part, "a model of " + tensor.size(1) + " channels, width " + tensor.size(0));
            }
        });
        return models;
    }

    private static String inside(Map<String, Tensor> checkpoint) {
        Map<String, String> models = models(checkpoint);
        Map<String, Long> groups = checkpoint.keySet().stream()
                .collect(Collectors.groupingBy(
                        name -> models.keySet().stream()
                                .filter(part -> !part.isEmpty() && plain(name).startsWith(part + "."))
                                .findFirst()
                                .orElseGet(() -> plain(name).split("\\.", 2)[0]),
                        LinkedHashMap::new,
                        Collectors.counting()));
        List<String> told = groups.entrySet().stream()
                .map(group ->
                        group.getKey() + " (" + models.getOrDefault(group.getKey(), group.getValue() + " arrays") + ")")
                .toList();
        return String.join(", ", told);
    }
}
