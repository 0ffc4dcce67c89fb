package tessera.distill.egosim;

import tessera.distill.egosim.Texture.Pattern;

/** How one clip looks: everything that is appearance and not motion, drawn from its domain. */
final class Look {
    /** Objects of one kind in all source homes together. */
    private static final int SOURCE_OBJECTS = 8;

    /** Objects of one kind in a target domain, which is a single place. */
    private static final int TARGET_OBJECTS = 2;

    private static final long OBJECTS = 0x6F626A;

    /** A flat surface of two colours mixed by a texture that is scaled, turned and shifted. */
    record Surface(Texture texture, float[] dark, float[] bright, double scale, double cos, double sin, double shift) {}

    /** Three colours (body, detail, hard parts) and the texture strength of an object. */
    record Paint(float[][] colours, Texture texture, double strength) {}

    final Surface table;
    final Surface wall;
    final float[] skin;
    final float[] sleeve;
    final Texture sleeveTexture;
    /** Share of the forearm that is bare. */
    final double bare;

    final double handScale;
    final double lightX;
    final double lightY;
    final double lightZ;
    final double ambient;
    final double shine;
    final float[] gain;
    final float contrast;
    final float saturation;
    final float noise;
    final float vignette;
    final Wave flicker;

    final double fieldOfView;
    final double distance;
    final double pitch;
    final double headShift;
    final double headTurn;
    final double headPace;
    final double shiver;
    final int clutter;

    private final Domain domain;
    private final Draws draws;

    Look(Domain domain, Draws draws) {
        this.domain = domain;
        this.draws = draws;
        boolean gloves;
        double warmth;
        double brightness;
        switch (domain) {
            case SOURCE -> {
                table = surface(
                        .25,
                        .75,
                        .05,
                        .5,
                        pick(Pattern.WOOD, Pattern.CLOTH, Pattern.CARPET, Pattern.CHECK, Pattern.PLANKS));
                wall = surface(.3, .8, .0, .35, pick(Pattern.WOOD, Pattern.CLOTH, Pattern.CHECK));
                gloves = false;
                bare = draws.chance(.5) ? draws.uniform(.1, .6) : 2;
                warmth = draws.uniform(0, .16);
                brightness = draws.uniform(1.05, 1.5);
                ambient = draws.uniform(.4, .6);
                contrast = (float) draws.uniform(.9, 1.1);
                saturation = (float) draws.uniform(.85, 1.1);
                noise = (float) draws.uniform(2, 6);
                vignette = (float) draws.uniform(0, .15);
                shine = draws.uniform(0, .15);
                fieldOfView = draws.uniform(52, 62);
                distance = draws.uniform(3.7, 4.6);
                pitch = draws.uniform(.72, 1.0);
                headShift = .3;
                headTurn = .055;
                headPace = .7;
                shiver = .003;
                clutter = 1 + draws.below(3);
            }
            case KITCHEN -> {
                table = surface(.55, 1.0, .0, .2, pick(Pattern.TILES, Pattern.MARBLE, Pattern.STEEL, Pattern.SPECKLE));
                wall = surface(.6, 1.0, .0, .25, pick(Pattern.TILES, Pattern.TILES, Pattern.STEEL));
                gloves = draws.chance(.15);
                bare = draws.chance(.2) ? draws.uniform(.4, .8) : 2;
                warmth = draws.uniform(-.16, -.02);
                brightness = draws.uniform(1.0, 1.3);
                ambient = draws.uniform(.55, .75);
                contrast = (float) draws.uniform(1.05, 1.3);
                saturation = (float) draws.uniform(.9, 1.3);
                noise = (float) draws.uniform(1, 4);
                vignette = (float) draws.uniform(.1, .3);
                shine = draws.uniform(.2, .5);
                fieldOfView = draws.uniform(64, 76);
                distance = draws.uniform(3.3, 4.1);
                pitch = draws.uniform(.8, 1.1);
                headShift = .45;
                headTurn = .1;
                headPace = .9;
                shiver = .005;
                clutter = 2 + draws.below(3);
            }
            default -> {
                table = surface(
                        .12, .5, .0, .3, pick(Pattern.PLATE, Pattern.SAWDUST, Pattern.CONCRETE, Pattern.PLANKS));
                wall = surface(.05, .35, .0, .25, pick(Pattern.CONCRETE, Pattern.PLATE, Pattern.STEEL));
                gloves = draws.chance(.7);
                bare = draws.chance(.85) ? draws.uniform(.0, .2) : 2;
                warmth = draws.uniform(-.05, .12);
                brightness = draws.uniform(1.1, 1.6);
                ambient = draws.uniform(.3, .45);
                contrast = (float) draws.uniform(.75, 1.0);
                saturation = (float) draws.uniform(.4, .75);
                noise = (float) draws.uniform(7, 13);
                vignette = (float) draws.uniform(.35, .6);
                shine = draws.uniform(.1, .4);
                fieldOfView = draws.uniform(44, 52);
                distance = draws.uniform(4.3, 5.3);
                pitch = draws.uniform(.7, .92);
                headShift = .2;
                headTurn = .04;
                headPace = 1.1;
                shiver = .008;
                clutter = 2 + draws.below(4);
            }
        }
        skin = gloves ? glove() : skinTone();
        sleeve = domain == Domain.WORKSHOP
                ? hsv(draws.uniform(.55, .68), draws.uniform(.2, .6), draws.uniform(.15, .4))
                : hsv(draws.uniform(), draws.uniform(0, .7), draws.uniform(.2, .95));
        sleeveTexture = Texture.of(pick(Pattern.CLOTH, Pattern.CHECK, Pattern.SAWDUST));
        handScale = draws.uniform(.9, 1.12);
        double azimuth = draws.uniform(0, 2 * Math.PI);
        double lean = draws.uniform(.2, .9);
        lightX = Math.cos(azimuth) * Math.sin(lean);
        lightY = Math.sin(azimuth) * Math.sin(lean);
        lightZ = Math.cos(lean);
        gain = new float[] {(float) (brightness * (1 + warmth)), (float) brightness, (float) (brightness * (1 - warmth))
        };
        flicker = new Wave(draws, .04, 2);
    }

