package tessera.jmh.gpu;

import java.util.concurrent.TimeUnit;

/** When measuring has to end. */
final class Deadline {
    private final long start = System.nanoTime();
    private final long nanos;

    /** So many seconds from now. */
    Deadline(double seconds) {
        this.nanos = (long) (seconds * TimeUnit.SECONDS.toNanos(1));
    }

    boolean passed() {
        return System.nanoTime() - start > nanos;
    }

    /** Seconds left, at least 0. */
    double left() {
        return Math.max(0, (nanos - (System.nanoTime() - start)) / 1e9);
    }
}
