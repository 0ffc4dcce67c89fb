package tessera.kernels;

/**
 * Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * <p>A pure function of (seed, stream, counter): 128 random bits that are the same on every device, in any order, from any
 * number of threads. The key is the seed; the counter's low 64 bits are {@code counter}, its high 64 bits {@code stream}.
 */
public final class Philox {
    private static final int M0 = 0xD2511F53;
    private static final int M1 = 0xCD9E8D57;
    private static final int W0 = 0x9E3779B9;
    private static final int W1 = 0xBB67AE85;

    private Philox() {}

    /** Four random words; {@code out} has at least 4 elements. */
    public static void words(long seed, long stream, long counter, int[] out) {
        int k0 = (int) seed;
        int k1 = (int) (seed >>> 32);
        int c0 = (int) counter;
        int c1 = (int) (counter >>> 32);
        int c2 = (int) stream;
        int c3 = (int) (stream >>> 32);
        for (int round = 0; round < 10; round++) {
            long p0 = (M0 & 0xFFFFFFFFL) * (c0 & 0xFFFFFFFFL);
            long p1 = (M1 & 0xFFFFFFFFL) * (c2 & 0xFFFFFFFFL);
            c0 = (int) (p1 >>> 32) ^ c1 ^ k0;
            c2 = (int) (p0 >>> 32) ^ c3 ^ k1;
            c1 = (int) p1;
            c3 = (int) p0;
            k0 += W0;
            k1 += W1;
        }
        out[0] = c0;
        out[1] = c1;
        out[2] = c2;
        out[3] = c3;
    }

    /** The first word of {@link #words}. */
    public static int word(long seed, long stream, long counter) {
        int[] out = new int[4];
        words(seed, stream, counter, out);
        return out[0];
    }

    /** A uniform number in [0, 1) with 24 random bits, exact in f32. */
    public static float uniform(int word) {
        return (word >>> 8) * 0x1p-24f;
    }
}
