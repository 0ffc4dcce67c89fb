package tessera.distill.demo;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
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

    // Beside what the plan says of a model: what else it depends on, noted where it is not the usual.
    private static final String PRECISION = "precision";
    private static final String WARM = "warmStart";
    private static final String DISTURBED = "disturbance";

    /** Another word when clips are disturbed in another way. */
    private static final String DISTURBANCE = "in batches, of the models' deviations";

    private final DemoPlan plan;
    private final Path folder;
    private final long seed;
    private final RunContext context;
    private final EgoSim sim;
    private @Nullable ClipSet target;
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

    /** Everything that a model depends on, as its folder has it. */
    private Settings settings(String model) {
        Map<String, Object> all = new LinkedHashMap<>(plan.trained(model, seed));
        List<ModelPlan> ancestry = ModelPlan.ancestry(model, plan.models());
        if (context.compute() != DType.F32 && !(model(model) instanceof ModelPlan.Untrained)) {
            all.put(PRECISION, context.compute().toString());
        }
        if (ancestry.stream().anyMatch(ModelPlan::startsWarm)) {
            all.put(WARM, WarmStart.checksum());
        }
        if (ancestry.stream().anyMatch(ModelPlan::isDisturbed)) {
            all.put(DISTURBED, DISTURBANCE);
        }
        return Settings.parse(Json.text(all, DemoPlan::written));
    }

    /** What a model was made with. A folder without a note of its precision, as they once were, has it in the finished file. */
    private Settings before(String model) {
        Settings noted = read(folder.resolve(model).resolve(SETTINGS));
        if (noted.values().containsKey(PRECISION)) {
            return noted;
        }
        Path finished = whole(model);
        return noted.with(PRECISION, Files.exists(finished) ? Trainer.precision(finished) : precision(settings(model)));
    }

    private static String precision(Settings settings) {
        return String.valueOf(settings.values().getOrDefault(PRECISION, DType.F32.toString()));
    }

    /** What is to be said of models that were made with other settings. */
    List<String> differences() {
        List<String> different = new ArrayList<>();
        for (String model : plan.models().keySet()) {
            Path file = folder.resolve(model).resolve(SETTINGS);
            if (Files.exists(file)) {
                Settings now = settings(model);
                List<String> sentences = before(model).differences(now.with(PRECISION, precision(now)), Settings.NONE);
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

    /** Trains what is not trained yet. Clips are held while a model that is still to be trained needs them. */
    void train() {
        List<String> left = new ArrayList<>(plan.models().keySet());
        left.removeIf(model -> Files.exists(student(model)));
        try {
            while (!left.isEmpty()) {
                String model = left.removeFirst();
                Path own = DemoFiles.create(folder.resolve(model));
                DemoFiles.write(own.resolve(SETTINGS), settings(model).json() + "\n");
                train(model, model(model), own);
                release(left);
            }
        } finally {
            release(List.of());
        }
    }

    private void release(List<String> left) {
        ClipSet ofSource = source;
        if (ofSource != null && left.stream().noneMatch(model -> model(model).needsSource())) {
            ofSource.close();
            source = null;
        }
        ClipSet ofTarget = target;
        if (ofTarget != null && left.stream().noneMatch(model -> model(model).needsTarget())) {
            ofTarget.close();
            target = null;
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
                                target(),
                                start == null ? null : whole(start),
                                modality(start).equals(stage.modality()));
                Trainer.run(run.withTitle("pretrain " + name), own, context);
            }
            case ModelPlan.SelfTrained trained -> {
                Pretraining stage = trained.stage();
                new SelfTraining(stage.withRecipe(stage.recipe().withSeed(seed)), 1)
                        .run(config(stage.modality()), source(), target(), whole(trained.teacher()), own, context);
            }
            case ModelPlan.Distilled distilled -> {
                Map<Modality, Path> teachers = new TreeMap<>();
                distilled.teachers().forEach((modality, teacher) -> teachers.put(modality, whole(teacher)));
                Distillation stage = distilled.stage();
                Stage run = stage.withRecipe(stage.recipe().withSeed(seed))
                        .stage(teachers, whole(distilled.start()), target(), change(distilled));
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

    private ClipSet target() {
        ClipSet rendered = target;
        if (rendered == null) {
            rendered =
                    render(Split.TARGET_UNLABELLED, plan.targets(), plan.clips().target(), modalities());
            target = rendered;
        }
        return rendered;
    }

    private @Nullable DisturbedClips change(ModelPlan.Distilled distilled) {
        return distilled.isDisturbed()
                ? new DisturbedClips(
                        distilled.disturbance(), modality -> config(modality).patches(), seed)
                : null;
    }

    /** What a model looks at that another starts from; one that starts afresh has nothing that would not fit. */
    private Modality modality(@Nullable String start) {
        return start == null || start.equals(ModelPlan.WARM)
                ? Modality.RGB
                : model(start).modality();
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
