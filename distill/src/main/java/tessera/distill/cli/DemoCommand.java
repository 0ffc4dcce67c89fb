package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tessera.distill.report.Json;
import tessera.distill.report.Progress;
import tessera.distill.stage.Demo;
import tessera.distill.stage.DemoPlan;
import tessera.distill.stage.DemoResult;
import tessera.distill.stage.RunContext;
import tessera.distill.stage.StopSignal;

/** {@code tessera demo}: all stages on EgoSim, then the report. */
@Command(
        name = "demo",
        mixinStandardHelpOptions = true,
        description = "Train and judge everything on the built-in benchmark EgoSim, and write a report.")
final class DemoCommand implements Callable<Integer> {

    @Spec
    private CommandSpec spec;

    @Mixin
    private JsonOption json;

    @Option(names = "--full", description = "Three seeds and more of everything: up to an hour instead of minutes.")
    private boolean full;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            defaultValue = "runs/demo",
            description = "Folder for models, logs and the report; the same command resumes there. Default: ${DEFAULT-VALUE}")
    private Path out;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Seed of clips, weights and masks; --full takes N, N+1 and N+2. Default: ${DEFAULT-VALUE}")
    private long seed;

    @Option(names = "--quiet", description = "Show no progress.")
    private boolean quiet;

    @Override
    public Integer call() {
        PrintWriter result = spec.commandLine().getOut();
        PrintWriter messages = spec.commandLine().getErr();
        DemoPlan plan = full ? DemoPlan.full(seed) : DemoPlan.quick(seed);
        if (!quiet) {
            describe(messages, plan);
        }
        StopSignal stop = new StopSignal();
        stop.onShutdown();
        try {
            DemoResult found = Demo.run(plan, out, new RunContext(System.err, Progress.Style.detect(quiet), stop));
            result.println(Json.text(found));
            return ExitCode.OK;
        } catch (StopSignal.Stopped e) {
            messages.println(e.getMessage());
            return ExitCode.FAILURE;
        }
    }

    private void describe(PrintWriter messages, DemoPlan plan) {
        messages.printf("seeds %s%n", plan.seeds());
        messages.flush();
    }
}
