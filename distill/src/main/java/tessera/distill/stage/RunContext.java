package tessera.distill.stage;

import java.io.PrintStream;
import java.util.Map;
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
 * @param origin what training starts from, such as a checksum of its clips, by names that begin with {@code tessera.}; a run
 *     is resumed only where it is the same
 */
public record RunContext(
        PrintStream out,
        Progress.Style style,
        StopSignal stop,
        Device device,
        DType compute,
        Map<String, String> origin) {
    public RunContext {
        origin = Map.copyOf(origin);
    }

    /** A run that is resumed whatever it started from. */
    public RunContext(PrintStream out, Progress.Style style, StopSignal stop, Device device, DType compute) {
        this(out, style, stop, device, compute, Map.of());
    }

    /** A run on the CPU with all its processors. */
    public RunContext(PrintStream out, Progress.Style style, StopSignal stop) {
        this(out, style, stop, Device.cpu(), DType.F32);
    }

    /** The same run with another origin. */
    public RunContext startingFrom(Map<String, String> other) {
        return new RunContext(out, style, stop, device, compute, other);
    }

    Progress progress(String title, String unit, long first, long total) {
        return new Progress(out, style, title, unit, first, total);
    }
}
