package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;
import tessera.distill.demo.Demo;
import tessera.distill.demo.DemoPlan;
import tessera.distill.demo.DemoReport;
import tessera.distill.demo.DemoResult;
import tessera.distill.report.Json;
import tessera.distill.train.RunContext;

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
            description = "Folder for models, logs and the report; the same command resumes there. Default: runs/demo,"
                    + " with --full runs/full")
    private @Nullable Path out;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Seed of clips, weights and masks; --full takes N, N+1 and N+2. Default: ${DEFAULT-VALUE}")
    private long seed;

    @Mixin
    private ComputeOptions compute;

    @Option(names = "--quiet", description = "Show no progress.")
    private boolean quiet;

    @Override
    public Integer call() {
        PrintWriter messages = spec.commandLine().getErr();
        DemoPlan plan = full ? DemoPlan.full(seed) : DemoPlan.quick(seed);
        Path folder = out != null ? out : Path.of("runs", full ? "full" : "demo");
        Outputs.requireFolder(folder);
        if (!quiet) {
            describe(messages, plan, folder);
        }
        RunContext context = TrainingOptions.context(compute, quiet);
        DemoResult result = Demo.run(plan, folder, context);
        Path page = DemoReport.write(result, folder);
        print(spec.commandLine().getOut(), result, page);
        return ExitCode.OK;
    }

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

    private void print(PrintWriter to, DemoResult result, Path page) {
        if (json.wanted()) {
            Map<String, Object> all = new LinkedHashMap<>();
            all.put("report", page);
            all.put("result", Json.object(result.json()));
            JsonOption.print(to, all);
        } else {
            to.print(DemoReport.markdown(result));
            to.printf("%nreport: %s (%.0f s)%n", page, result.seconds());
        }
    }
}
