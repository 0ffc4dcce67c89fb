package tessera.distill.train;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;

/**
 * What every stage of a run shares.
 *
 * @param listener hears of progress
 * @param stop asks the run to stop
 * @param device where training computes
 * @param compute what it computes in: f32, or bf16 on a GPU or a CPU that has {@link Device#bf16}, with f32 master weights, statistics and losses
 * @param recompute whether the blocks of what is trained keep their results alone and are run again in the backward pass ({@link
 *     tessera.nn.Params#recomputing}): less memory for more time and the same weights, so a run may be resumed with or without
 * @param origin what training starts from, such as a checksum of its clips, by names that begin with {@code tessera.}; a run
 *     is resumed only where it is the same
 * @param peers further devices, each of which trains a copy of the networks on its share of every batch; gradients are added up ({@link
 *     tessera.kernels.Communicator}). But for rounding, and for what is left out at random, weights are those of one device, so a
 *     run may be resumed on another number of devices
 */
public record RunContext(
        ProgressListener listener,
        StopSignal stop,
        Device device,
        DType compute,
        boolean recompute,
        Map<String, String> origin,
        List<Device> peers) {
    public RunContext {
        origin = Map.copyOf(origin);
        peers = List.copyOf(peers);
    }

    /** A run that is resumed whatever it started from. */
    public RunContext(ProgressListener listener, StopSignal stop, Device device, DType compute) {
        this(listener, stop, device, compute, false, Map.of(), List.of());
    }

    /** A run on the CPU with all its processors. */
    public RunContext(ProgressListener listener, StopSignal stop) {
        this(listener, stop, Device.cpu(), DType.F32);
    }

    /** The same run with another origin. */
    public RunContext startingFrom(Map<String, String> other) {
        return new RunContext(listener, stop, device, compute, recompute, other, peers);
    }

    /** The same run with blocks recomputed or not. */
    public RunContext recomputing(boolean wanted) {
        return new RunContext(listener, stop, device, compute, wanted, origin, peers);
    }

    /** The same run with further devices that share each batch with the first. */
    public RunContext sharedWith(List<Device> others) {
        return new RunContext(listener, stop, device, compute, recompute, origin, others);
    }

    /** All devices that share each batch: the first, then its peers. */
    public List<Device> devices() {
        return Stream.concat(Stream.of(device), peers.stream()).toList();
    }

    /** The same run on another device alone. */
    RunContext on(Device other) {
        return new RunContext(listener, stop, other, compute, recompute, origin, List.of());
    }

    /** Lets a model that is trained compute as this says; call before making a layer. */
    Params configure(Params params) {
        return params.computeIn(compute).recomputing(recompute);
    }

    /** Begins a task that the listener hears of; the caller closes it. */
    public Task task(String title, Task.Unit unit, long total) {
        return Task.begin(listener, title, unit, 0, total);
    }
}
