package tessera.distill.egosim;

import static tessera.distill.egosim.Texture.Pattern.*;

import tessera.distill.egosim.Texture.Pattern;

/** How one clip looks: everything that is appearance and not motion, drawn from its domain. */
final class Look {
    private static final long OBJECTS = 0x6F626A;

    /** A flat surface of two colours mixed by a texture that is scaled, turned and shifted. */
    record Surface(Texture texture, float[] dark, float[] bright, double scale, double cos, double sin, double shift) {}

    /**
     * Three colours (body, detail, hard parts) and the texture strength of an object.
     *
     * @param object which of the {@link Stock}'s objects of its kind it is
     */
    record Paint(float[][] colours, Texture texture, double strength, int object) {}

    final Surface table;
    final Surface wall;
    final float[] skin;
    final float[] sleeve;
    final Texture sleeveTexture;
    /** Share of the forearm that is bare. */
    final double bare;

    final double handScale;
    /** Towards the light, of length 1. */
    final Vec light;

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

    final Conditions conditions;

    private final Stock stock;
    private final Domain domain;
    private final int place;
    private final Draws draws;

    Look(Stock stock, Draws draws) {
        this.stock = stock;
        this.domain = stock.domain();
        this.place = Domain.ALL.indexOf(domain);
        this.draws = draws;
        table = switch (domain) {
            case SOURCE -> surface(.25, .75, .05, .5, draws.pick(WOOD, CLOTH, CARPET, CHECK, PLANKS));
            case KITCHEN -> surface(.55, 1.0, .0, .2, draws.pick(TILES, MARBLE, STEEL, SPECKLE));
            case WORKSHOP -> surface(.12, .5, .0, .3, draws.pick(PLATE, SAWDUST, CONCRETE, PLANKS));
        };
        wall = switch (domain) {
            case SOURCE -> surface(.3, .8, .0, .35, draws.pick(WOOD, CLOTH, CHECK));
            case KITCHEN -> surface(.6, 1.0, .0, .25, draws.pick(TILES, TILES, STEEL));
            case WORKSHOP -> surface(.05, .35, .0, .25, draws.pick(CONCRETE, PLATE, STEEL));
        };
        // Figures for homes, kitchens and workshops; where numbers are drawn, the least and the largest for each.
        boolean gloves = domain != Domain.SOURCE && draws.chance(here(0, .15, .7));
        bare = draws.chance(here(.5, .2, .85)) ? drawn(.1, .6, .4, .8, .0, .2) : 2;
        double warmth = drawn(0, .16, -.16, -.02, -.05, .12);
        double brightness = drawn(1.05, 1.5, 1.0, 1.3, 1.1, 1.6);
        ambient = drawn(.4, .6, .55, .75, .3, .45);
        contrast = (float) drawn(.9, 1.1, 1.05, 1.3, .75, 1.0);
        saturation = (float) drawn(.85, 1.1, .9, 1.3, .4, .75);
        noise = (float) drawn(2, 6, 1, 4, 7, 13);
        vignette = (float) drawn(0, .15, .1, .3, .35, .6);
        shine = drawn(0, .15, .2, .5, .1, .4);
        fieldOfView = drawn(52, 62, 64, 76, 44, 52);
        distance = drawn(3.7, 4.6, 3.3, 4.1, 4.3, 5.3);
        pitch = drawn(.72, 1.0, .8, 1.1, .7, .92);
        headShift = here(.3, .45, .2);
        headTurn = here(.055, .1, .04);
        headPace = here(.7, .9, 1.1);
        shiver = here(.003, .005, .008);
        clutter = domain == Domain.SOURCE ? 1 + draws.below(3) : 2 + draws.below(domain == Domain.KITCHEN ? 3 : 4);
        skin = gloves ? glove() : skinTone();
        sleeve = domain == Domain.WORKSHOP
                ? hsv(draws.uniform(.55, .68), draws.uniform(.2, .6), draws.uniform(.15, .4))
                : hsv(draws.uniform(), draws.uniform(0, .7), draws.uniform(.2, .95));
        sleeveTexture = Texture.of(draws.pick(CLOTH, CHECK, SAWDUST));
        handScale = draws.uniform(.9, 1.12);
        double azimuth = draws.uniform(0, 2 * Math.PI);
        double lean = draws.uniform(.2, .9);
        light = new Vec(Math.cos(azimuth) * Math.sin(lean), Math.sin(azimuth) * Math.sin(lean), Math.cos(lean));
        gain = new float[] {(float) (brightness * (1 + warmth)), (float) brightness, (float) (brightness * (1 - warmth))
        };
        flicker = new Wave(draws, .04, 2);
        double lit = brightness * (ambient + (1 - ambient) * light.z()) * mean(table);
        double shutter = drawn(1 / 60.0, 1 / 30.0, 1 / 120.0, 1 / 60.0, 1 / 30.0, 1 / 15.0);
        conditions = new Conditions(Conditions.grain(noise, lit), shutter, gloves, clutter);
    }

    /** Mean of a surface's colours. */
    private static double mean(Surface surface) {
        double sum = 0;
        for (int k = 0; k < 3; k++) {
            sum += surface.dark[k] + surface.bright[k];
        }
        return sum / 6;
    }

    /** Paint of one of the stock's objects of a kind, chosen at random. */
    Paint paint(Noun noun) {
        int object = stock.pick(draws);
        return paint(stock.draws(OBJECTS, noun, object), object);
    }

    private Paint paint(Draws draws, int object) {
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
        Texture texture = Texture.of(draws.pick(SAWDUST, CLOTH, STEEL, SPECKLE, CHECK));
        return new Paint(colours, texture, draws.uniform(.05, .45), object);
    }

    /** The figure of this domain among those of all. */
    private double here(double... figures) {
        return figures[place];
    }

    /** A number drawn between the two figures of this domain. */
    private double drawn(double... bounds) {
        return draws.uniform(bounds[2 * place], bounds[2 * place + 1]);
    }

    private Surface surface(
            double darkest, double brightest, double minSaturation, double maxSaturation, Pattern pattern) {
        double hue = drawn(-.02, .2, .4, .7, 0, 1);
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
        double depth = drawn(0, 1, 0, .6, 0, 1);
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
