package tessera.distill.cli;

import picocli.CommandLine.Option;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;

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
        return context(compute, new StopSignal());
    }

    /** A run that shows progress, and stops with a checkpoint when the process is asked to end. */
    RunContext resumable(DeviceOptions compute) {
        StopSignal stop = new StopSignal();
        RunContext context = context(compute, stop);
        stop.onShutdown(() -> System.err.println("tessera: stopped and saved; run the same command to resume"));
        return context;
    }

    private RunContext context(DeviceOptions compute, StopSignal stop) {
        return new RunContext(listener(), stop, compute.device(), compute.precision());
    }
}
