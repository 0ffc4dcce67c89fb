package tessera.distill.evaluation;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Times of several ways to do the same, measured side by side: in each round every way runs once, so that what slows the machine down for
 * a while slows all of them. The first runs are not counted, and medians over the rounds are told.
 *
 * @param nanos of each way, {@code [ways][rounds]}
 */
public record PairedTiming(long[][] nanos) {
    /**
     * Measures.
     *
     * @param ways each runs to its end, results on the host, before it returns
     * @param rounds that count, 1 or more; one more runs before
     */
    public static PairedTiming of(List<Runnable> ways, int rounds) {
        if (rounds < 1 || ways.isEmpty()) {
            throw new IllegalArgumentException(
                    "timing: " + rounds + " rounds of " + ways.size() + " ways; pass one or more of each");
        }
        long[][] nanos = new long[ways.size()][rounds];
        for (int round = -1; round < rounds; round++) {
            for (int i = 0; i < nanos.length; i++) {
                long began = System.nanoTime();
                ways.get(i).run();
                if (round >= 0) {
                    nanos[i][round] = System.nanoTime() - began;
                }
            }
        }
        return new PairedTiming(nanos);
    }

    /** Median time of a way, in milliseconds. */
    public double milliseconds(int way) {
        return median(Arrays.stream(nanos[way]).mapToDouble(t -> t / 1e6).toArray());
    }

    /** Median over the rounds of how much of another way's time a way takes in the same round. */
    public double ratio(int way, int other) {
        return median(IntStream.range(0, nanos[way].length)
                .mapToDouble(round -> (double) nanos[way][round] / nanos[other][round])
                .toArray());
    }

    private static double median(double[] values) {
        Arrays.sort(values);
        int half = values.length / 2;
        return values.length % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
    }
}
