package tessera.distill.evaluation;

import java.util.Set;

/**
 * What EPIC-KITCHENS calls an action: a verb with a noun, right if both are. There is no head of its own for it.
 *
 * @param all of all clips
 * @param tailVerbs verb accuracy of the clips whose verb is a tail class
 * @param tailNouns noun accuracy of the clips whose noun is a tail class
 * @param tailAnd of the clips whose verb and whose noun are tail classes
 * @param tailOr of the clips whose verb or whose noun is a tail class, which is the benchmark's own definition of a tail action
 */
public record ActionAccuracy(Share all, Share tailVerbs, Share tailNouns, Share tailAnd, Share tailOr) {
    /** The name of the head of verbs. */
    public static final String VERB = "verb";

    /** The name of the head of nouns. */
    public static final String NOUN = "noun";

    /**
     * Counts the clips.
     *
     * @param verbs class scores of the clips
     * @param verbLabels of each clip, in the order of the head's classes
     * @param nouns class scores of the same clips
     * @param nounLabels of each clip, in the order of the head's classes
     * @param tailVerbs {@link TailClasses}; empty if they are not known: then no clip is in the tail
     * @param tailNouns the same of the nouns
     * @throws IllegalArgumentException if the arrays do not fit together
     */
    public static ActionAccuracy of(
            HeadLogits verbs,
            int[] verbLabels,
            HeadLogits nouns,
            int[] nounLabels,
            Set<String> tailVerbs,
            Set<String> tailNouns) {
        Classification.check("action accuracy", verbs.values(), verbLabels);
        Classification.check("action accuracy", nouns.values(), nounLabels);
        if (verbs.clips() != nouns.clips()) {
            throw new IllegalArgumentException("action accuracy: " + verbs.clips() + " clips have verbs and "
                    + nouns.clips() + " have nouns; pass the scores of the same clips");
        }
        Count all = new Count();
        Count rareVerbs = new Count();
        Count rareNouns = new Count();
        Count both = new Count();
        Count either = new Count();
        for (int i = 0; i < verbs.clips(); i++) {
            boolean verb = Classification.rank(verbs.values()[i], verbLabels[i]) == 0;
            boolean noun = Classification.rank(nouns.values()[i], nounLabels[i]) == 0;
            boolean rareVerb = tailVerbs.contains(verbs.labels().get(verbLabels[i]));
            boolean rareNoun = tailNouns.contains(nouns.labels().get(nounLabels[i]));
            all.add(true, verb && noun);
            rareVerbs.add(rareVerb, verb);
            rareNouns.add(rareNoun, noun);
            both.add(rareVerb && rareNoun, verb && noun);
            either.add(rareVerb || rareNoun, verb && noun);
        }
        return new ActionAccuracy(all.share(), rareVerbs.share(), rareNouns.share(), both.share(), either.share());
    }

    private static final class Count {
        private int hits;
        private int clips;

        void add(boolean counts, boolean hit) {
            clips += counts ? 1 : 0;
            hits += counts && hit ? 1 : 0;
        }

        Share share() {
            return new Share(hits, clips);
        }
    }
}
