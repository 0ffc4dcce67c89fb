package tessera.jmh.peers;

import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;

/**
 * Times contenders in turn: A, B, C, then A, B, C again, so that whatever slows the machine for a while slows all of them.
 *
 * <p>Before each turn there is a pause that ends when this process computes nothing any more: threads of some libraries spin for more
 * than a hundred milliseconds after their work, and whoever came next would share the cores with them. Short calls are preceded by one
 * that is not timed, which wakes the contender's own threads and fills the caches.
 */
final class Rounds {
    private static final double SHORT_SECONDS = .05;
    private static final int MOST_CALLS = 200;
    private static final double STEADY = .98;
    private static final int STEADY_CALLS = 6;
    private static final int MOST_WARM = 10;
    private static final int MOST_PAUSES = 50;
    private static final double IDLE_SHARE = .2;

    private final int rounds;
    private final long pauseMillis;
    private final double warmSeconds;

    /**
     * A way of timing.
     *
     * @param rounds how often each has its turn, at least 1
     * @param pauseMillis at least this before each turn, and again until this process used less than a fifth of one core meanwhile
     * @param warmSeconds that each runs at least before the first round; one whose calls still get faster runs up to ten times as long
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
            double estimate = warm(contender);
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

    /** Calls a contender until that makes it no faster, which takes Java some seconds of what it has not compiled yet; its least time. */
    private double warm(Contender contender) {
        long start = System.nanoTime();
        double least = contender.seconds(1);
        int since = 0;
        for (double spent = 0; spent < warmSeconds || (since < STEADY_CALLS && spent < MOST_WARM * warmSeconds); ) {
            double next = contender.seconds(1);
            since = next < STEADY * least ? 0 : since + 1;
            least = Math.min(least, next);
            spent = (System.nanoTime() - start) / 1e9;
        }
        return least;
    }

    private void pause() {
        try {
            long before = cpuNanos();
            for (int i = 0; i < MOST_PAUSES; i++) {
                Thread.sleep(pauseMillis);
                long now = cpuNanos();
                if (now - before <= IDLE_SHARE * 1e6 * pauseMillis) {
                    return;
                }
                before = now;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while measuring", e);
        }
    }

    /** What all threads of this process have computed, those that Java does not know among them; 0 where the system does not tell. */
    private static long cpuNanos() {
        return ManagementFactory.getOperatingSystemMXBean() instanceof com.sun.management.OperatingSystemMXBean system
                ? Math.max(0, system.getProcessCpuTime())
                : 0;
    }
}
