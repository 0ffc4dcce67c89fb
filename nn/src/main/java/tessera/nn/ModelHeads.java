package tessera.nn;

import java.io.StringWriter;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.tensor.io.JsonTokens;
import tessera.tensor.io.JsonTokens.Token;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * The heads that a file of any architecture holds beside its model: {@code heads.<name>.weight} f32 {@code [classes, D]} and {@code
 * heads.<name>.bias} f32 {@code [classes]}, and in the metadata entry {@value #ENTRY} a JSON object of each head's labels. Immutable.
 *
 * @param labels of each head by its name, in order; the first head is the main one
 */
public record ModelHeads(Map<String, List<String>> labels) {
    /** No heads: a model that gives features alone. */
    public static final ModelHeads NONE = new ModelHeads(Map.of());

    private static final String ENTRY = "tessera.headLabels";
    /** Before the name of a head whose features are not the model's own: the entry that says its {@link Pooling}. */
    public static final String POOLING = "tessera.headPooling.";
    /** Before the name of a head that has a rule for adaptive masks: the entry that says it. */
    public static final String ADAPTIVE = "tessera.headAdaptive.";

    private static final String WEIGHTS = "heads";

    public ModelHeads {
        Map<String, List<String>> copy = new LinkedHashMap<>();
        labels.forEach((name, classes) -> {
            if (name.isBlank() || classes.isEmpty()) {
                throw new IllegalArgumentException("the head '" + name + "' has " + classes.size()
                        + " labels; give each head a name and one label or more");
            }
            copy.put(name, List.copyOf(classes));
        });
        labels = Collections.unmodifiableMap(copy);
    }

    /** Whether a weight of this name is a head's. */
    public static boolean isHead(String weight) {
        return weight.startsWith(WEIGHTS + ".");
    }

    /** Whether a metadata entry of this name tells of heads. */
    public static boolean isEntry(String name) {
        return name.equals(ENTRY) || name.startsWith(POOLING) || name.startsWith(ADAPTIVE);
    }

    /** Names of all weights, in order. */
    public List<String> weights() {
        return labels.keySet().stream()
                .flatMap(name -> List.of(weight(name), bias(name)).stream())
                .toList();
    }

    /** Name of a head's weight. */
    public static String weight(String head) {
        return WEIGHTS + "." + head + ".weight";
    }

    /** Name of a head's bias. */
    public static String bias(String head) {
        return WEIGHTS + "." + head + ".bias";
    }

    /** Name of the query by which a head's features are pooled, f32 {@code [D]}; only where it has one. */
    public static String query(String head) {
        return WEIGHTS + "." + head + ".query";
    }

    /** Makes the heads on a feature, by name, with the weights' names in a file. */
    public Map<String, Linear> layers(Params params, int featureWidth) {
        Map<String, Linear> layers = new LinkedHashMap<>();
        Params heads = params.at(WEIGHTS);
        labels.forEach((name, classes) -> layers.put(name, Linear.fanIn(heads.at(name), featureWidth, classes.size())));
        return layers;
    }

    /** The metadata entry; none without heads. */
    public Map<String, String> toMetadata() {
        if (labels.isEmpty()) {
            return Map.of();
        }
        StringWriter text = new StringWriter();
        try (JsonGenerator json = new JsonFactory().createGenerator(ObjectWriteContext.empty(), text)) {
            json.writeStartObject();
            labels.forEach((name, classes) -> {
                json.writeName(name);
                json.writeStartArray();
                classes.forEach(json::writeString);
                json.writeEndArray();
            });
            json.writeEndObject();
        }
        return Map.of(ENTRY, JsonTokens.escaped(text.toString()));
    }

    /**
     * Reads what {@link #toMetadata} wrote; without the entry there are no heads.
     *
     * @throws CheckpointException if the entry is not what it must be
     */
    public static ModelHeads fromMetadata(Map<String, String> metadata) {
        String text = metadata.get(ENTRY);
        if (text == null) {
            return NONE;
        }
        try {
            JsonTokens json = new JsonTokens(text, 2);
            Map<String, List<String>> labels = new LinkedHashMap<>();
            boolean good = json.next() == Token.START_OBJECT;
            while (good && json.next() == Token.NAME) {
                String name = json.text();
                List<String> classes = new ArrayList<>();
                good = json.next() == Token.START_ARRAY;
                while (good && json.next() == Token.STRING) {
                    classes.add(json.text());
                }
                good = good && json.current() == Token.END_ARRAY && labels.put(name, classes) == null;
            }
            if (good && json.current() == Token.END_OBJECT && json.next() == Token.END) {
                return new ModelHeads(labels);
            }
        } catch (IllegalArgumentException e) {
            // Refused below, as what is no object of texts is.
        }
        throw new CheckpointException("the checkpoint's metadata entry " + ENTRY + " is no JSON object that gives each"
                + " head its labels; pass a file written by Tessera, or train it again");
    }
}
