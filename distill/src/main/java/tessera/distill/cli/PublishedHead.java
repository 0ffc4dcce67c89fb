package tessera.distill.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.nn.CheckpointException;
import tessera.nn.ModelHeads;
import tessera.nn.WeightNames;
import tessera.nn.inference.Head;
import tessera.tensor.Tensor;

/**
 * The classification heads of a checkpoint and what their classes are called: by a text file, by a {@link PublishedConfig} or by
 * the file itself.
 *
 * @param labels of each head
 * @param weights of the heads under the names that a student's file has, f32
 * @param unnamed heads whose labels are numbers, because nothing names their classes
 */
record PublishedHead(ModelHeads labels, Map<String, Tensor> weights, List<String> unnamed) {
    private static final PublishedHead NONE = new PublishedHead(ModelHeads.NONE, Map.of(), List.of());

    /** A model that answers several questions, or one of a name, has {@code heads.verb.weight} and the like. */
    private static final Pattern TASK = Pattern.compile("heads\\.([^.]+)\\.weight");
    /** A layer of a head that is a sequence. */
    private static final Pattern LAYER = Pattern.compile("(head\\.\\d+)\\..*");
    /** The head of a fine-tuned model, and that of MM-CDFSL's first stage, whose second has it too but never trains it. */
    private static final String HEAD = "head";

    private static final String PRETRAINED = "head_action";
    /** It, and those of other questions beside it. */
    private static final Pattern UNTRAINED = Pattern.compile("head_[^.]+\\.(?:weight|bias)");

    /**
     * Finds them.
     *
     * @param weights under Tessera's names; new tensors belong to the innermost open scope
     * @param metadata of the checkpoint
     * @param width of a feature
     * @param files with a label a line, by the names of the heads; that of the only head may have none
     * @param config beside the checkpoint or given, or null
     * @throws IllegalArgumentException if there are not as many labels as classes, or labels for no head
     */
    static PublishedHead of(
            Map<String, Tensor> weights,
            Map<String, String> metadata,
            int width,
            Map<String, Path> files,
            @Nullable PublishedConfig config) {
        Map<String, List<String>> labels =
                new LinkedHashMap<>(ModelHeads.fromMetadata(metadata).labels());
        SortedSet<String> tasks = new TreeSet<>();
        weights.keySet().forEach(each -> {
            Matcher task = TASK.matcher(each);
            if (task.matches()) {
                tasks.add(task.group(1));
            }
        });
        boolean plain = weights.containsKey(HEAD + ".weight") || tasks.equals(Set.of(Head.ACTION));
        if (labels.isEmpty() && !plain && !tasks.isEmpty()) {
            return ofTasks(weights, width, tasks, files);
        }
        String name =
                labels.isEmpty() ? Head.ACTION : labels.keySet().iterator().next();
        String main = Set.of(ModelHeads.weight(name), HEAD + ".weight").stream().anyMatch(weights::containsKey)
                ? weights.containsKey(HEAD + ".weight")
                        ? HEAD
                        : ModelHeads.weight(name).replaceFirst("\\.weight$", "")
                : PRETRAINED;
        files.keySet().stream()
                .filter(each -> !each.isEmpty() && !each.equals(name))
                .findFirst()
                .ifPresent(each -> {
                    throw noHead(each, name);
                });
        Path file = files.getOrDefault(name, files.get(""));
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
            labels.put(name, fitting(ClassList.read(file), classes, "--labels " + file));
        } else if (config != null && !config.labels().isEmpty()) {
            // Also where the weights' own file names them: who renames the classes of an export does it here.
            labels.put(name, fitting(config.labels(), classes, config.file().toString()));
        } else if (!labels.containsKey(name)) {
            named = false;
            labels.put(name, numbers(classes));
        }
        labels.keySet().stream()
                .filter(other -> !other.equals(name))
                .forEach(other ->
                        put(kept, other, ModelHeads.weight(other).replaceFirst("\\.weight$", ""), weights, width));
        return new PublishedHead(new ModelHeads(labels), kept, named ? List.of() : List.of(name));
    }

    /**
     * Weights in which a head that is one linear layer of a sequence, as people put it behind a dropout ({@code head.1.weight}), has the name of
     * a single one; the same map where there is none.
     */
    static Map<String, Tensor> single(Map<String, Tensor> weights) {
        SortedSet<String> layers = new TreeSet<>();
        weights.keySet().forEach(each -> {
            Matcher layer = LAYER.matcher(each);
            if (layer.matches()) {
                layers.add(layer.group(1));
            }
        });
        Tensor weight = layers.size() == 1 ? weights.get(layers.getFirst() + ".weight") : null;
        return weight == null || weight.rank() != 2 || weights.containsKey(HEAD + ".weight")
                ? weights
                : WeightNames.renamed(
                        weights,
                        name -> name.startsWith(layers.getFirst() + ".")
                                ? HEAD + name.substring(layers.getFirst().length())
                                : name);
    }

    /** Whether a weight is of a head that was taken, or of one that is left on purpose. */
    boolean knows(String weight) {
        boolean single = weight.equals(HEAD + ".weight") || weight.equals(HEAD + ".bias");
        return UNTRAINED.matcher(weight).matches() || (!weights.isEmpty() && (single || ModelHeads.isHead(weight)));
    }

    /** Heads that have names in the checkpoint, of which it does not say what their classes are called. */
    private static PublishedHead ofTasks(
            Map<String, Tensor> weights, int width, SortedSet<String> tasks, Map<String, Path> files) {
        for (String given : files.keySet()) {
            if (given.isEmpty() ? tasks.size() > 1 : !tasks.contains(given)) {
                throw given.isEmpty()
                        ? new IllegalArgumentException(
                                "--labels " + files.get(given) + " says not of which head, and there are " + tasks
                                        + "; pass one for each, such as --labels " + tasks.getFirst() + "=FILE")
                        : noHead(given, tasks);
            }
        }
        Map<String, List<String>> labels = new LinkedHashMap<>();
        Map<String, Tensor> kept = new LinkedHashMap<>();
        List<String> unnamed = new ArrayList<>();
        for (String task : tasks) {
            put(kept, task, ModelHeads.weight(task).replaceFirst("\\.weight$", ""), weights, width);
            int classes = Math.toIntExact(
                    Objects.requireNonNull(weights.get(ModelHeads.weight(task))).size(0));
            Path file = files.getOrDefault(task, files.get(""));
            if (file == null) {
                unnamed.add(task);
            }
            labels.put(
                    task, file == null ? numbers(classes) : fitting(ClassList.read(file), classes, "--labels " + file));
        }
        return new PublishedHead(new ModelHeads(labels), kept, unnamed);
    }

    private static IllegalArgumentException noHead(String given, Object there) {
        return new IllegalArgumentException("--labels names a head '" + given + "' but the checkpoint has " + there
                + "; name one of its heads, or leave it away");
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
            String label = labels.get(i);
            for (int number = i; !known.add(label); number += classes) {
                label = labels.get(i) + " (" + number + ")";
            }
            distinct.add(label);
        }
        return distinct;
    }
}
