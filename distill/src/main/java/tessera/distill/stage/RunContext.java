package tessera.distill.stage;

import java.io.PrintStream;
import tessera.distill.report.Progress;

/**
 * What every stage of a run shares.
 *
 * @param out where progress is shown
 * @param style how progress is shown
 * @param stop asks the run to stop
 */
public record RunContext(PrintStream out, Progress.Style style, StopSignal stop) {
    Progress progress(String title, String unit, long first, long total) {
        return new Progress(out, style, title, unit, first, total);
    }
}
