package tessera.distill.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Int8Layers;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Head;
import tessera.nn.videomae.MotionBasis;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The first stage of MM-CDFSL (ECCV 2024): one masked autoencoder per modality, trained on labelled source clips and
 * unlabelled target clips with {@code L = reconstruction(source) + reconstruction(target) + lambda CE(source)}.
 *
 * <p>Source and target clip of a pair share one mask, unless the strategy looks at clips. The model ends up in {@code
 * model.safetensors} of the run's folder. {@link #defaults} has the paper's settings.
 *
 * @param modality what the model sees
 * @param targetReconstruction whether target clips are reconstructed too; without, this is the ablation S + CE
 * @param lambda weight of the cross-entropy
 * @param dropout of the classifier's feature
 * @param motionGain by how much the patch embedding learns in a {@link MotionBasis}: above 1 it finds what moves before what stands
 *     still; 1 for pixels, as in the paper. The finished model is one of pixels either way
 * @param normaliseClips whether the pixels to reconstruct are normalised over each clip, so that light and dark count; else, as in the
 *     paper, over each patch
 * @param recipe of which a batch is that many pairs of clips
 */
public record Pretraining(
        Modality modality,
        boolean targetReconstruction,
        double lambda,
        double dropout,
        double motionGain,
        boolean normaliseClips,
        Recipe recipe) {
    /** Name of the finished model in a run's folder. */
    public static final String MODEL = "model.safetensors";

    /** The paper's weight of the cross-entropy for RGB. */
    public static final double RGB_LAMBDA = .05;

    /** The paper's weight of the cross-entropy for the other modalities. */
    public static final double OTHER_LAMBDA = .01;

    private static final int MASK_STREAM = 1;
    private static final int DROPOUT_STREAM = 2;
    private static final int SOURCE_PATH_STREAM = 4;
    static final int TARGET_PATH_STREAM = 5;

    private static final Metric SOURCE = new Metric("reconstruction_source");
    private static final Metric TARGET = new Metric("reconstruction_target");
    private static final Metric CLASSES = new Metric("cross_entropy");

    public Pretraining {
        if (!(motionGain > 0) || Double.isInfinite(motionGain)) {
            throw new IllegalArgumentException(
                    "a motion gain of " + motionGain + "; pass a positive factor such as 4, or 1 to learn in pixels");
        }
    }

    /** Pretraining as in the paper: in pixels, normalised over each patch. */
    public Pretraining(Modality modality, boolean targetReconstruction, double lambda, double dropout, Recipe recipe) {
        this(modality, targetReconstruction, lambda, dropout, 1, false, recipe);
    }

    /** The paper's settings with a recipe for small sets of clips. */
    public static Pretraining defaults(Modality modality) {
        Recipe common = Recipe.defaults();
        Recipe recipe = common.over(common.steps(), 1e-3)
                .withMaskRatio(.9)
                .withOptimiser(new Optimiser(.9, .95, 1e-8, .05, Optimiser.Decays.MATRICES, 0));
        return new Pretraining(modality, true, modality.equals(Modality.RGB) ? RGB_LAMBDA : OTHER_LAMBDA, .5, recipe);
    }

    /** The same with another weight of the cross-entropy. */
    public Pretraining withLambda(double weight) {
        return new Pretraining(modality, targetReconstruction, weight, dropout, motionGain, normaliseClips, recipe);
    }

    /** The same with another recipe. */
    public Pretraining withRecipe(Recipe other) {
        return new Pretraining(modality, targetReconstruction, lambda, dropout, motionGain, normaliseClips, other);
    }

    /** The same with a patch embedding that learns what moves first, or, with 1, in pixels. */
    public Pretraining withMotionGain(double gain) {
        return new Pretraining(modality, targetReconstruction, lambda, dropout, gain, normaliseClips, recipe);
    }

    /** The same with pixels that are normalised over each clip, or over each patch. */
    public Pretraining withNormaliseClips(boolean value) {
        return new Pretraining(modality, targetReconstruction, lambda, dropout, motionGain, value, recipe);
    }

    /** The settings by name. */
    public Settings settings() {
        return recipe.addTo(Settings.NONE
                .with("modality", modality)
                .with("targetReconstruction", targetReconstruction)
                .with("lambda", lambda)
                .with("dropout", dropout)
                .with("motionGain", motionGain)
                .with("normaliseClips", normaliseClips));
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished model of the same settings.
     *
     * @param start weights to start from (names of any public VideoMAE code), or null; the patch embedding and the
     *     decoder's head start afresh for flow and pose, and the whole decoder if the file is a student, which has none
     * @return the file with the finished model
     */
    public Path run(
            VideoMaeConfig config,
            ClipSet source,
            ClipSet target,
            @Nullable Path start,
            Path folder,
            RunContext context) {
        return Trainer.run(stage(config, source, target, start), folder, context);
    }

    /** See {@link Trainer#requireSettings}. */
    public void requireSettings(Path folder) {
        Trainer.requireSettings(folder, MODEL, settings(), defaults(modality).settings());
    }

    /** What {@link #run} trains. */
    public Stage stage(VideoMaeConfig config, ClipSet source, ClipSet target, @Nullable Path start) {
        return stage(config, source, target, start, modality.equals(Modality.RGB));
    }

    /**
     * As {@link #stage(VideoMaeConfig, ClipSet, ClipSet, Path)}, where it is known what the start looks at.
     *
     * @param same whether that is this modality, so that the patch embedding and the decoder's head are taken too; else it is RGB
     */
    public Stage stage(VideoMaeConfig config, ClipSet source, ClipSet target, @Nullable Path start, boolean same) {
        return new Stage(
                "pretrain " + modality,
                recipe,
                settings(),
                defaults(modality).settings(),
                context -> setUp(config, source, target, start, same, context),
                export(config));
    }

    /** Writes everything that is trained, in pixels. */
    Stage.Export export(VideoMaeConfig config) {
        return new Stage.Export(
                MODEL, config.toMetadata(), (setup, file, metadata) -> write(config, setup.trained(), file, metadata));
    }

    private void write(VideoMaeConfig config, Map<String, Tensor> trained, Path file, Map<String, String> metadata) {
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = new LinkedHashMap<>(trained);
            weights.computeIfPresent(VideoMaePretraining.EMBEDDING, (name, weight) -> {
                MotionBasis motion = motion(config, weight.device());
                return motion == null ? weight : Autograd.noGrad(() -> motion.toPixels(weight));
            });
            Checkpoint.write(file, weights, metadata);
        }
    }

    private @Nullable MotionBasis motion(VideoMaeConfig config, Device device) {
        return motionGain == 1 ? null : new MotionBasis(device, config.patches().tubelet(), motionGain);
    }

    /**
     * Sets the networks up.
     *
     * @param same whether the start saw the modality too, so that its input and output layers are taken
     */
    Stage.Setup setUp(
            VideoMaeConfig config,
            ClipSet source,
            ClipSet unlabelled,
            @Nullable Path start,
            boolean same,
            RunContext context) {
        Params params;
        VideoMaePretraining model;
        try (Checkpoint checkpoint = start == null ? null : Checkpoint.read(start)) {
            if (checkpoint != null && Int8Layers.isInt8(checkpoint.metadata())) {
                throw new CheckpointException(Int8Layers.NOT_TRAINED);
            }
            if (checkpoint != null) {
                Head.requireModel(checkpoint.tensors().keySet());
            }
            MotionBasis motion = motion(config, context.device());
            params = context.configure(parameters(checkpoint, motion, same, context.device()));
            model = new VideoMaePretraining(params, config, source.classes().size(), motion);
            params.finish(name -> start != null);
        } catch (CheckpointException e) {
            throw new CheckpointException(start + ": " + e.getMessage());
        }
        params.addShadows();
        Objective reconstruction = new Reconstruction(model, normaliseClips);
        Objective classes = new CrossEntropy(ClipBatches.ACTION);
        List<Stage.Part> parts = new ArrayList<>();
        parts.add(new Stage.Part(
                batches(source, true, 0),
                new Weighted(List.of(
                        new Weighted.Term(reconstruction, 1, SOURCE), new Weighted.Term(classes, lambda, CLASSES))),
                SOURCE_PATH_STREAM));
        if (targetReconstruction) {
            parts.add(new Stage.Part(
                    batches(unlabelled, false, 1),
                    new Weighted(List.of(new Weighted.Term(reconstruction, 1, TARGET))),
                    TARGET_PATH_STREAM));
        }
        return new Stage.Setup(
                params.all(),
                modality,
                new Autoencoder(model, dropout),
                List.of(),
                parts,
                recipe.strategy(),
                MASK_STREAM);
    }

    ClipBatches batches(ClipSet clips, boolean labelled, int which) {
        long seed = recipe.seed() + which;
        return new ClipBatches(clips, Set.of(modality), labelled, recipe, seed, seed);
    }

    private Params parameters(@Nullable Checkpoint start, @Nullable MotionBasis motion, boolean same, Device device) {
        if (start == null) {
            return Params.random(device, DType.F32, recipe.seed());
        }
        Map<String, Tensor> weights = new LinkedHashMap<>(VideoMaeNames.translate(start.tensors()));
        if (motion != null && same) {
            weights.computeIfPresent(
                    VideoMaePretraining.EMBEDDING,
                    (name, weight) -> Autograd.noGrad(() ->
                            motion.fromPixels(weight.to(DType.F32).to(device)).to(Device.cpu())));
        }
        boolean student = weights.keySet().stream().noneMatch(name -> name.startsWith("decoder."));
        return Params.from(
                device,
                DType.F32,
                weights,
                recipe.seed(),
                name -> name.startsWith("fc_norm")
                        || name.startsWith("head_action")
                        || (student && !name.startsWith("encoder."))
                        // A fine-tuned model whose feature is a mean has no norm of tokens.
                        || (student && !weights.containsKey(name) && name.startsWith("encoder.norm."))
                        || (!same && (name.startsWith("encoder.patch_embed") || name.startsWith("decoder.head"))));
    }

    /** The model as a student: features of tokens, and the scores of its own head. */
    private record Autoencoder(VideoMaePretraining model, double dropout) implements Network {
        @Override
        public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
            if (mask == null) {
                throw new IllegalArgumentException("a masked autoencoder needs a mask; give the stage masks");
            }
            Tensor tokens = model.encode(clips, mask, noise.dropPath());
            long stream = ReplicaStep.stream(DROPOUT_STREAM, noise.step());
            return new Outputs(
                    tokens,
                    null,
                    head -> head.equals(ClipBatches.ACTION)
                            ? model.classify(tokens, dropout, noise.seed(), stream)
                            : null);
        }

        @Override
        public TokenGrid grid() {
            return model.config().grid();
        }

        @Override
        public void close() {
            model.close();
        }
    }
}
