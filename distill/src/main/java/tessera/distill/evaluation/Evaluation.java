package tessera.distill.evaluation;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.HeadLabels;

/**
 * How good a student is on labelled clips that were seen in one way: accuracy and calibration of each head, and of verb and noun
 * together where it has both.
 *
 * @param heads in the student's order
 * @param action verb and noun together, or null where there is no head for one of them
 */
public record Evaluation(List<OfHead> heads, @Nullable ActionAccuracy action) {
    private static final int FEW = 5;

    /**
     * What one head is worth.
     *
     * @param head its name
     * @param top1 clips whose class has the highest score
     * @param top5 clips whose class is among the five highest scores, or among all where there are fewer classes
     * @param reliability of its confidences
     * @param scaled the same after temperature scaling, or null where no temperature was given
     */
    public record OfHead(
            String head,
            Share top1,
            Share top5,
            Reliability reliability,
            @Nullable Scaled scaled) {}

    /**
     * A reference line: what confidences are worth that a temperature has scaled.
     *
     * @param temperature fitted on clips that are not those judged
     */
    public record Scaled(double temperature, Reliability reliability) {}

    /** The rare classes of verbs and of nouns, {@link TailClasses}. */
    public record Tail(Set<String> verbs, Set<String> nouns) {
        /** No class is rare, or none is known to be. */
        public static final Tail NONE = new Tail(Set.of(), Set.of());

        public Tail {
            verbs = Set.copyOf(verbs);
            nouns = Set.copyOf(nouns);
        }
    }

    public Evaluation {
        heads = List.copyOf(heads);
    }

    /**
     * Judges class scores.
     *
     * @param logits of each head, {@link MultiView#logits}
     * @param labels of the clips by the head's name, in the order of its classes, {@link HeadLogits#numbered}; heads without are left
     *     out
     * @param temperatures of heads by name, {@link #temperatures}; of none, some or all
     * @param tail the rare classes of the training set
     * @throws IllegalArgumentException if no head has labels, or labels do not fit the scores
     */
    public static Evaluation of(
            List<HeadLogits> logits, Map<String, int[]> labels, Map<String, Double> temperatures, Tail tail) {
        Map<String, HeadLogits> judged = new LinkedHashMap<>();
        List<OfHead> heads = new ArrayList<>();
        for (HeadLogits head : logits) {
            int[] own = labels.get(head.head());
            if (own != null) {
                judged.put(head.head(), head);
                heads.add(judge(head, own, temperatures.get(head.head())));
            }
        }
        if (heads.isEmpty()) {
            throw new IllegalArgumentException("evaluation: the clips have labels for " + labels.keySet()
                    + " but the student's heads are "
                    + logits.stream().map(HeadLogits::head).toList()
                    + "; pass clips that are labelled for one of these");
        }
        HeadLogits verbs = judged.get(ActionAccuracy.VERB);
        HeadLogits nouns = judged.get(ActionAccuracy.NOUN);
        int[] verb = labels.get(ActionAccuracy.VERB);
        int[] noun = labels.get(ActionAccuracy.NOUN);
        ActionAccuracy action = verbs == null || nouns == null || verb == null || noun == null
                ? null
                : ActionAccuracy.of(verbs, verb, nouns, noun, tail.verbs(), tail.nouns());
        return new Evaluation(heads, action);
    }

    private static OfHead judge(HeadLogits head, int[] labels, @Nullable Double temperature) {
        int few = Math.min(FEW, head.labels().size());
        return new OfHead(
                head.head(),
                new Share(Classification.hits(head.values(), labels, 1), labels.length),
                new Share(Classification.hits(head.values(), labels, few), labels.length),
                Reliability.of(head.probabilities(), labels),
                temperature == null
                        ? null
                        : new Scaled(temperature, Reliability.of(head.probabilities(temperature), labels)));
    }

    /**
     * Labels of clips for each head that they have some for, as {@link #of} and {@link #temperatures} take them: a head's classes are
     * found by their names.
     *
     * @throws IllegalArgumentException if a clip's class is none of a head's
     */
    public static Map<String, int[]> labels(ClipSet clips, List<HeadLogits> logits) {
        Map<String, int[]> labels = new LinkedHashMap<>();
        for (HeadLogits head : logits) {
            if (clips.heads().contains(head.head())) {
                HeadLabels own = clips.head(head.head());
                labels.put(head.head(), head.numbered(own.classes(), own.ofClip()));
            }
        }
        return labels;
    }

    /**
     * The temperature of each head.
     *
     * @param logits of held-out clips of the training classes, never of those that are judged
     * @param labels of these clips by the head's name, as for {@link #of}; heads without are left out
     */
    public static Map<String, Double> temperatures(List<HeadLogits> logits, Map<String, int[]> labels) {
        Map<String, Double> temperatures = new HashMap<>();
        for (HeadLogits head : logits) {
            int[] own = labels.get(head.head());
            if (own != null) {
                temperatures.put(head.head(), TemperatureScaling.fit(head.values(), own));
            }
        }
        return temperatures;
    }

    /** What a head is worth, if it was judged. */
    public Optional<OfHead> head(String name) {
        return heads.stream().filter(head -> head.head().equals(name)).findFirst();
    }

    /** The one figure to choose and to draw by: of actions where verbs and nouns are judged, else top-1 of the first head. */
    public Share accuracy() {
        return action == null ? heads.getFirst().top1() : action.all();
    }
}
