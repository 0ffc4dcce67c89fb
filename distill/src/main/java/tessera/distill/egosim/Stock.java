package tessera.distill.egosim;

import tessera.distill.data.Split;

/**
 * The things that clips of a split show in a domain. A domain has a fixed number of each kind, whose paints and sounds follow from the
 * benchmark's seed, and clips choose among them: as in real homes, the same cups recur from clip to clip.
 *
 * <p>Homes have {@value #HOMES} of a kind, for clips of every split. A target domain, which is one place, has {@value #PLACE}: the first
 * third is for training (unlabelled clips, and those of the source's classes), the second for validation and the last for test, so a thing in
 * a test clip is in no unlabelled one.
 */
record Stock(long seed, Domain domain, Split split) {
    static final int HOMES = 16;
    static final int PLACE = 12;

    private static final int SHARE = PLACE / 3;

    /** One of the things of a kind that these clips may show. */
    int pick(Draws draws) {
        return domain == Domain.SOURCE ? draws.below(HOMES) : SHARE * share() + draws.below(SHARE);
    }

    private int share() {
        return switch (split) {
            case SOURCE_TRAIN, TARGET_UNLABELLED -> 0;
            case VALIDATION -> 1;
            case TEST -> 2;
        };
    }

    /**
     * What a thing is like: the same for one thing in all clips.
     *
     * @param what of it, so that its paint and its sound are drawn apart
     */
    Draws draws(long what, Noun noun, int thing) {
        return new Draws(what, seed, Domain.ALL.indexOf(domain), Noun.ALL.indexOf(noun), thing);
    }
}
