package tessera.nn;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** What the names of public checkpoints' weights have in common, whatever the model. */
public final class WeightNames {
    private static final Pattern DOT = Pattern.compile("\\.");

    /** Added around a module by distributing (DDP, Fabric) and compiling, at whatever depth that was done. */
    private static final Set<String> ANYWHERE = Set.of("module", "_orig_mod", "_forward_module");

    /** What a training script calls the attribute that holds the model. */
    private static final String OUTERMOST = "model";

    private WeightNames() {}

    /**
     * A name without the words that frameworks and training scripts put around a model: {@code module}, {@code _orig_mod} and
     * {@code _forward_module} anywhere, {@code model} before the rest, in any mix. The last word stays.
     */
    public static String unwrapped(String name) {
        String[] words = DOT.split(name, -1);
        int last = words.length - 1;
        int first = 0;
        while (first < last && (ANYWHERE.contains(words[first]) || words[first].equals(OUTERMOST))) {
            first++;
        }
        return Arrays.stream(words, first, last)
                        .filter(word -> !ANYWHERE.contains(word))
                        .map(word -> word + ".")
                        .collect(Collectors.joining())
                + words[last];
    }

    /**
     * What stands before the names of a model's weights, whatever it is called: the same before all of them, so that its first weight tells.
     *
     * @param before what stands before a first weight, empty for other names
     * @return without letters where nothing stands before the names of a model, or there is none
     * @throws CheckpointException if there are several models, each with something before its names
     */
    public static String prefix(Set<String> names, Function<String, Optional<String>> before) {
        Set<String> found = new TreeSet<>();
        names.forEach(name -> before.apply(name).ifPresent(found::add));
        if (found.size() > 1 && !found.contains("")) {
            throw new CheckpointException("the checkpoint holds " + found.size() + " models, under "
                    + String.join(" and ", found) + "; keep one of them in it");
        }
        return found.isEmpty() ? "" : found.iterator().next();
    }

    /**
     * Weights under other names.
     *
     * @return the input itself if no name changes
     * @throws CheckpointException if two get one name
     */
    public static <T> Map<String, T> renamed(Map<String, T> weights, UnaryOperator<String> rule) {
        if (weights.keySet().stream().allMatch(name -> rule.apply(name).equals(name))) {
            return weights;
        }
        Map<String, T> result = new LinkedHashMap<>();
        weights.forEach((name, weight) -> {
            if (result.put(rule.apply(name), weight) != null) {
                throw new CheckpointException("the checkpoint holds the weight " + rule.apply(name)
                        + " twice, under different prefixes; keep one model in it");
            }
        });
        return result;
    }
}
