package tessera.distill.stage;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.egosim.Modality;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.nn.Schedule;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The second stage of MM-CDFSL (ECCV 2024): the RGB student learns, on unlabelled target clips, to predict the pooled
 * features of frozen RGB, flow and pose teachers through one projector each. All see the same tokens.
 *
 * <p>The student ends up in {@code student.safetensors} of the run's folder.
 */
public final class Distillation {
    /** Name of the finished student in a run's folder. */
    public static final String STUDENT = "student.safetensors";

    /** Epsilon of every norm in this stage and after; the published code differs here from the first stage. */
    private static final double EPS = 1e-5;

    private static final long MASK_STREAM = 3L << 40;
    private static final long PATH_STREAM = 6L << 40;

    private Distillation() {}

    /**
     * How to train.
     *
     * @param weights weight of each teacher's loss, 1 in the paper
     * @param maskRatio share of masked tokens, .75 in the paper
     * @param batch clips per step
     * @param clipNorm largest norm of all gradients together, 0 for any
     * @param dropPath stochastic depth's rate in the student's last block, 0 in the paper
     */
    public record Settings(
            Map<Modality, Double> weights,
            double maskRatio,
            int batch,
            long steps,
            double lr,
            double minLr,
            double warmupLr,
            long warmupSteps,
            long period,
            double weightDecay,
            double clipNorm,
            double dropPath,
            boolean augment,
            long seed) {

        public Settings {
            // In the order of the modalities: the settings' text must be the same in every process.
            weights = Collections.unmodifiableMap(new EnumMap<>(weights));
        }

        /** The same settings with another seed. */
        public Settings withSeed(long other) {
            return new Settings(
                    weights,
                    maskRatio,
                    batch,
                    steps,
                    lr,
                    minLr,
                    warmupLr,
                    warmupSteps,
                    period,
                    weightDecay,
                    clipNorm,
                    dropPath,
                    augment,
                    other);
        }

        Map<String, String> asText(VideoMaeConfig config) {
            Map<String, String> text = new LinkedHashMap<>(config.toMetadata());
            text.put("tessera.stage", "distill " + this);
            return text;
        }
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished student of the same settings.
     *
     * @param teachers the models of the first stage; the student starts from the RGB teacher
     * @return the student's file
     */
    public static Path run(
            Settings settings, Map<Modality, Path> teachers, ClipSet target, Path folder, RunContext context) {
        Path finished = folder.resolve(STUDENT);
        VideoMaeConfig config = encoderConfig(require(teachers, Modality.RGB));
        Map<String, String> text = Stages.settings(settings.asText(config), context);
        if (Stages.isFinished(finished, text)) {
            return finished;
        }
        try (Scope scope = Scope.open()) {
            Encoder start = encoder(
                    require(teachers, Modality.RGB), config, settings.seed(), context.device(), context.compute());
            VideoMaeClassifier student = start.model();
            Params studentParams = start.params();
            studentParams.addShadows();
            Map<String, Tensor> trained = new LinkedHashMap<>();
            studentParams.all().forEach((name, parameter) -> trained.put("student." + name, parameter));
            Params projectorParams = Params.random(context.device(), DType.F32, settings.seed());
            Map<Modality, Teacher> taught = new EnumMap<>(Modality.class);
            try {
                settings.weights().forEach((modality, weight) -> {
                    String name = "mlp_to_" + modality.name().toLowerCase(Locale.ROOT);
                    Projector projector =
                            new Projector(projectorParams.at("cmt").at(name), config.embedDim());
                    taught.put(
                            modality,
                            new Teacher(
                                    frozen(require(teachers, modality), settings.seed(), context), projector, weight));
                });
                trained.putAll(projectorParams.all());
                EpochOrder order = new EpochOrder(target.size(), settings.seed() + 2);
                Schedule schedule = Schedule.cosine(
                        settings.lr(),
                        settings.minLr(),
                        settings.warmupLr(),
                        settings.warmupSteps(),
                        settings.period());
                try (AdamW optimiser = new AdamW(trained, .9, .999, 1e-8, settings.weightDecay(), name -> true)) {
                    Stages.clip(optimiser, settings.clipNorm());
                    new Trainer(
                                    context.device(),
                                    folder,
                                    trained,
                                    optimiser,
                                    schedule,
                                    settings.steps(),
                                    text,
                                    context.stop())
                            .run(
                                    step -> data(
                                            context.device(),
                                            settings,
                                            target,
                                            order.batch(step, settings.batch()),
                                            step),
                                    (data, step) -> losses(settings, student, taught, data, step),
                                    (first, total) -> context.progress("distill", "step", first, total));
                }
            } finally {
                // Packed weights belong to no scope.
                taught.values().forEach(teacher -> teacher.model().close());
            }
            Student.save(finished, studentParams.all(), config, text);
            Stages.deleteCheckpoint(folder);
            return finished;
        }
    }

    /** A frozen teacher with the projector of the student's feature onto its own. */
    private record Teacher(VideoMaeClassifier model, Projector projector, double weight) {}

    private static Path require(Map<Modality, Path> teachers, Modality modality) {
        Path file = teachers.get(modality);
        if (file == null) {
            throw new IllegalArgumentException(
                    "distill: there is no " + modality + " teacher; pretrain one and pass its " + Pretraining.MODEL);
        }
        return file;
    }

    private static VideoMaeConfig encoderConfig(Path file) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            return VideoMaeConfig.fromMetadata(checkpoint.metadata()).withEps(EPS, EPS);
        }
    }

    private record Encoder(VideoMaeClassifier model, Params params) {}

    /** The encoder of a pretrained model with a fresh feature norm, as MM-CDFSL loads it. */
    private static Encoder encoder(Path file, VideoMaeConfig config, long seed, Device device, DType compute) {
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            Params params = Params.from(
                            device,
                            DType.F32,
                            checkpoint.select(name -> name.startsWith("encoder.")),
                            seed,
                            name -> name.startsWith("fc_norm."))
                    .computeIn(compute);
            VideoMaeClassifier model = new VideoMaeClassifier(params, config, 0);
            params.finish();
            return new Encoder(model, params);
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
    }

    private static VideoMaeClassifier frozen(Path file, long seed, RunContext context) {
        Encoder teacher = encoder(file, encoderConfig(file), seed, context.device(), context.compute());
        teacher.params().all().values().forEach(parameter -> parameter.requiresGrad(false));
        teacher.model().pack();
        return teacher.model();
    }

    /**
     * The encoder of a pretrained model as a student, without distillation: the baseline, and the way to use a teacher of
     * one modality alone.
     */
    public static void saveUndistilled(Path pretrained, Path student) {
        try (Scope scope = Scope.open()) {
            VideoMaeConfig config = encoderConfig(pretrained);
            Encoder encoder = encoder(pretrained, config, 0, Device.cpu(), DType.F32);
            encoder.model().close();
            Student.save(student, encoder.params().all(), config, config.toMetadata());
        }
    }

    /** The student's pictures, then what each other teacher looks at. */
    private static List<Tensor> data(Device device, Settings settings, ClipSet clips, int[] indices, long step) {
        Device host = Stages.host(device);
        List<Tensor> data = new ArrayList<>();
        data.add(clips.batch(host, Modality.RGB, indices));
        if (settings.augment()) {
            Stages.augment(data.getFirst(), settings.seed(), step);
        }
        settings.weights().keySet().forEach(modality -> {
            if (modality != Modality.RGB) {
                data.add(clips.batch(host, modality, indices));
            }
        });
        return data;
    }

    private static Map<String, Tensor> losses(
            Settings settings,
            VideoMaeClassifier student,
            Map<Modality, Teacher> teachers,
            List<Tensor> data,
            long step) {
        VideoMaeConfig config = student.config();
        Tensor rgb = data.getFirst();
        TokenMask mask = TokenMask.tubes(
                rgb.device(),
                rgb.size(0),
                config.slots(),
                config.plane(),
                settings.maskRatio(),
                settings.seed(),
                MASK_STREAM + step);
        Tensor feature = student.features(
                rgb, mask.visible(), new DropPath(settings.dropPath(), settings.seed(), PATH_STREAM + step)); // [B, D]
        List<Tensor> projected = new ArrayList<>();
        List<Tensor> targets = new ArrayList<>();
        List<Double> weights = new ArrayList<>();
        Iterator<Tensor> others = data.subList(1, data.size()).iterator();
        teachers.forEach((modality, teacher) -> {
            Tensor seen = modality == Modality.RGB ? rgb : others.next();
            projected.add(teacher.projector().forward(feature));
            targets.add(Autograd.noGrad(() -> teacher.model().features(seen, mask.visible())));
            weights.add(teacher.weight());
        });
        Tensor loss = Losses.features(
                projected, targets, weights.stream().mapToDouble(w -> w).toArray());
        loss.backward();
        return Map.of("loss", loss);
    }
}
