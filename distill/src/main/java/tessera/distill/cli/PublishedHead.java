package tessera.distill.cli;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.nn.CheckpointException;
import tessera.nn.ModelHeads;
import tessera.nn.inference.Head;
import tessera.tensor.Tensor;

/**
 * The classification heads of a checkpoint and what their classes are called: by a text file, by a {@link PublishedConfig} or by
 * the file itself.
 *
 * @param labels of each head
 * @param weights of the heads under the names that a student's file has, f32
 * @param named whether the labels are names and not numbers
 */
record PublishedHead(ModelHeads labels, Map<String, Tensor> weights, boolean named) {
    private static final PublishedHead NONE = new PublishedHead(ModelHeads.NONE, Map.of(), true);
    /** The head of a fine-tuned model, and that of MM-CDFSL's first stage, whose second has it too but never trains it. */
    private static final String HEAD = "head";

    private static final String PRETRAINED = "head_action";

    /**
     * Finds them.
     *
     * @param weights under Tessera's names; new tensors belong to the innermost open scope
     * @param metadata of the checkpoint
     * @param width of a feature
     * @param file with a label a line, or null
     * @param config beside the checkpoint or given, or null
     * @throws IllegalArgumentException if there are not as many labels as classes, or labels for no head
     */
    static PublishedHead of(
            Map<String, Tensor> weights,
            Map<String, String> metadata,
            int width,
            @Nullable Path file,
            @Nullable PublishedConfig config) {
        Map<String, List<String>> labels =
                new LinkedHashMap<>(ModelHeads.fromMetadata(metadata).labels());
        String name =
                labels.isEmpty() ? Head.ACTION : labels.keySet().iterator().next();
        String main = Set.of(ModelHeads.weight(name), HEAD + ".weight").stream().anyMatch(weights::containsKey)
                ? weights.containsKey(HEAD + ".weight")
                        ? HEAD
                        : ModelHeads.weight(name).replaceFirst("\\.weight$", "")
                : PRETRAINED;
        Tensor weight = weights.get(main + ".weight");
        if (weight == null || (main.equals(PRETRAINED) && file == null)) {
            if (file != null) {
                throw new IllegalArgumentException("--labels " + file
                        + " is given but the checkpoint has no classification head; leave it away, or pass a fine-tuned"
                        + " model");
            }
            return NONE;
        }
        Map<String, Tensor> kept = new LinkedHashMap<>();
        put(kept, name, main, weights, width);
        int classes = Math.toIntExact(weight.size(0));
        boolean named = true;
        if (file != null) {
            labels.put(name, fitting(lines(file), classes, "--labels " + file));
        } else if (!labels.containsKey(name)) {
            List<String> found = config == null ? List.of() : config.labels();
            named = !found.isEmpty();
            labels.put(
                    name,
                    config != null && named
                            ? fitting(found, classes, config.file().toString())
                            : numbers(classes));
        }
        labels.keySet().stream()
                .filter(other -> !other.equals(name))
                .forEach(other ->
                        put(kept, other, ModelHeads.weight(other).replaceFirst("\\.weight$", ""), weights, width));
        return new PublishedHead(new ModelHeads(labels), kept, named);
    }

    private static void put(
            Map<String, Tensor> kept, String name, String from, Map<String, Tensor> weights, int width) {
        Tensor weight = weights.get(from + ".weight");
        if (weight == null || weight.rank() != 2 || weight.size(0) < 1 || weight.size(1) != width) {
            throw new CheckpointException("the head " + from + ".weight is "
                    + (weight == null ? "missing" : weight.describe()) + " but the model's features have " + width
                    + " values; it must be [classes, " + width + "], so pass the file as it was published");
        }
        Tensor bias = weights.get(from + ".bias");
        if (bias != null && (bias.rank() != 1 || bias.size(0) != weight.size(0))) {
            throw new CheckpointException("the head's bias " + from + ".bias is " + bias.describe() + " but it has "
                    + weight.size(0) + " classes; pass the file as it was published");
        }
        float[] intercepts = bias == null ? new float[Math.toIntExact(weight.size(0))] : bias.toFloats();
        kept.put(ModelHeads.weight(name), Tensor.of(weight.toFloats(), weight.size(0), weight.size(1)));
        kept.put(ModelHeads.bias(name), Tensor.of(intercepts));
    }

    private static List<String> numbers(int classes) {
        return IntStream.range(0, classes).mapToObj(Integer::toString).toList();
    }

    /** As many labels as classes, of which a second of one name gets its number too. */
    private static List<String> fitting(List<String> labels, int classes, String source) {
        if (labels.size() != classes) {
            throw new IllegalArgumentException(source + " names " + labels.size() + " classes but the head has "
                    + classes + "; pass --labels FILE with a label a line, in the order of the classes");
        }
        Set<String> known = new TreeSet<>();
        List<String> distinct = new ArrayList<>();
        for (int i = 0; i < classes; i++) {
            String label = known.contains(labels.get(i)) ? labels.get(i) + " (" + i + ")" : labels.get(i);
            known.add(label);
            distinct.add(label);
        }
        return distinct;
    }

    private static List<String> lines(Path file) {
        String text;
        try {
            text = Files.readString(file);
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("--labels " + file + " is no text in UTF-8; pass a label a line", e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    "--labels " + file + " cannot be read (" + e.getMessage()
                            + "); pass a text file with a label a line",
                    e);
        }
        List<String> lines = text.replaceFirst("^\uFEFF", "")
                .stripTrailing()
                .lines()
                .map(String::strip)
                .toList();
        int blank = lines.indexOf("");
        if (blank >= 0) {
            throw new IllegalArgumentException(
                    "--labels " + file + ": line " + (blank + 1) + " is empty; pass a label a line");
        }
        return lines;
    }
}
