package tessera.distill.egosim;

/**
 * How a thing sounds: the partial tones of a struck body (Fletcher and Rossing, "The physics of musical instruments", 1998) with
 * figures of our choice for each noun, and what is in it.
 *
 * @param partials frequencies over the lowest
 * @param pitch of the lowest, in Hz
 * @param ring seconds in which the lowest falls to 1/e; higher ones fall faster
 * @param bright each partial's strength over that of the one below, 0 to 1
 * @param rough middle of the noise that rubbing it makes, in Hz
 */
record Timbre(double[] partials, double pitch, double ring, double bright, double rough, Contents contents) {
    /** Rings and rims, n (n^2 - 1) / sqrt(n^2 + 1) for n = 2, 3, .. (Rayleigh). */
    private static final double[] SHELL = {1, 2.83, 5.42, 8.77};
    /** A free bar. */
    private static final double[] BAR = {1, 2.757, 5.404, 8.933};
    /** A plate of sides 1 and 1.4, supported at its edges. */
    private static final double[] PLATE = {1, 2.01, 2.99, 3.7, 4};
    /** A column of air with one end closed. */
    private static final double[] TUBE = {1, 3, 5, 7};
    /** A round membrane. */
    private static final double[] SKIN = {1, 1.59, 2.14, 2.3};

    private static final long OBJECTS = 0x736F756E64L;

    /** What moves within a thing. */
    enum Contents {
        NONE,
        /** Some small hard things. */
        PIECES,
        /** A liquid that cannot run out. */
        LIQUID,
        /** A liquid under an opening. */
        OPEN_LIQUID
    }

    /** The timbre of one of a stock's objects of a kind. */
    static Timbre of(Noun noun, Stock stock, int object) {
        return of(noun).varied(stock.draws(OBJECTS, noun, object));
    }

    private static Timbre of(Noun noun) {
        return switch (noun) {
            case CUP -> new Timbre(SHELL, 1350, .1, .8, 2600, Contents.OPEN_LIQUID);
            case BOTTLE -> new Timbre(TUBE, 420, .05, .5, 1500, Contents.OPEN_LIQUID);
            case BOX -> new Timbre(PLATE, 190, .04, .5, 700, Contents.PIECES);
            case BALL -> new Timbre(SKIN, 300, .07, .4, 450, Contents.NONE);
            case PAN -> new Timbre(SHELL, 640, .5, .9, 3400, Contents.OPEN_LIQUID);
            case BOOK -> new Timbre(PLATE, 130, .025, .4, 1100, Contents.NONE);
            case PHONE -> new Timbre(PLATE, 900, .03, .7, 3000, Contents.NONE);
            case KNIFE -> new Timbre(BAR, 2300, .3, 1, 4600, Contents.NONE);
            case BOWL -> new Timbre(SHELL, 880, .25, .8, 2200, Contents.OPEN_LIQUID);
            case CAN -> new Timbre(TUBE, 760, .1, .8, 1900, Contents.LIQUID);
            case JAR -> new Timbre(SHELL, 1750, .16, .85, 2900, Contents.PIECES);
            case HAMMER -> new Timbre(BAR, 1500, .2, .9, 3800, Contents.NONE);
            case SPONGE -> new Timbre(PLATE, 90, .015, .2, 350, Contents.NONE);
            case LOAF -> new Timbre(PLATE, 110, .02, .2, 550, Contents.NONE);
        };
    }

    /** The table of a domain: wood, stone, or sheets of steel. */
    static Timbre table(Domain domain, Draws draws) {
        Timbre usual = switch (domain) {
            case SOURCE -> new Timbre(PLATE, 170, .04, .5, 900, Contents.NONE);
            case KITCHEN -> new Timbre(PLATE, 420, .015, .5, 2400, Contents.NONE);
            case WORKSHOP -> new Timbre(PLATE, 260, .15, .8, 3200, Contents.NONE);
        };
        return usual.varied(draws);
    }

    private Timbre varied(Draws draws) {
        double higher = Math.pow(2, draws.uniform(-.25, .25));
        double longer = Math.pow(2, draws.uniform(-.5, .5));
        double rougher = Math.pow(2, draws.uniform(-.25, .25));
        return new Timbre(partials, pitch * higher, ring * longer, bright, rough * rougher, contents);
    }
}
