package tessera.distill.fewshot;

/**
 * Random orders by SplitMix64 (Steele, Lea and Flood 2014) with a Fisher-Yates shuffle: a seed gives the same ones on every Java
 * version. Not thread-safe.
 */
final class Shuffle {
    private long state;

    Shuffle(long seed) {
        state = seed;
    }

    void of(int[] values) {
        for (int i = values.length - 1; i > 0; i--) {
            int j = (int) Math.unsignedMultiplyHigh(nextLong(), i + 1L);
            int swapped = values[i];
            values[i] = values[j];
            values[j] = swapped;
        }
    }

    private long nextLong() {
        state += 0x9E3779B97F4A7C15L;
        long z = state;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
