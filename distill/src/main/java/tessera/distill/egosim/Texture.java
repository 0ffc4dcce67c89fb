package tessera.distill.egosim;

import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;

/** A tiling grey texture in [0, 1] with its mip levels. Immutable; shared by all threads. */
final class Texture {
    /** The patterns; the first ones belong to homes, then kitchens, then workshops. */
    enum Pattern {
        WOOD,
        CLOTH,
        CARPET,
        CHECK,
        TILES,
        MARBLE,
        STEEL,
        SPECKLE,
        PLATE,
        SAWDUST,
        CONCRETE,
        PLANKS
    }

    private static final int SIZE = 128;
    private static final int LEVELS = 6;
    private static final Map<Pattern, Texture> ALL = new EnumMap<>(Pattern.class);

    static {
        for (Pattern p : Pattern.values()) {
            ALL.put(p, new Texture(p, ALL.size()));
        }
    }

    private final float[][] levels = new float[LEVELS][];

    private Texture(Pattern pattern, int salt) {
        var base = new float[SIZE * SIZE];
        for (int y = 0; y < SIZE; y++) {
            for (int x = 0; x < SIZE; x++) {
                base[y * SIZE + x] =
                        (float) Math.clamp(paint(pattern, salt, x / (double) SIZE, y / (double) SIZE), 0, 1);
            }
        }
        levels[0] = base;
        for (int l = 1; l < LEVELS; l++) {
            int n = SIZE >> l;
            var above = levels[l - 1];
            var level = new float[n * n];
            for (int y = 0; y < n; y++) {
                for (int x = 0; x < n; x++) {
                    int i = 2 * y * 2 * n + 2 * x;
                    level[y * n + x] = (above[i] + above[i + 1] + above[i + 2 * n] + above[i + 2 * n + 1]) / 4;
                }
            }
            levels[l] = level;
        }
    }

    static Texture of(Pattern pattern) {
        return Objects.requireNonNull(ALL.get(pattern));
    }

    /** Bilinear value at texture coordinates that repeat with period 1, at the mip level of a footprint in texels. */
    float at(double u, double v, double footprint) {
        int l = 0;
        while (l < LEVELS - 1 && footprint > 1.5 * (1 << l)) {
            l++;
        }
        int n = SIZE >> l;
        double x = u * n - .5;
        double y = v * n - .5;
        int x0 = (int) Math.floor(x);
        int y0 = (int) Math.floor(y);
        float fx = (float) (x - x0);
        float fy = (float) (y - y0);
        int xa = x0 & n - 1;
        int xb = x0 + 1 & n - 1;
        int ya = (y0 & n - 1) * n;
        int yb = (y0 + 1 & n - 1) * n;
        float[] t = levels[l];
        float top = t[ya + xa] + fx * (t[ya + xb] - t[ya + xa]);
        float bottom = t[yb + xa] + fx * (t[yb + xb] - t[yb + xa]);
        return top + fy * (bottom - top);
    }

    static double texels(double scale) {
        return scale * SIZE;
    }

