package tessera.nn.stlt;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import tessera.tensor.Tensor;

/** Translates the names of the authors' checkpoints to Tessera's, which are those of the authors' code. */
public final class StltNames {
    private static final String CLASSIFIERS = "classifiers.";
    private static final Set<String> WRAPPERS = Set.of("_orig_mod", "module", "model");

    private StltNames() {}

    /**
     * Names as the authors' code has them: prefixes that compiling and distributing add are removed, and classifiers {@code
     * classifiers.VERB.weight} become heads {@code heads.verb.weight}. The tensors are the same.
     */
    public static Map<String, Tensor> translate(Map<String, Tensor> checkpoint) {
        Map<String, Tensor> result = new LinkedHashMap<>();
        checkpoint.forEach((name, tensor) -> result.put(head(unwrapped(name)), tensor));
        return result;
    }

    private static String unwrapped(String name) {
        int dot = name.indexOf('.');
        return dot > 0 && WRAPPERS.contains(name.substring(0, dot)) ? unwrapped(name.substring(dot + 1)) : name;
    }

    private static String head(String name) {
        return name.startsWith(CLASSIFIERS)
                ? "heads." + name.substring(CLASSIFIERS.length()).toLowerCase(Locale.ROOT)
                : name;
    }
}
