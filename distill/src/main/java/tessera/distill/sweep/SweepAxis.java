package tessera.distill.sweep;

import java.util.List;
import java.util.Map;
import tessera.nn.MaskStrategy;
import tessera.nn.TokenReduction;
import tessera.nn.inference.Student;

/**
 * A setting that is varied. A new one is a factory here, and an option that gives its words.
 *
 * @param name one word, which names its column
 * @param words the values, each once
 * @param inAnswers whether answers depend on it; if not, only times and memory do, and clips are judged once for all its values
 * @param setting what a word does
 */
public record SweepAxis(String name, List<String> words, boolean inAnswers, Setting setting) {
    /** The name of {@link #ratio}. */
    public static final String RATIO = "ratio";
    /** The names of {@link #strategy} and {@link #ensemble}, which say nothing where no token is hidden. */
    public static final String STRATEGY = "strategy";

    public static final String ENSEMBLE = "ensemble";
    /** The strategy where no token is hidden. */
    static final String NO_STRATEGY = "none";

    /** What a word of an axis does to a way to look. */
    @FunctionalInterface
    public interface Setting {
        /**
         * The same way to look but for this setting.
         *
         * @throws IllegalArgumentException if the word is none of this axis
         */
        Setup apply(Setup setup, String word);
    }

    public SweepAxis {
        words = words.stream().distinct().toList();
        if (words.isEmpty()) {
            throw new IllegalArgumentException("sweep: the axis " + name + " has no value; pass one or more");
        }
    }

    /**
     * Numbers that weights and data are computed in.
     *
     * @param students by the axis's words
     */
    public static SweepAxis precision(Map<String, Student> students) {
        return new SweepAxis("precision", List.copyOf(students.keySet()), true, (setup, word) -> {
            Student student = students.get(word);
            if (student == null) {
                throw new IllegalArgumentException("sweep: no student computes in " + word);
            }
            return setup.withStudent(student);
        });
    }

    /**
     * Mask strategies.
     *
     * @param strategies by the axis's words
     */
    public static SweepAxis strategy(Map<String, MaskStrategy> strategies) {
        return new SweepAxis(STRATEGY, List.copyOf(strategies.keySet()), true, (setup, word) -> {
            MaskStrategy strategy = strategies.get(word);
            return strategy == null ? setup : setup.withMasking(setup.masking().withStrategy(strategy));
        });
    }

    /** Shares of hidden tokens, in [0, 1). */
    public static SweepAxis ratio(List<Double> ratios) {
        return new SweepAxis(
                RATIO,
                ratios.stream().map(SweepAxis::word).toList(),
                true,
                (setup, word) -> setup.withMasking(setup.masking().withRatio(Double.parseDouble(word))));
    }

    /** Masks of a clip, 1 or more. */
    public static SweepAxis ensemble(List<Integer> masks) {
        return new SweepAxis(
                ENSEMBLE,
                masks.stream().map(String::valueOf).toList(),
                true,
                (setup, word) -> setup.withMasking(setup.masking().withEnsemble(Integer.parseInt(word))));
    }

    /** Tokens that each block merges away, 0 or more. */
    public static SweepAxis merge(List<Integer> tokens) {
        return new SweepAxis(
                "merge",
                tokens.stream().map(String::valueOf).toList(),
                true,
                (setup, word) -> setup.withMasking(setup.masking()
                        .withReduction(new TokenReduction(Integer.parseInt(word), null, TokenReduction.Sizes.BOTH))));
    }

    /** Clips in a call, 1 or more. */
    public static SweepAxis batch(List<Integer> clips) {
        return new SweepAxis(
                "batch",
                clips.stream().map(String::valueOf).toList(),
                false,
                (setup, word) -> setup.withBatch(Integer.parseInt(word)));
    }

    /** The shortest word of a number: {@code 0} rather than {@code 0.0}. */
    static String word(double number) {
        String text = Double.toString(number);
        return text.endsWith(".0") ? text.substring(0, text.length() - 2) : text;
    }
}
