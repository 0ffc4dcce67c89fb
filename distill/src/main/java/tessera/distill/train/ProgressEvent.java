package tessera.distill.train;

import java.util.Map;
import tessera.distill.report.Metric;

/** What a {@link ProgressListener} hears. */
public sealed interface ProgressEvent {
    /** What it is about. */
    Task task();

    /** A task begins. */
    record Started(Task task) implements ProgressEvent {}

    /**
     * A task has come further.
     *
     * @param done how many are done; from parallel work not always in order
     * @param metrics of a step of training; empty in other tasks
     */
    record Advanced(Task task, long done, Map<Metric, Double> metrics) implements ProgressEvent {}

    /**
     * Something that people should know.
     *
     * @param text one line, such as how many clips were left out
     */
    record Noted(Task task, String text) implements ProgressEvent {}

    /** A task ends, done or not. */
    record Ended(Task task) implements ProgressEvent {}
}
