package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
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
import tessera.distill.demo.mmd.MmdDemo;
import tessera.distill.demo.mmd.MmdPlan;
import tessera.distill.demo.mmd.MmdReport;
import tessera.distill.demo.mmd.MmdResult;
import tessera.distill.report.Json;

/** {@code tessera demo}: all stages on EgoSim, then the report. */
@Command(
        name = "demo",
        description = "Train and judge everything on the built-in benchmark EgoSim, and write a report.")
final class DemoCommand extends ToolCommand {

    /** What is shown. */
    enum Shown {
        /** A student of masked autoencoders for few-shot recognition across domains, MM-CDFSL. */
        CDFSL,
        /** An RGB student of supervised teachers of several modalities. */
        MMD
    }

    @Option(
            names = "--system",
            paramLabel = "NAME",
            description =
                    "${COMPLETION-CANDIDATES}: few-shot recognition across domains with masked tokens (MM-CDFSL), or"
                            + " multimodal distillation into an RGB student (ICCV 2023). Default: ${DEFAULT-VALUE}")
    private Shown system = Shown.CDFSL;

    @Option(names = "--full", description = "Three seeds and more of everything: up to an hour instead of minutes.")
    private boolean full;

    @Option(
            names = "--warm-start",
            description = "Train the student that comes with Tessera: one seed, 16 frames instead of 8.")
    private boolean warmStart;

    @Option(
            names = "--out",
            paramLabel = "DIR",
            description = "Folder for models, logs and the report; the same command resumes there. Default: runs/demo,"
                    + " with --full runs/full, with --warm-start runs/warm-start; of the second system runs/mmd and"
                    + " runs/mmd-full")
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
        if (warmStart && (full || system == Shown.MMD)) {
            throw new IllegalArgumentException(
                    "--warm-start is a plan of its own of the first system; pass neither --full nor"
                            + " --system mmd with it");
        }
        if (system == Shown.MMD) {
            runMmd();
            return;
        }
        DemoPlan plan = warmStart ? DemoPlan.warmStart(seed) : full ? DemoPlan.full(seed) : DemoPlan.quick(seed);
        Path folder = folder(warmStart ? "warm-start" : full ? "full" : "demo");
        describe(
                plan.name(),
                "RGB, flow and pose teachers and the distilled student",
                plan.seeds(),
                folder,
                warmStart ? "about a quarter of an hour" : full ? "up to an hour" : "five to ten minutes");
        DemoResult result = Demo.run(plan, folder, progress.resumable(compute));
        Path page = DemoReport.write(result, folder);
        print(new Answer(page, Json.object(result.json())), out -> {
            out.print(DemoReport.markdown(result));
            out.printf("%nreport: %s (%.0f s)%n", page, result.seconds());
        });
    }

    private void runMmd() {
        MmdPlan plan = full ? MmdPlan.full(seed) : MmdPlan.quick(seed);
        Path folder = folder(full ? "mmd-full" : "mmd");
        describe(
                plan.name(),
                "multimodal distillation, teachers of RGB, flow, sound and boxes and their RGB students",
                plan.seeds(),
                folder,
                full ? "about half an hour" : "five to eight minutes");
        MmdResult result = MmdDemo.run(plan, folder, progress.resumable(compute));
        Path page = MmdReport.write(result, folder);
        print(new Answer(page, Json.object(result.json())), out -> {
            out.print(MmdReport.markdown(result));
            out.printf(
                    "%nreport: %s (%.0f s, %.0f s of processors)%n", page, result.seconds(), result.processorSeconds());
        });
    }

    private Path folder(String standard) {
        Path folder = out != null ? out : Path.of("runs", standard);
        Outputs.requireFolder(folder);
        return folder;
    }

    private record Answer(Path report, Map<String, @Nullable Object> result) {}

    private void describe(String plan, String what, List<Long> seeds, Path folder, String duration) {
        if (progress.quiet()) {
            return;
        }
        PrintWriter messages = spec().commandLine().getErr();
        messages.printf(
                "demo (%s): %s, seed%s %s, into %s%n",
                plan,
                what,
                seeds.size() == 1 ? "" : "s",
                seeds.stream().map(String::valueOf).collect(Collectors.joining(", ")),
                folder);
        messages.printf("takes %s on two cores; after Ctrl-C the same command resumes%n", duration);
        messages.flush();
    }
}
