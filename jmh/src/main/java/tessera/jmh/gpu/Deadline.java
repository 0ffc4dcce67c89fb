package tessera.jmh.gpu;

import java.util.concurrent.TimeUnit;

/** When measuring has to end. */
final class Deadline {
    private final long start;
    private final long nanos;

    /** So many seconds from now. */
    Deadline(double seconds) {
        this(System.nanoTime(), (long) (seconds * TimeUnit.SECONDS.toNanos(1)));
    }

    private Deadline(long start, long nanos) {
        this.start = start;
        this.nanos = nanos;
    }

    /** A deadline after this share of the time, counted from the same start. */
    Deadline share(double share) {
        return new Deadline(start, (long) (nanos * share));
    }

    boolean passed() {
        return System.nanoTime() - start > nanos;
    }

    /** Seconds left, at least 0. */
    double left() {
        return Math.max(0, (nanos - (System.nanoTime() - start)) / 1e9);
    }
}
