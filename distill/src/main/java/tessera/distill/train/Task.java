package tessera.distill.train;

import java.util.Locale;
import java.util.Map;
import tessera.distill.report.Metric;

/**
 * A long task under way: tells a listener that it begins when it is made, and that it ends when it is closed. Thread-safe where
 * its listener is.
 */
public final class Task implements AutoCloseable {
    /** What a task counts. */
    public enum Unit {
        STEPS,
        CLIPS,
        EPISODES,
        ROUNDS,
        LABELS;

        /** The word for people. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    private final ProgressListener listener;
    private final String title;
    private final Unit unit;
    private final long first;
    private final long total;

    /**
     * Begins a task.
     *
     * @param title for people, such as {@code pretrain rgb}
     * @param first how many are done already, over 0 when a run resumes
     * @param total how many there are
     */
    public Task(ProgressListener listener, String title, Unit unit, long first, long total) {
        this.listener = listener;
        this.title = title;
        this.unit = unit;
        this.first = first;
        this.total = total;
        listener.on(new ProgressEvent.Started(this));
    }

    public String title() {
        return title;
    }

    public Unit unit() {
        return unit;
    }

    public long first() {
        return first;
    }

    public long total() {
        return total;
    }

    /** Tells how many are done. */
    public void advance(long done) {
        advance(done, Map.of());
    }

    void advance(long done, Map<Metric, Double> metrics) {
        listener.on(new ProgressEvent.Advanced(this, done, metrics));
    }

    @Override
    public void close() {
        listener.on(new ProgressEvent.Ended(this));
    }
}
