package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.demo.Demo;
import tessera.distill.demo.DemoPlan;
import tessera.distill.demo.DemoReport;
import tessera.distill.demo.DemoResult;
import tessera.distill.report.Json;

/** {@code tessera demo}: all stages on EgoSim, then the report. */
@Command(
        name = "demo",
        description = "Train and judge everything on the built-in benchmark EgoSim, and write a report.")
final class DemoCommand extends ToolCommand {

    @Option(names = "--full", description = "Three seeds and more of everything: up to an hour instead of minutes.")
    private boolean full;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            description = "Folder for models, logs and the report; the same command resumes there. Default: runs/demo,"
                    + " with --full runs/full")
    private @Nullable Path out;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description = "Seed of clips, weights and masks; --full takes N, N+1 and N+2. Default: ${DEFAULT-VALUE}")
    private long seed = 1;

    @Mixin
    private ComputeOptions compute;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        compute.check();
        DemoPlan plan = full ? DemoPlan.full(seed) : DemoPlan.quick(seed);
        Path folder = out != null ? out : Path.of("runs", full ? "full" : "demo");
        Outputs.requireFolder(folder);
        if (!progress.quiet()) {
            describe(spec().commandLine().getErr(), plan, folder);
        }
        DemoResult result = Demo.run(plan, folder, progress.resumable(compute));
        Path page = DemoReport.write(result, folder);
        print(new Answer(page, Json.object(result.json())), out -> {
            out.print(DemoReport.markdown(result));
            out.printf("%nreport: %s (%.0f s)%n", page, result.seconds());
        });
    }

    private record Answer(Path report, Map<String, @Nullable Object> result) {}

    private void describe(PrintWriter messages, DemoPlan plan, Path folder) {
        messages.printf(
                "demo (%s): RGB, flow and pose teachers and the distilled student, seed%s %s, into %s%n",
                plan.name(),
                plan.seeds().size() == 1 ? "" : "s",
                plan.seeds().stream().map(String::valueOf).collect(Collectors.joining(", ")),
                folder);
        messages.println(
                full
                        ? "takes up to an hour on two cores; after Ctrl-C the same command resumes"
                        : "takes five to ten minutes on two cores; after Ctrl-C the same command resumes");
        messages.flush();
    }
}
