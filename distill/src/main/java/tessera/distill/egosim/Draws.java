package tessera.distill.egosim;

/**
 * SplitMix64 (Steele, Lea and Flood 2014), started from a hash of its keys: what one clip draws never depends on what
 * else was drawn. Not thread-safe.
 */
final class Draws {
    private static final long GAMMA = 0x9E3779B97F4A7C15L;
    private static final int TABLE_BITS = 12;
    private static final float[] NORMAL_TABLE = normalTable();

    private long state;

    Draws(long... keys) {
        long hash = GAMMA;
        for (long key : keys) {
            hash = mix(hash ^ mix(key + GAMMA));
        }
        state = hash;
    }

    static long mix(long z) {
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }

    long bits() {
        state += GAMMA;
        return mix(state);
    }

    double uniform() {
        return (bits() >>> 11) * 0x1p-53;
    }

    double uniform(double low, double high) {
        return low + (high - low) * uniform();
    }

    double normal() {
        return Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    }

    int below(int n) {
        return (int) (uniform() * n);
    }

    boolean chance(double probability) {
        return uniform() < probability;
    }

    @SafeVarargs
    final <T> T pick(T... some) {
        return some[below(some.length)];
    }

    int sign() {
        return chance(.5) ? 1 : -1;
    }

    /** A coarse normal number from the lowest bits of a word: fast enough for every pixel. */
    static float tableNormal(long bits) {
        return NORMAL_TABLE[(int) bits & (1 << TABLE_BITS) - 1];
    }

    private static float[] normalTable() {
        var draws = new Draws(1);
        var table = new float[1 << TABLE_BITS];
        for (int i = 0; i < table.length; i += 2) {
            table[i] = (float) draws.normal();
            table[i + 1] = -table[i];
        }
        return table;
    }
}
