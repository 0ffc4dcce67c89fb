package tessera.distill.cli;

import java.util.List;
import picocli.CommandLine.Option;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.kernels.DType;
import tessera.kernels.Device;

/** The option {@code --quiet}, mixed into every command that takes long: whether progress shows on standard error. */
final class ProgressOption {

    @Option(names = "--quiet", description = "Show no progress.")
    private boolean quiet;

    boolean quiet() {
        return quiet;
    }

    /** Shows progress of what needs no device. */
    ProgressListener listener() {
        return new ProgressPrinter(System.err, Progress.Style.detect(quiet));
    }

    /** A run that shows progress. */
    RunContext context(DeviceOptions compute) {
        return new RunContext(listener(), new StopSignal(), compute.device(), compute.precision());
    }

    /** A run that shows progress, and stops with a checkpoint when the process is asked to end. */
    RunContext resumable(DeviceOptions compute) {
        return resumable(List.of(compute.device()), compute.precision());
    }

    /** The same on devices that share each batch. */
    RunContext resumable(List<Device> devices, DType precision) {
        StopSignal stop = new StopSignal();
        RunContext context = new RunContext(listener(), stop, devices.getFirst(), precision)
                .sharedWith(devices.subList(1, devices.size()));
        stop.onShutdown(
                () -> System.err.println("tessera: stopped and saved; run the same command to resume"),
                failure -> System.err.println("tessera: error: " + Main.oneLine(failure)));
        return context;
    }
}
