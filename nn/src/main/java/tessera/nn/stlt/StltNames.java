package tessera.nn.stlt;

import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import tessera.nn.CheckpointException;
import tessera.nn.WeightNames;
import tessera.tensor.Tensor;

/** Translates the names of the authors' checkpoints to Tessera's, which are those of the authors' code. */
public final class StltNames {
    private static final String CLASSIFIERS = "classifiers.";
    private static final String LAYOUT = StltModel.ROOT + ".layout_embedding.";
    private static final String BOXES = LAYOUT + "category_box_embeddings.";
    private static final String CATEGORIES = BOXES + "category_embeddings.weight";
    private static final double PUBLISHED_DROPOUT = .1;

    private StltNames() {}

    /** Whether weights of these names, of any origin, are an STLT's. */
    public static boolean matches(Set<String> names) {
        return names.stream()
                .map(WeightNames::unwrapped)
                .anyMatch(name -> name.startsWith(LAYOUT) || name.contains("." + LAYOUT));
    }

    /**
     * Names as the authors' code has them: prefixes that compiling and distributing add are removed, and so is whatever else stands
     * before the only table of categories; classifiers {@code classifiers.VERB.weight} become heads {@code heads.verb.weight}. The
     * tensors are the same.
     *
     * @throws CheckpointException if the file holds several models, or two weights of one name
     */
    public static Map<String, Tensor> translate(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> named = WeightNames.renamed(checkpoint, WeightNames::unwrapped);
        String prefix = WeightNames.prefix(named.keySet(), StltNames::before);
        return WeightNames.renamed(
                named, name -> head(name.startsWith(prefix) ? name.substring(prefix.length()) : name));
    }

    /** What stands before the table of categories. */
    private static Optional<String> before(String name) {
        return name.equals(CATEGORIES) || name.endsWith("." + CATEGORIES)
                ? Optional.of(name.substring(0, name.length() - CATEGORIES.length()))
                : Optional.empty();
    }

    private static String head(String name) {
        return name.startsWith(CLASSIFIERS)
                ? "heads." + name.substring(CLASSIFIERS.length()).toLowerCase(Locale.ROOT)
                : name;
    }

    /**
     * The sizes that a checkpoint's weights tell: all but the boxes of a frame and the attention heads. Dropout is the published.
     *
     * @param weights under Tessera's names
     * @param boxes most boxes of a frame, 14 in the published models
     * @param heads attention heads of both transformers, 8 in the published models
     * @throws CheckpointException if the weights are no STLT's
     */
    public static StltConfig config(Map<String, Tensor> weights, int boxes, int heads) {
        Tensor positions = table(weights, StltModel.ROOT + ".position_embeddings.weight");
        int spatial = layers(weights, LAYOUT);
        int temporal = layers(weights, StltModel.ROOT + ".");
        if (spatial == 0 || temporal == 0) {
            throw new CheckpointException("there are " + spatial + " layers of the spatial transformer and " + temporal
                    + " of the temporal one; pass an STLT checkpoint with 1 or more of each");
        }
        return new StltConfig(
                rows(positions),
                boxes,
                Math.toIntExact(positions.size(1)),
                heads,
                spatial,
                temporal,
                rows(table(weights, CATEGORIES)),
                rows(table(weights, BOXES + "side_embedding.weight")),
                rows(table(weights, BOXES + "state_embedding.weight")),
                PUBLISHED_DROPOUT);
    }

    private static int rows(Tensor table) {
        return Math.toIntExact(table.size(0));
    }

    private static Tensor table(Map<String, Tensor> weights, String name) {
        Tensor table = weights.get(name);
        if (table == null || table.rank() != 2 || table.shape().count() == 0) {
            throw new CheckpointException(
                    "there is no table " + name + " [rows, width] under any known name; pass an STLT checkpoint");
        }
        return table;
    }

    private static int layers(Map<String, Tensor> weights, String transformer) {
        int count = 0;
        while (weights.containsKey(transformer + "transformer.layers." + count + ".norm1.weight")) {
            count++;
        }
        return count;
    }
}
