package tessera.distill.cli;

import java.io.PrintWriter;
import java.nio.file.Files;
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
import tessera.distill.demo.ShippedPlans;
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

    private static final String SYSTEM = "--system";
    private static final String PLAN = "--plan";
    private static final String FULL = "--full";
    private static final String OUT = "--out";

    /** What is shown. */
    enum Shown {
        /** A student of masked autoencoders for few-shot recognition across domains, MM-CDFSL. */
        CDFSL,
        /** An RGB student of supervised teachers of several modalities. */
        MMD
    }

    @Option(
            names = SYSTEM,
            paramLabel = "NAME",
            description =
                    "${COMPLETION-CANDIDATES}: few-shot recognition across domains with masked tokens (MM-CDFSL), or"
                            + " multimodal distillation into an RGB student (ICCV 2023). Default: ${DEFAULT-VALUE}")
    private Shown system = Shown.CDFSL;

    @Option(
            names = PLAN,
            paramLabel = "NAME|FILE",
            description =
                    "What is trained and judged: quick (minutes), full (five seeds), ablations (five seeds of every"
                            + " control), warm-start (like the student that comes with Tessera), or a JSON file as --show-plan prints"
                            + " it, which is called as the file (letters, digits, - and _). Of the first system. Default: quick")
    private @Nullable String planned;

    @Option(
            names = "--show-plan",
            paramLabel = "NAME|FILE",
            description = "Print a plan as JSON, to be edited, and do nothing.")
    private @Nullable String shown;

    @Option(names = FULL, description = "The same as --plan full; of the second system three seeds too.")
    private boolean full;

    @Option(
            names = OUT,
            paramLabel = "DIR",
            description =
                    "Folder for models, logs and the report; the same command resumes there. A plan that changes in"
                            + " its seeds, lines or episodes judges again there what is trained. Default: runs/demo, of other"
                            + " plans runs/NAME; of the second system runs/mmd and runs/mmd-full")
    private @Nullable Path out;

    @Option(
            names = "--seed",
            paramLabel = "N",
            description =
                    "First seed of clips, weights and masks; plans of several take the ones behind it. Default: 1, of"
                            + " full and ablations 11, since no choice has seen those, of a plan in a file its own")
    private @Nullable Long seed;

    @Mixin
    private ComputeOptions compute;

    @Mixin
    private ProgressOption progress;

    @Override
    void run() {
        compute.check();
        if (shown != null) {
            IdleOptions.refuse(
                    given(),
                    List.of(SYSTEM, PLAN, FULL, OUT),
                    "says what to run but --show-plan runs nothing; leave one of them away");
            String text = plan("--show-plan", shown).json();
            print(Json.object(text), out -> out.print(text));
            return;
        }
        if (planned != null && (full || system == Shown.MMD)) {
            throw new IllegalArgumentException("--plan is '" + planned
                    + "', a plan of the first system; pass neither --full nor --system mmd with it");
        }
        if (system == Shown.MMD) {
            runMmd();
            return;
        }
        DemoPlan plan = plan(PLAN, planned != null ? planned : full ? "full" : "quick");
        Path folder = folder(plan.name().equals("quick") ? "demo" : plan.name());
        describe(
                plan.name(),
                plan.models().size() + " models and "
                        + plan.evaluation().lines().size() + " lines of tables",
                plan.seeds(),
                folder,
                switch (ShippedPlans.like(plan).orElse("")) {
                    case "quick" -> "five to ten minutes";
                    case "full" -> "an hour or two";
                    case "warm-start" -> "about half an hour";
                    case "ablations" -> "hours";
                    default -> "as long as its steps say,";
                });
        DemoResult result = Demo.run(plan, folder, progress.resumable(compute));
        Path page = DemoReport.write(result, folder);
        print(new Answer(page, Json.object(result.json())), out -> {
            out.print(DemoReport.markdown(result));
            out.printf("%nreport: %s (%.0f s)%n", page, result.seconds());
        });
    }

    private DemoPlan plan(String option, String name) {
        if (ShippedPlans.NAMES.contains(name)) {
            return seed == null ? ShippedPlans.of(name) : ShippedPlans.of(name, seed);
        }
        Path file = Path.of(name);
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException(option + " is '" + name + "', which is no plan; pass one of "
                    + String.join(", ", ShippedPlans.NAMES) + ", or a file as --show-plan prints it");
        }
        DemoPlan read = UsageErrors.naming(() -> DemoPlan.read(file), option);
        if (seed == null) {
            return read;
        }
        long moved = seed - read.seeds().getFirst();
        return read.withSeeds(read.seeds().stream().map(own -> own + moved).toList());
    }

    private long first() {
        return seed == null ? 1 : seed;
    }

    private void runMmd() {
        MmdPlan plan = full ? MmdPlan.full(first()) : MmdPlan.quick(first());
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