    private static double paint(Pattern pattern, int salt, double u, double v) {
        return switch (pattern) {
            case WOOD -> {
                double grain = noise(u, v, 3, 24, salt);
                double rings = Math.sin(2 * Math.PI * (6 * v + 1.2 * noise(u, v, 2, 3, salt + 40)));
                yield .5 + .25 * rings + .5 * (grain - .5);
            }
            case CLOTH ->
                .5
                        + .25 * Math.sin(2 * Math.PI * 16 * u) * Math.sin(2 * Math.PI * 16 * v)
                        + .9 * (fractal(u, v, 4, salt) - .5);
            case CARPET ->
                Math.sin(2 * Math.PI * (4 * u + fractal(u, v, 3, salt)))
                                        * Math.sin(2 * Math.PI * (4 * v + fractal(u, v, 3, salt + 9)))
                                > 0
                        ? .85 - .3 * noise(u, v, 48, 48, salt)
                        : .15 + .3 * noise(u, v, 48, 48, salt);
            case CHECK -> .2 + .3 * (cell(u, 8) + cell(v, 8)) + .2 * (noise(u, v, 32, 32, salt) - .5);
            case TILES ->
                edge(u, 4, .05) || edge(v, 4, .05)
                        ? .05
                        : .75
                                + .3 * (hash((int) (4 * u), (int) (4 * v), salt) - .5)
                                + .2 * (fractal(u, v, 6, salt) - .5);
            case MARBLE -> {
                double vein = Math.abs(Math.sin(2 * Math.PI * (2 * u + v + 1.6 * fractal(u, v, 3, salt))));
                yield .95 - .8 * Math.pow(1 - vein, 3) - .2 * fractal(u, v, 8, salt);
            }
            case STEEL -> .5 + .7 * (noise(u, v, 2, 48, salt) - .5) + .3 * (noise(u, v, 3, 3, salt) - .5);
            case SPECKLE -> noise(u, v, 40, 40, salt) > .68 ? .1 + .3 * noise(u, v, 16, 16, salt) : .8;
            case PLATE -> {
                double a = (u + v) * 6 % 1;
                double b = (u - v + 1) * 6 % 1;
                boolean first = (int) ((u + v) * 6) + (int) ((u - v + 1) * 6) % 2 == 0;
                double bump = first ? Math.abs(a - .5) : Math.abs(b - .5);
                yield (bump < .14 ? .85 : .4) + .5 * (fractal(u, v, 5, salt) - .5);
            }
            case SAWDUST -> fractal(u, v, 12, salt) * .7 + .5 * (noise(u, v, 64, 64, salt) - .3);
            case CONCRETE ->
                .2
                        + .6 * fractal(u, v, 2, salt)
                        + .25 * (noise(u, v, 50, 50, salt) - .5)
                        - (Math.abs(fractal(u, v, 3, salt + 5) - .5) < .012 ? .4 : 0);
            case PLANKS ->
                edge(v, 5, .06)
                        ? .0
                        : .35
                                + .5 * hash((int) (5 * v), 3, salt) * .6
                                + .6 * (noise(u, v, 4, 60, salt) - .5)
                                + .2 * fractal(u, v, 4, salt);
        };
    }

    private static double cell(double u, int n) {
        return (int) (u * n) % 2;
    }

    private static boolean edge(double u, int n, double width) {
        return u * n % 1 < width;
    }

    private static double fractal(double u, double v, int period, int salt) {
        return (noise(u, v, period, period, salt)
                        + noise(u, v, 2 * period, 2 * period, salt + 1) / 2
                        + noise(u, v, 4 * period, 4 * period, salt + 2) / 4)
                / 1.75;
    }

    /** Value noise on a lattice that repeats. */
    private static double noise(double u, double v, int nu, int nv, int salt) {
        double x = u * nu;
        double y = v * nv;
        int x0 = (int) x;
        int y0 = (int) y;
        double fx = smooth(x - x0);
        double fy = smooth(y - y0);
        double top = lerp(hash(x0 % nu, y0 % nv, salt), hash((x0 + 1) % nu, y0 % nv, salt), fx);
        double low = lerp(hash(x0 % nu, (y0 + 1) % nv, salt), hash((x0 + 1) % nu, (y0 + 1) % nv, salt), fx);
        return lerp(top, low, fy);
    }

    private static double hash(int x, int y, int salt) {
        return (Draws.mix(x * 0x9E3779B97F4A7C15L ^ y * 0xC2B2AE3D27D4EB4FL ^ (salt + 1L) * 0x165667B19E3779F9L) >>> 11)
                * 0x1p-53;
    }

    private static double smooth(double t) {
        return t * t * (3 - 2 * t);
    }

    private static double lerp(double a, double b, double t) {
        return a + t * (b - a);
    }
}
