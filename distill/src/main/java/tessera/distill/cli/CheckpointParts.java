package tessera.distill.cli;

import java.util.Collection;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.nn.CheckpointException;
import tessera.nn.WeightNames;
import tessera.tensor.Tensor;

/**
 * A checkpoint that may hold several models under a name each, as MM-CDFSL's second stage writes its student, its three teachers
 * and their projectors, or one without a name and its moving average under {@code ema}.
 */
final class CheckpointParts {
    /** What the name of a video model's first weight ends with, after the name of the model if it has one. */
    private static final Pattern FIRST = Pattern.compile(
            "^(?:(.*?)\\.)??(?:encoder\\.|backbone\\.|(?:videomae\\.)?embeddings\\.)?(?:patch_embed\\.proj"
                    + "|patch_embed\\.projection|patch_embeddings\\.projection)\\.weight$");

    /** The same of an STLT. */
    private static final Pattern FIRST_OF_BOXES = Pattern.compile(
            "^(?:(.*?)\\.)??temporal_transformer\\.layout_embedding\\.category_box_embeddings\\.category_embeddings\\.weight$");

    /** What is said in place of the name of a model that has none. */
    private static final String NAMELESS = ".";

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
     * @param prefix under which it lies, with or without what training frameworks put before it, or a dot for the model that has
     *     no name; null where the checkpoint holds a single model
     * @throws IllegalArgumentException if there are several models and none is named, or none of that name; it lists them
     */
    static Map<String, Tensor> select(Map<String, Tensor> checkpoint, @Nullable String prefix) {
        if (prefix != null) {
            String name = prefix.replaceFirst("\\.+$", "");
            Map<String, Tensor> found = name.isEmpty() ? nameless(checkpoint) : below(name, checkpoint);
            if (found.isEmpty()) {
                String none = name.isEmpty() ? " but no model is without a name" : " but no weight's name begins so";
                throw new IllegalArgumentException("--prefix is " + (prefix.isEmpty() ? "empty" : prefix) + none
                        + "; inside are " + inside(checkpoint));
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

    private static Map<String, Tensor> below(String model, Map<String, Tensor> checkpoint) {
        Map<String, Tensor> found = new LinkedHashMap<>();
        checkpoint.forEach((name, tensor) -> {
            for (String each : List.of(name, plain(name))) {
                if (each.startsWith(model + ".")) {
                    found.put(each.substring(model.length() + 1), tensor);
                    break;
                }
            }
        });
        return found;
    }

    /** What is of no model with a name, beside the model without one; empty where there is none. */
    private static Map<String, Tensor> nameless(Map<String, Tensor> checkpoint) {
        Map<String, String> models = models(checkpoint);
        if (!models.containsKey("")) {
            return Map.of();
        }
        Map<String, Tensor> rest = new LinkedHashMap<>(checkpoint);
        rest.keySet().removeIf(name -> !model(name, models.keySet()).isEmpty());
        return rest;
    }

    /** The model with a name that a weight is of, or empty. */
    private static String model(String weight, Set<String> models) {
        return models.stream()
                .filter(model -> !model.isEmpty()
                        && (weight.startsWith(model + ".") || plain(weight).startsWith(model + ".")))
                .max(Comparator.comparingInt(String::length))
                .orElse("");
    }

    private static String plain(String name) {
        return WeightNames.unwrapped(name);
    }

    /** What each model is, by its name; of two that differ only in what frameworks put before them that is a part of their names. */
    private static Map<String, String> models(Map<String, Tensor> checkpoint) {
        Map<String, Map<String, String>> found = new LinkedHashMap<>();
        checkpoint.forEach((weight, tensor) -> {
            Optional<String> whole = before(weight, tensor);
            Optional<String> plain = before(plain(weight), tensor);
            if (plain.isPresent()) {
                String what = tensor.rank() == 5
                        ? "a model of " + tensor.size(1) + " channels, width " + tensor.size(0)
                        : "a model of boxes, width " + tensor.size(1);
                found.computeIfAbsent(plain.get(), name -> new LinkedHashMap<>())
                        .put(whole.orElse(plain.get()), what);
            }
        });
        Map<String, String> models = new LinkedHashMap<>();
        found.forEach((plain, each) -> {
            if (each.size() > 1) {
                models.putAll(each);
            } else {
                models.put(plain, each.values().iterator().next());
            }
        });
        return models;
    }

    /** What stands before the first weight of a model, which other weights are not. */
    private static Optional<String> before(String weight, Tensor tensor) {
        Matcher first = (tensor.rank() == 5 ? FIRST : FIRST_OF_BOXES).matcher(weight);
        return first.matches() && (tensor.rank() == 5 || tensor.rank() == 2)
                ? Optional.of(Objects.requireNonNullElse(first.group(1), ""))
                : Optional.empty();
    }

    private static String inside(Map<String, Tensor> checkpoint) {
        Map<String, String> models = models(checkpoint);
        Map<String, Long> groups = checkpoint.keySet().stream()
                .collect(Collectors.groupingBy(
                        weight -> {
                            String model = model(weight, models.keySet());
                            return models.containsKey(model)
                                    ? model
                                    : plain(weight).split("\\.", 2)[0];
                        },
                        LinkedHashMap::new,
                        Collectors.counting()));
        List<String> told = groups.entrySet().stream()
                .map(group -> (group.getKey().isEmpty() ? NAMELESS : group.getKey()) + " ("
                        + models.getOrDefault(group.getKey(), group.getValue() + " arrays") + ")")
                .toList();
        return String.join(", ", told);
    }
}
