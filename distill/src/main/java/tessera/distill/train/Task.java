package tessera.distill.train;

import java.util.Locale;
import java.util.Map;
import tessera.distill.report.Metric;

/**
 * A long task under way, which tells a listener how far it is and, when it is closed, that it ends. Thread-safe where its
 * listener is.
 *
 * @param title for people, such as {@code pretrain rgb}
 * @param unit what is counted
 * @param first how many were done before it began, over 0 when a run resumes
 * @param total how many there are
 */
public record Task(ProgressListener listener, String title, Unit unit, long first, long total)
        implements AutoCloseable {
    /** What a task counts. */
    public enum Unit {
        STEPS,
        CLIPS,
        EPISODES,
        ROUNDS,
        LABELS,
        VIDEOS,
        CELLS;

        /** The word for people. */
        @Override
        public String toString() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Begins a task, which the caller closes. */
    public static Task begin(ProgressListener listener, String title, Unit unit, long first, long total) {
        Task task = new Task(listener, title, unit, first, total);
        listener.on(new ProgressEvent.Started(task));
        return task;
    }

    /** Tells how many are done. */
    public void advance(long done) {
        advance(done, Map.of());
    }

    void advance(long done, Map<Metric, Double> metrics) {
        listener.on(new ProgressEvent.Advanced(this, done, metrics));
    }

    /** Tells something that people should know, in one line. */
    public void note(String text) {
        listener.on(new ProgressEvent.Noted(this, text));
    }

    @Override
    public void close() {
        listener.on(new ProgressEvent.Ended(this));
    }
}
