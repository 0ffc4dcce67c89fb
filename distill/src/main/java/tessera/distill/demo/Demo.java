package tessera.distill.demo;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.SeedResult;
import tessera.distill.demo.DemoResult.Training;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.report.Json;
import tessera.distill.train.RunContext;
import tessera.distill.train.Settings;
import tessera.distill.train.StopSignal;
import tessera.tensor.io.FolderLock;
import tessera.tensor.io.WriteFailure;

/**
 * Runs a {@link DemoPlan} on EgoSim: renders clips, trains the plan's models in order, and judges its lines by few-shot episodes.
 *
 * <p>The last weights of each stage are the ones that count. Nothing is selected, so no test clip can be selected on.
 */
public final class Demo {
    /** Name of the plan in a demo's folder. */
    public static final String PLAN = "plan.json";

    /** Name of the results in a demo's folder. */
    public static final String RESULTS = "results.json";

    private final DemoPlan plan;
    private final Path out;
    private final RunContext context;

    private Demo(DemoPlan plan, Path out, RunContext context) {
        this.plan = plan;
        this.out = out;
        this.context = context;
    }

    /**
     * Runs a demo. What an earlier call finished is not trained again, and what it left unfinished is resumed; models are judged anew.
     * The plan may have changed in its seeds, its evaluation, and by models that are new.
     *
     * @param out folder for models, logs and results; it may hold a demo, or be absent
     * @throws IllegalArgumentException if the plan cannot be run to its end, another run writes into the folder, the folder holds a demo of another system or version, or a
     *     model that was made with other settings, in another precision or from another warm start; nothing is trained then
     * @throws StopSignal.Stopped if the context's signal asked for it; training has saved its state
     */
    public static DemoResult run(DemoPlan plan, Path out, RunContext context) {
        PlanChecks.require(plan);
        try (FolderLock held = DemoFiles.hold(out)) {
            return new Demo(plan, out, context).run();
        }
    }

    private DemoResult run() {
        long began = System.nanoTime();
        claim();
        List<SeedResult> seeds = new ArrayList<>();
        List<Training> trainings = new ArrayList<>();
        List<Cost> costs = List.of();
        for (long seed : plan.seeds()) {
            DemoModels models = new DemoModels(plan, out, seed, context);
            models.train();
            seeds.add(new Judging(plan, models, seed, context).judge());
            trainings.addAll(trainings(models, seed));
            DemoPlan.CostGrid grid = plan.evaluation().costs();
            if (grid != null && costs.isEmpty()) {
                byte[] clip = models.sim()
                        .render(Split.TEST, plan.targets().getFirst(), 0, 0, Set.of(Modality.RGB))
                        .rgb();
                costs = Costs.of(grid, models.student(grid.model()), clip, context);
            }
        }
        double seconds = Math.round((System.nanoTime() - began) / 1e8) / 10.0;
        DemoResult result = new DemoResult(Machine.here(), plan, seeds, trainings, costs, seconds);
        DemoFiles.write(out.resolve(RESULTS), result.json() + "\n");
        return result;
    }

    /** What the models of the first stage learned, beside a predictor that always says the mean. */
    private List<Training> trainings(DemoModels models, long seed) {
        List<Training> all = new ArrayList<>();
        try (ClipSet some = models.render(
                Split.SOURCE_TRAIN,
                List.of(Domain.SOURCE),
                1,
                ModelPlan.modalities(plan.models().values()))) {
            plan.models().forEach((name, model) -> {
                if (model instanceof ModelPlan.Pretrained pretrained) {
                    all.add(Training.of(
                            seed,
                            name,
                            DemoModels.folder(out, seed).resolve(name),
                            models.config(model.modality()),
                            some,
                            pretrained.stage()));
                }
            });
        }
        return all;
    }

    private void claim() {
        Path file = out.resolve(PLAN);
        try {
            if (Files.exists(file)) {
                Settings before = Settings.read(file);
                String found = before.values().containsKey("system")
                        ? "a demo of another system"
                        : Long.valueOf(EgoSim.VERSION).equals(before.values().get("egosim"))
                                ? ""
                                : "a demo of another version of EgoSim (was "
                                        + before.values().getOrDefault("egosim", 1) + ", is " + EgoSim.VERSION + ")";
                if (!found.isEmpty()) {
                    throw new IllegalArgumentException("demo: " + out + " holds " + found
                            + "; use another folder, or delete this one to start again");
                }
            }
        } catch (IOException e) {
            throw WriteFailure.of(out, e);
        }
        List<String> differences = new ArrayList<>();
        plan.seeds().forEach(seed -> differences.addAll(new DemoModels(plan, out, seed, context).differences()));
        if (!differences.isEmpty()) {
            throw new IllegalArgumentException("demo: models were made with other settings: "
                    + String.join(", ", differences)
                    + "; delete these folders to train them again, or use another --out");
        }
        DemoFiles.write(file, Json.text(plan.values(), DemoPlan::written) + "\n");
    }
}
