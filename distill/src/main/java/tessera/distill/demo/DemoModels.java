package tessera.distill.demo;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.ModelPlan.Disturbance;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.Pretraining;
import tessera.distill.train.RunContext;
import tessera.distill.train.SelfTraining;
import tessera.distill.train.Settings;
import tessera.distill.train.Stage;
import tessera.distill.train.Task;
import tessera.distill.train.Trainer;
import tessera.distill.train.WarmStart;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Scope;

/**
 * The models of one seed: each lies in a folder of its name, with the settings that it was made with, and is trained once. A folder whose
 * model has other settings is refused, not trained over: what took hours is deleted by people alone.
 */
final class DemoModels {
    /**
     * What heat maps are divided by. After the published normalisation (mean .3, deviation .3) joints are a small signal beside the
     * positions' sines, from which a model that starts at random learns nothing in these few steps.
     */
    private static final double POSE_STD = .05;

    private static final String SETTINGS = "model.json";

    private final DemoPlan plan;
    private final Path folder;
    private final long seed;
    private final RunContext context;
    private final EgoSim sim;
    private final Map<Disturbance, ClipSet> targets = new HashMap<>();
    private @Nullable ClipSet source;
    private @Nullable FlowStats flow;

    DemoModels(DemoPlan plan, Path out, long seed, RunContext context) {
        this.plan = plan;
        this.folder = folder(out, seed);
        this.seed = seed;
        this.context = context;
        this.sim = new EgoSim(plan.geometry(), seed);
    }

    static Path folder(Path out, long seed) {
        return out.resolve("seed-" + seed);
    }

    /** A model as a student, to be judged. */
    Path student(String model) {
        return folder.resolve(model).resolve(Distillation.STUDENT);
    }

    /** A model to learn from, or to start from. */
    private Path whole(String model) {
        return model.equals(ModelPlan.WARM)
                ? WarmStart.file()
                : plan.models().get(model) instanceof ModelPlan.Distilled
                        ? student(model)
                        : folder.resolve(model).resolve(Pretraining.MODEL);
    }

    private Settings settings(String model) {
        return Settings.parse(Json.text(plan.trained(model, seed), DemoPlan::written));
    }

    /** What is to be said of models that were made with other settings. */
    List<String> differences() {
        List<String> different = new ArrayList<>();
        for (String model : plan.models().keySet()) {
            Path file = folder.resolve(model).resolve(SETTINGS);
            if (Files.exists(file)) {
                List<String> sentences = read(file).differences(settings(model), Settings.NONE);
                if (!sentences.isEmpty()) {
                    different.add(folder.resolve(model) + " (" + String.join("; ", sentences) + ")");
                }
            }
        }
        return different;
    }

    private static Settings read(Path file) {
        try {
            return Settings.read(file);
        } catch (IOException e) {
            throw new UncheckedIOException(file + " cannot be read", e);
        }
    }

    /** Trains what is not trained yet. */
    void train() {
        try {
            for (Map.Entry<String, ModelPlan> model : plan.models().entrySet()) {
                if (!Files.exists(student(model.getKey()))) {
                    Path own = DemoFiles.create(folder.resolve(model.getKey()));
                    DemoFiles.write(
                            own.resolve(SETTINGS), settings(model.getKey()).json() + "\n");
                    train(model.getKey(), model.getValue(), own);
                }
            }
        } finally {
            targets.values().forEach(ClipSet::close);
            if (source != null) {
                source.close();
            }
        }
    }

    private void train(String name, ModelPlan model, Path own) {
        switch (model) {
            case ModelPlan.Untrained untrained -> draw(config(untrained.modality()), own.resolve(Pretraining.MODEL));
            case ModelPlan.Pretrained pretrained -> {
                Pretraining stage = pretrained.stage();
                String start = pretrained.start();
                Stage run = stage.withRecipe(stage.recipe().withSeed(seed))
                        .stage(
                                config(stage.modality()),
                                source(),
                                target(Disturbance.NONE),
                                start == null ? null : whole(start));
                Trainer.run(run.withTitle("pretrain " + name), own, context);
            }
            case ModelPlan.SelfTrained trained -> {
                Pretraining stage = trained.stage();
                new SelfTraining(stage.withRecipe(stage.recipe().withSeed(seed)), 1)
                        .run(
                                config(stage.modality()),
                                source(),
                                target(Disturbance.NONE),
                                whole(trained.teacher()),
                                own,
                                context);
            }
            case ModelPlan.Distilled distilled -> {
                Map<Modality, Path> teachers = new TreeMap<>();
                distilled.teachers().forEach((modality, teacher) -> teachers.put(modality, whole(teacher)));
                Distillation stage = distilled.stage();
                Stage run = stage.withRecipe(stage.recipe().withSeed(seed))
                        .stage(teachers, whole(distilled.start()), target(distilled.disturbance()));
                Trainer.run(run.withTitle("distill " + name), own, context);
            }
        }
        if (!(model instanceof ModelPlan.Distilled)) {
            Distillation.saveUndistilled(own.resolve(Pretraining.MODEL), own.resolve(Distillation.STUDENT));
        }
    }

    /** An autoencoder before its first step. */
    private void draw(VideoMaeConfig config, Path file) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, seed);
            try (VideoMaePretraining model = new VideoMaePretraining(
                    params, config, EgoSim.classes(Split.SOURCE_TRAIN).size())) {
                params.finish();
                Checkpoint.write(file, params.all(), model.config().toMetadata());
            }
        }
    }

    VideoMaeConfig config(Modality modality) {
        VideoMaeConfig config = new ModalityInput(plan.geometry(), plan.grid(), plan.tubelet(), flowStats())
                .config(modality, plan.size());
        return modality.equals(Modality.POSE) ? config.withNormalisation(0, POSE_STD) : config;
    }

    private FlowStats flowStats() {
        FlowStats measured = flow;
        if (measured == null) {
            measured = ModelPlan.modalities(plan.models().values()).contains(Modality.FLOW)
                    ? EgoSimClips.flowStats(
                            sim, Split.SOURCE_TRAIN, Domain.SOURCE, plan.clips().flowStatistics())
                    : FlowStats.NONE;
            flow = measured;
        }
        return measured;
    }

    private ClipSet source() {
        ClipSet rendered = source;
        if (rendered == null) {
            rendered = render(
                    Split.SOURCE_TRAIN, List.of(Domain.SOURCE), plan.clips().source(), modalities());
            source = rendered;
        }
        return rendered;
    }

    private ClipSet target(Disturbance disturbance) {
        return targets.computeIfAbsent(disturbance, how -> {
            ClipSet clips =
                    render(Split.TARGET_UNLABELLED, plan.targets(), plan.clips().target(), modalities());
            if (how.equals(Disturbance.NONE)) {
                return clips;
            }
            try (clips) {
                return DisturbedClips.of(clips, how, flowStats(), seed);
            }
        });
    }

    private Set<Modality> modalities() {
        return ModelPlan.modalities(plan.models().values());
    }

    ClipSet render(Split split, List<Domain> domains, int perClass, Set<Modality> modalities) {
        String title = "render " + DemoPlan.word(split).replace('_', ' ');
        long clips = (long) perClass * EgoSim.classes(split).size();
        try (Task task = context.task(title, Task.Unit.CLIPS, clips)) {
            return EgoSimClips.render(sim, split, domains, 0, perClass, modalities, task::advance);
        }
    }

    EgoSim sim() {
        return sim;
    }

    ModelPlan model(String name) {
        return Objects.requireNonNull(plan.models().get(name), name);
    }
}
