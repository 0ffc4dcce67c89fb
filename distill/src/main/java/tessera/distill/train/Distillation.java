package tessera.distill.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Student;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The second stage of MM-CDFSL (ECCV 2024): the RGB student learns, on unlabelled target clips, to predict the pooled
 * features of frozen RGB, flow and pose teachers through one projector each. All see the same tokens, and have one architecture
 * with tokens, or all see everything.
 *
 * <p>The student ends up in {@code student.safetensors} of the run's folder. Made from {@link #defaults} by its {@code with}
 * methods.
 *
 * @param weights weight of each teacher's loss, 1 in the paper
 * @param maskedTeachers whether teachers see the student's tokens alone, as in the paper, or all
 * @param standardised whether teachers' features are {@linkplain FeatureMatch#standardised() standardised}; not so in the paper
 * @param keep weight of the mean squared difference of the student's feature from the one that the model it starts from makes of
 *     the same tokens, so that it forgets less; 0 in the paper
 * @param recipe how it trains
 */
public record Distillation(
        Map<Modality, Double> weights, boolean maskedTeachers, boolean standardised, double keep, Recipe recipe) {
    /** Name of the finished student in a run's folder. */
    public static final String STUDENT = "student.safetensors";

    /** Begins the names of the student's parameters in a checkpoint. */
    private static final String STUDENTS = "student.";

    private static final Metric MATCHED = new Metric("features");
    private static final Metric KEPT = new Metric("kept");

    private static final int MASK_STREAM = 3;
    private static final int PATH_STREAM = 6;

    public Distillation {
        if (!(keep >= 0) || Double.isInfinite(keep)) {
            throw new IllegalArgumentException("distill: the weight of keeping the student's own feature is " + keep
                    + "; pass 0 to leave it out, or a positive number such as 0.05");
        }
        // In the order of the modalities: the loss is summed in it.
        weights = Collections.unmodifiableSortedMap(new TreeMap<>(weights));
    }

    /** Features as they are, and nothing kept, as in the paper. */
    public Distillation(Map<Modality, Double> weights, boolean maskedTeachers, Recipe recipe) {
        this(weights, maskedTeachers, false, 0, recipe);
    }

    /** The paper's settings with a recipe for small sets of clips, and equal weights of all modalities. */
    public static Distillation defaults() {
        Recipe common = Recipe.defaults();
        return new Distillation(
                Modality.ALL.stream().collect(Collectors.toMap(modality -> modality, modality -> 1.0)),
                true,
                common.over(common.steps(), 5e-4));
    }

    /** The same with other teachers, or other weights of them. */
    public Distillation withWeights(Map<Modality, Double> others) {
        return new Distillation(others, maskedTeachers, standardised, keep, recipe);
    }

    /** The same with teachers that see the student's tokens alone, or all. */
    public Distillation withMaskedTeachers(boolean wanted) {
        return new Distillation(weights, wanted, standardised, keep, recipe);
    }

    /** The same with another recipe. */
    public Distillation withRecipe(Recipe other) {
        return new Distillation(weights, maskedTeachers, standardised, keep, other);
    }

    /** The same with teachers' features standardised over each batch, or as they are. */
    public Distillation withStandardised(boolean wanted) {
        return new Distillation(weights, maskedTeachers, wanted, keep, recipe);
    }

    /** The same with another weight of keeping the feature that the student starts with. */
    public Distillation withKeep(double weight) {
        return new Distillation(weights, maskedTeachers, standardised, weight, recipe);
    }

    /** The settings by name. */
    public Settings settings() {
        return recipe.addTo(Settings.NONE
                .with("weights", weights)
                .with("maskedTeachers", maskedTeachers)
                .with("standardised", standardised)
                .with("keep", keep));
    }

    /** See {@link Trainer#requireSettings}. */
    public void requireSettings(Path folder) {
        Trainer.requireSettings(
                folder, STUDENT, settings(), defaults().withWeights(Map.of()).settings());
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished student of the same settings.
     *
     * @param teachers the models of the first stage; the student starts from the RGB teacher
     * @return the student's file
     */
    public Path run(Map<Modality, Path> teachers, ClipSet target, Path folder, RunContext context) {
        return Trainer.run(stage(teachers, target), folder, context);
    }

    /** What {@link #run} trains. */
    public Stage stage(Map<Modality, Path> teachers, ClipSet target) {
        return stage(teachers, require(teachers, Modality.RGB), target);
    }

    /**
     * As {@link #stage(Map, ClipSet)}, with a student that starts from other weights.
     *
     * @param start an RGB model, of the first stage or a student; the student is like it
     */
    public Stage stage(Map<Modality, Path> teachers, Path start, ClipSet target) {
        return stage(teachers, start, target, null);
    }

    /**
     * As {@link #stage(Map, Path, ClipSet)}, of clips that are changed before anybody looks at them.
     *
     * @param change what happens to them, or null for nothing. It is no setting of the stage: whoever passes one keeps such runs in
     *     folders of their own
     */
    public Stage stage(Map<Modality, Path> teachers, Path start, ClipSet target, ClipBatches.@Nullable Change change) {
        ModelConfig config = OpenModel.Description.of(start).config();
        return new Stage(
                        "distill",
                        recipe,
                        settings(),
                        defaults().withWeights(Map.of()).settings(),
                        context -> setUp(teachers, start, target, change, context),
                        new Stage.Export(STUDENT, config.toMetadata(), (setup, file, metadata) -> {
                            Map<String, Tensor> student = new LinkedHashMap<>();
                            setup.trained().forEach((name, parameter) -> {
                                if (name.startsWith(STUDENTS)) {
                                    student.put(name.substring(STUDENTS.length()), parameter);
                                }
                            });
                            Student.save(file, student, config, metadata);
                        }))
                .withTitle(weights.keySet().stream()
                        .map(Modality::id)
                        .collect(Collectors.joining(", ", "distill rgb from ", "")));
    }

    private Stage.Setup setUp(
            Map<Modality, Path> teachers,
            Path start,
            ClipSet target,
            ClipBatches.@Nullable Change change,
            RunContext context) {
        long seed = recipe.seed();
        OpenModel student = OpenModel.open(start, seed, ModelHeads.NONE, context);
        student.params().addShadows();
        Map<String, Tensor> trained = new LinkedHashMap<>();
        student.params().all().forEach((name, parameter) -> trained.put(STUDENTS + name, parameter));
        Params projectors = Params.random(context.device(), DType.F32, seed);
        List<FeatureMatch.Match> matches = new ArrayList<>();
        List<Teacher> looking = new ArrayList<>();
        List<Weighted.Term> terms = new ArrayList<>();
        try {
            weights.forEach((modality, weight) -> {
                ModelNetwork network =
                        OpenModel.frozen(require(teachers, modality), context).network();
                Projector projector = new Projector(
                        projectors.at("cmt").at("mlp_to_" + modality),
                        student.model().config().featureWidth(),
                        network.model().config().featureWidth());
                Network teacher = maskedTeachers ? network : new AllTokens(network);
                looking.add(new Teacher(modality, teacher));
                matches.add(new FeatureMatch.Match(looking.getLast(), projector, weight));
            });
            if (keep > 0) {
                Teacher before = new Teacher(
                        Modality.RGB, OpenModel.frozen(start, context).network());
                looking.add(before);
                Objective same = look -> Losses.meanSquaredError(
                        look.student().feature(), look.of(before).feature());
                terms.add(new Weighted.Term(same, keep, KEPT));
            }
        } catch (RuntimeException | Error e) {
            // Packed weights belong to no scope.
            looking.forEach(teacher -> teacher.network().close());
            throw e;
        }
        trained.putAll(projectors.all());
        terms.addFirst(new Weighted.Term(new FeatureMatch(matches, standardised), 1, keep > 0 ? MATCHED : null));
        Set<Modality> seen = new TreeSet<>(weights.keySet());
        seen.add(Modality.RGB);
        return new Stage.Setup(
                trained,
                Modality.RGB,
                student.network(),
                looking,
                List.of(new Stage.Part(
                        new ClipBatches(target, seen, false, recipe, seed + 2, seed).changing(change),
                        new Weighted(terms),
                        PATH_STREAM)),
                student.model().config().grid() == null ? null : recipe.strategy(),
                MASK_STREAM);
    }

    /** A teacher that looks at every token. */
    private record AllTokens(ModelNetwork network) implements Network {
        @Override
        public Outputs forward(Tensor clips, @Nullable TokenMask mask, Noise noise) {
            return network.forward(clips, null, noise);
        }

        @Override
        public TokenGrid grid() {
            return network.grid();
        }

        @Override
        public void close() {
            network.close();
        }
    }

    private static Path require(Map<Modality, Path> teachers, Modality modality) {
        Path file = teachers.get(modality);
        if (file == null) {
            throw new IllegalArgumentException(
                    "distill: there is no " + modality + " teacher; pretrain one and pass its " + Pretraining.MODEL);
        }
        return file;
    }

    /**
     * The encoder of a pretrained model as a student, without distillation: the baseline, and the way to use a teacher of
     * one modality alone.
     */
    public static void saveUndistilled(Path pretrained, Path student) {
        try (Scope scope = Scope.open()) {
            RunContext plain = new RunContext(ProgressListener.NONE, new StopSignal(), Device.cpu(), DType.F32);
            OpenModel open = OpenModel.open(pretrained, 0, ModelHeads.NONE, plain);
            ModelConfig config = open.model().config();
            open.model().close();
            Student.save(student, open.params().all(), config, config.toMetadata());
        }
    }
}
