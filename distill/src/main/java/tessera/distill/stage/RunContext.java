package tessera.distill.stage;

import java.io.PrintStream;
import tessera.distill.report.Progress;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * What every stage of a run shares.
 *
 * @param out where progress is shown
 * @param style how progress is shown
 * @param stop asks the run to stop
 * @param device where training computes
 * @param compute what it computes in: f32, or on a GPU bf16 with f32 master weights, statistics and losses
 */
public record RunContext(PrintStream out, Progress.Style style, StopSignal stop, Device device, DType compute) {
    /** A run on the CPU with all its processors. */
    public RunContext(PrintStream out, Progress.Style style, StopSignal stop) {
        this(out, style, stop, Device.cpu(), DType.F32);
    }

    Progress progress(String title, String unit, long first, long total) {
        return new Progress(out, style, title, unit, first, total);
    }
}
