package tessera.distill.train;

/** Hears how far long tasks have come. May be called by several threads at once, each for a task of its own. */
@FunctionalInterface
public interface ProgressListener {
    /** Hears nothing. */
    ProgressListener NONE = event -> {};

    /** Something happened; quick, for the task waits. What it throws ends the task. */
    void on(ProgressEvent event);
}
