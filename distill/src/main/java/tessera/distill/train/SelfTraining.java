package tessera.distill.train;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.data.Views;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Self-training across domains, STARTUP (Phoo and Hariharan, "Self-training for few-shot transfer across extreme task differences", ICLR
 * 2021): {@code L = lambda CE(source) + weight KL(soft labels || student)(target) + reconstruction(target)}.
 *
 * <p>The soft labels are the class probabilities that a finished model's classifier of source classes gives unlabelled target clips, at a
 * temperature of 1: made once, of whole clips as they are. The student starts from that model, with a classifier afresh. The paper's
 * self-supervised term is SimCLR's; here it is the reconstruction of masked clips, for these are masked autoencoders.
 *
 * <p>The model ends up as that of {@link Pretraining}, in {@link Pretraining#MODEL}.
 *
 * @param pretraining what the student is, its recipe, lambda, and whether target clips are reconstructed
 * @param weight of the soft labels
 */
public record SelfTraining(Pretraining pretraining, double weight) {
    private static final String TAUGHT = "source";
    private static final Metric CLASSES = new Metric("cross_entropy");
    private static final Metric SOFT_LABELS = new Metric("soft_labels");

    public SelfTraining {
        if (!(weight >= 0) || Double.isInfinite(weight)) {
            throw new IllegalArgumentException(
                    "self-training: the soft labels weigh " + weight + "; pass a number of 0 or more");
        }
    }

    /** The paper's weights, 1 for each term, which takes the place of the pretraining's lambda. */
    public static SelfTraining of(Pretraining pretraining) {
        return new SelfTraining(pretraining.withLambda(1), 1);
    }

    /** The same with another weight of the soft labels. */
    public SelfTraining withWeight(double other) {
        return new SelfTraining(pretraining, other);
    }

    /** The settings by name. */
    public Settings settings() {
        return pretraining.settings().with("softLabels", weight);
    }

    /** See {@link Trainer#requireSettings}. */
    public void requireSettings(Path folder) {
        Trainer.requireSettings(
                folder,
                Pretraining.MODEL,
                settings(),
                of(Pretraining.defaults(pretraining.modality())).settings());
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished model of the same settings.
     *
     * @param teacher a finished model of {@link Pretraining} on the same source classes, which the student begins with
     * @return the file with the finished model
     * @throws IllegalArgumentException if the teacher is no such model
     */
    public Path run(
            VideoMaeConfig config, ClipSet source, ClipSet target, Path teacher, Path folder, RunContext context) {
        return Trainer.run(stage(config, source, target, teacher), folder, context);
    }

    /** What {@link #run} trains. */
    public Stage stage(VideoMaeConfig config, ClipSet source, ClipSet target, Path teacher) {
        return new Stage(
                "self-train " + pretraining.modality(),
                pretraining.recipe(),
                settings(),
                of(Pretraining.defaults(pretraining.modality())).settings(),
                context -> setUp(config, source, target, teacher, context),
                pretraining.export(config));
    }

    private Stage.Setup setUp(VideoMaeConfig config, ClipSet source, ClipSet target, Path teacher, RunContext context) {
        float[][] softLabels = answers(config, source.classes().size(), target, teacher, context);
        Stage.Setup setup = pretraining.setUp(config, source, target, teacher, true, context);
        Stage.Part ofSource = setup.parts().getFirst();
        Teacher remembered = new Teacher(pretraining.modality(), new Remembered());
        Weighted.Term soft = new Weighted.Term(
                new LogitDistillation(List.of(remembered), ClipBatches.ACTION, 1, 1, 0, Weighting.uniform()),
                weight,
                SOFT_LABELS);
        List<Weighted.Term> ofTarget = pretraining.targetReconstruction()
                ? List.of(new Weighted.Term(setup.parts().getLast().objective(), 1, null), soft)
                : List.of(soft);
        return new Stage.Setup(
                setup.trained(),
                setup.sees(),
                setup.student(),
                List.of(remembered),
                List.of(
                        new Stage.Part(
                                ofSource.batches(),
                                new Weighted(List.of(new Weighted.Term(
                                        new CrossEntropy(ClipBatches.ACTION), pretraining.lambda(), CLASSES))),
                                ofSource.stream()),
                        new Stage.Part(
                                pretraining.batches(target, false, 1).teaching(TAUGHT, softLabels),
                                new Weighted(ofTarget),
                                Pretraining.TARGET_PATH_STREAM)),
                setup.masks(),
                setup.maskStream());
    }

    /** The teacher's class scores of every target clip, {@code [clips][classes]}. */
    private float[][] answers(VideoMaeConfig config, int classes, ClipSet target, Path teacher, RunContext context) {
        try (Scope scope = Scope.open();
                VideoMaePretraining model = open(config, classes, teacher, context);
                Task task = context.task("soft labels", Task.Unit.CLIPS, target.size())) {
            float[][] answers = new float[target.size()][];
            int[] all = IntStream.range(0, answers.length).toArray();
            Device host = context.device().isHost() ? context.device() : Device.cpu();
            Views views = ClipViews.views(pretraining.recipe(), target);
            int batch = pretraining.recipe().batch();
            context.stop().during(() -> {
                for (int from = 0; from < answers.length; from += batch) {
                    int[] clips = Arrays.copyOfRange(all, from, Math.min(answers.length, from + batch));
                    Tensor seen = ClipViews.plain(
                                    host, target, target.geometry(), views, pretraining.modality(), clips, all)
                            .samples()
                            .get(pretraining.modality());
                    float[] scores = scores(model, Objects.requireNonNull(seen).to(context.device()));
                    for (int i = 0; i < clips.length; i++) {
                        answers[from + i] = Arrays.copyOfRange(scores, i * classes, (i + 1) * classes);
                    }
                    task.advance(from + clips.length);
                    if (context.stop().isRequested()) {
                        throw new StopSignal.Stopped(
                                "stopped while soft labels were made; run the same command to start again");
                    }
                }
            });
            return answers;
        }
    }

    private static float[] scores(VideoMaePretraining model, Tensor seen) {
        return Autograd.noGrad(() -> {
            try (Scope scope = Scope.open()) {
                Tensor tokens = model.encoder().forward(seen, null, DropPath.NONE);
                return model.classify(tokens, 0, 0, 0).toFloats(); // [B, classes]
            }
        });
    }

    private static VideoMaePretraining open(VideoMaeConfig config, int classes, Path teacher, RunContext context) {
        try (Checkpoint checkpoint = Checkpoint.read(teacher)) {
            Tensor head = checkpoint.tensors().get("head_action.weight");
            if (head == null) {
                throw new CheckpointException("it has no classifier of source classes; pass the " + Pretraining.MODEL
                        + " of a pretraining on the same source");
            }
            if (head.size(0) != classes) {
                throw new CheckpointException("it tells " + head.size(0) + " classes apart but the source clips have "
                        + classes + "; pass the model of a pretraining on the same source");
            }
            VideoMaeConfig own = VideoMaeConfig.fromMetadata(checkpoint.metadata());
            if (!own.input().equals(config.input())) {
                throw new CheckpointException("it takes clips of " + own.input() + " but the student " + config.input()
                        + "; train both with the same sizes");
            }
            Params params = Params.from(context.device(), DType.F32, checkpoint.tensors())
                    .computeIn(context.compute());
            VideoMaePretraining model = new VideoMaePretraining(params, own, classes);
            params.finish();
            params.all().values().forEach(parameter -> parameter.requiresGrad(false));
            return model;
        } catch (CheckpointException e) {
            throw new CheckpointException("self-training: " + teacher + ": " + e.getMessage());
        }
    }

    /** A teacher whose answers come with the batch. */
    private record Remembered() implements Network {
        @Override
        public Outputs look(Batch batch, Modality sees, @Nullable TokenMask mask) {
            return new Outputs(
                    null,
                    null,
                    head -> head.equals(ClipBatches.ACTION) ? batch.taught().get(TAUGHT) : null);
        }

        @Override
        public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
            throw new IllegalStateException("soft labels were made before");
        }

        @Override
        public TokenGrid grid() {
            throw new IllegalStateException("soft labels have no tokens");
        }
    }
}
