package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;

/**
 * Times contenders in turn: A, B, C, then A, B, C again, so that whatever slows the machine for a while slows all of them.
 *
 * <p>Before each turn there is a pause in which the threads of the one before go to sleep, for some libraries' threads spin for a
 * while; and short calls are preceded by one that is not timed, which wakes the contender's own threads and fills the caches.
 */
final class Rounds {
    private static final double SHORT_SECONDS = .05;
    private static final int MOST_CALLS = 200;

    private final int rounds;
    private final long pauseMillis;
    private final double warmSeconds;

    /**
     * A way of timing.
     *
     * @param rounds how often each has its turn, at least 1
     * @param pauseMillis before each turn
     * @param warmSeconds that each runs before the first round, so that what Java compiles while it runs is compiled
     */
    Rounds(int rounds, long pauseMillis, double warmSeconds) {
        this.rounds = rounds;
        this.warmSeconds = warmSeconds;
        this.pauseMillis = pauseMillis;
    }

    /**
     * Times contenders.
     *
     * @return for each the seconds of one call in every round
     */
    List<double[]> time(List<Contender> contenders) {
        List<double[]> all = new ArrayList<>();
        int[] calls = new int[contenders.size()];
        for (int i = 0; i < calls.length; i++) {
            Contender contender = contenders.get(i);
            long start = System.nanoTime();
            double estimate = contender.seconds(1);
            do {
                estimate = Math.min(estimate, contender.seconds(1));
            } while ((System.nanoTime() - start) / 1e9 < warmSeconds);
            calls[i] = (int) Math.clamp(Math.ceil(SHORT_SECONDS / Math.max(1e-7, estimate)), 1, MOST_CALLS);
            all.add(new double[rounds]);
        }
        for (int round = 0; round < rounds; round++) {
            for (int i = 0; i < calls.length; i++) {
                pause();
                Contender contender = contenders.get(i);
                if (calls[i] > 1) {
                    contender.seconds(1);
                }
                all.get(i)[round] = contender.seconds(calls[i]);
            }
        }
        return all;
    }

    private void pause() {
        try {
            Thread.sleep(pauseMillis);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while measuring", e);
        }
    }
}