    /**
     * Paint of one of the domain's own objects of a kind, chosen at random: as in a real home, a few cups and knives recur
     * from clip to clip, and another place has others.
     */
    Paint paint(Noun noun) {
        int kept = domain == Domain.SOURCE ? SOURCE_OBJECTS : TARGET_OBJECTS;
        return paint(new Draws(OBJECTS, domain.ordinal(), noun.ordinal(), draws.below(kept)));
    }

    private Paint paint(Draws draws) {
        var colours = new float[3][];
        switch (domain) {
            case SOURCE -> {
                colours[0] = hsv(draws.uniform(), draws.uniform(.15, .8), draws.uniform(.35, .9));
                colours[1] = hsv(draws.uniform(), draws.uniform(.0, .7), draws.uniform(.3, .95));
                colours[2] = hsv(draws.uniform(), draws.uniform(0, .3), draws.uniform(.2, .8));
            }
            case KITCHEN -> {
                boolean white = draws.chance(.5);
                colours[0] = white
                        ? hsv(.6, draws.uniform(0, .08), draws.uniform(.8, 1))
                        : hsv(draws.uniform(.3, 1), draws.uniform(.7, 1), draws.uniform(.6, 1));
                colours[1] = hsv(draws.uniform(), draws.uniform(.6, 1), draws.uniform(.5, 1));
                colours[2] = hsv(.6, draws.uniform(0, .1), draws.uniform(.55, .85));
            }
            default -> {
                double hue = draws.chance(.5) ? draws.uniform(.0, .16) : draws.uniform(.55, .65);
                colours[0] = hsv(hue, draws.uniform(.5, 1), draws.uniform(.3, .8));
                colours[1] = hsv(draws.uniform(.0, .15), draws.uniform(.1, 1), draws.uniform(.08, .5));
                colours[2] = hsv(.58, draws.uniform(0, .2), draws.uniform(.2, .5));
            }
        }
        Pattern[] patterns = {Pattern.SAWDUST, Pattern.CLOTH, Pattern.STEEL, Pattern.SPECKLE, Pattern.CHECK};
        Texture texture = Texture.of(patterns[draws.below(patterns.length)]);
        return new Paint(colours, texture, draws.uniform(.05, .45));
    }

    private Pattern pick(Pattern... patterns) {
        return patterns[draws.below(patterns.length)];
    }

    private Surface surface(
            double darkest, double brightest, double minSaturation, double maxSaturation, Pattern pattern) {
        double hue = domain == Domain.SOURCE
                ? draws.uniform(-.02, .2)
                : domain == Domain.KITCHEN ? draws.uniform(.4, .7) : draws.uniform(0, 1);
        float[] dark = hsv(
                hue + draws.uniform(-.05, .05),
                draws.uniform(minSaturation, maxSaturation),
                draws.uniform(darkest, .5 * (darkest + brightest)));
        float[] bright = hsv(
                hue + draws.uniform(-.08, .08),
                draws.uniform(minSaturation, .7 * maxSaturation),
                draws.uniform(.5 * (darkest + brightest), brightest));
        double turn = draws.uniform(-.6, .6) + (draws.chance(.5) ? Math.PI / 2 : 0);
        return new Surface(
                Texture.of(pattern),
                dark,
                bright,
                draws.uniform(.12, .3),
                Math.cos(turn),
                Math.sin(turn),
                draws.uniform());
    }

    private float[] skinTone() {
        double depth = domain == Domain.KITCHEN ? draws.uniform(.0, .6) : draws.uniform(0, 1);
        return new float[] {(float) (.95 - .58 * depth), (float) (.74 - .52 * depth), (float) (.62 - .47 * depth)};
    }

    private float[] glove() {
        return switch (draws.below(3)) {
            case 0 -> hsv(draws.uniform(.05, .14), draws.uniform(.6, 1), draws.uniform(.5, .9));
            case 1 -> hsv(draws.uniform(.55, .65), draws.uniform(.4, .9), draws.uniform(.4, .8));
            default -> hsv(draws.uniform(), draws.uniform(0, .15), draws.uniform(.12, .5));
        };
    }

    private static float[] hsv(double hue, double saturation, double value) {
        var rgb = new float[3];
        double h = (hue - Math.floor(hue)) * 6;
        for (int i = 0; i < 3; i++) {
            double k = (h + 5 - 2 * i) % 6;
            rgb[i] = (float) (value * (1 - saturation * Math.clamp(Math.min(k, 4 - k), 0, 1)));
        }
        return rgb;
    }
}
