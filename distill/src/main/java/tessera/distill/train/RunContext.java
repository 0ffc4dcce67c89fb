package tessera.distill.train;

import java.util.Map;
import tessera.kernels.DType;
import tessera.kernels.Device;

/**
 * What every stage of a run shares.
 *
 * @param listener hears of progress
 * @param stop asks the run to stop
 * @param device where training computes
 * @param compute what it computes in: f32, or bf16 on a GPU or a CPU that has {@link Device#bf16}, with f32 master weights, statistics and losses
 * @param origin what training starts from, such as a checksum of its clips, by names that begin with {@code tessera.}; a run
 *     is resumed only where it is the same
 */
public record RunContext(
        ProgressListener listener, StopSignal stop, Device device, DType compute, Map<String, String> origin) {
    public RunContext {
        origin = Map.copyOf(origin);
    }

    /** A run that is resumed whatever it started from. */
    public RunContext(ProgressListener listener, StopSignal stop, Device device, DType compute) {
        this(listener, stop, device, compute, Map.of());
    }

    /** A run on the CPU with all its processors. */
    public RunContext(ProgressListener listener, StopSignal stop) {
        this(listener, stop, Device.cpu(), DType.F32);
    }

    /** The same run with another origin. */
    public RunContext startingFrom(Map<String, String> other) {
        return new RunContext(listener, stop, device, compute, other);
    }

    /** Begins a task that the listener hears of; the caller closes it. */
    public Task task(String title, Task.Unit unit, long total) {
        return Task.begin(listener, title, unit, 0, total);
    }
}
