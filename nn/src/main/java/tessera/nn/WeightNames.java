package tessera.nn;

import java.util.Arrays;
import java.util.Set;
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
}
