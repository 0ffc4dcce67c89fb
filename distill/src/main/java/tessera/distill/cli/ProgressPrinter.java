package tessera.distill.cli;

import java.io.PrintStream;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import tessera.distill.report.Metric;
import tessera.distill.train.ProgressEvent;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.Task;

/** Shows the progress of the library's tasks. */
final class ProgressPrinter implements ProgressListener {
    private final PrintStream out;
    private final Progress.Style style;
    private final double lineSeconds = Progress.lineSeconds(System.getenv());
    private final Map<Task, Progress> shown = new ConcurrentHashMap<>();

    ProgressPrinter(PrintStream out, Progress.Style style) {
        this.out = out;
        this.style = style;
    }

    @Override
    public void on(ProgressEvent event) {
        Task task = event.task();
        switch (event) {
            case ProgressEvent.Started started ->
                shown.put(task, new Progress(out, style, task, lineSeconds, System::nanoTime));
            case ProgressEvent.Advanced advanced -> {
                Progress progress = shown.get(task);
                if (progress != null) {
                    progress.update(advanced.done(), advanced.metrics().getOrDefault(Metric.LOSS, Double.NaN));
                }
            }
            case ProgressEvent.Noted noted -> {
                Progress progress = shown.get(task);
                if (progress == null) {
                    // Of clips that a task has loaded something may be found while another one uses them.
                    progress = shown.values().stream()
                            .findAny()
                            .orElseGet(
                                    () -> new Progress(out, Progress.Style.QUIET, task, lineSeconds, System::nanoTime));
                }
                progress.note(noted.text());
            }
            case ProgressEvent.Ended ended -> {
                Progress progress = shown.remove(task);
                if (progress != null) {
                    progress.close();
                }
            }
        }
    }
}
