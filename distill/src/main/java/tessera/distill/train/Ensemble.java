package tessera.distill.train;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.nn.Checkpoint;
import tessera.nn.ClipShape;
import tessera.nn.ModelConfig;
import tessera.nn.ModelHeads;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.nn.TokenGrid;
import tessera.nn.inference.Student;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * Multimodal distillation (Radevski et al., ICCV 2023): a student of one modality learns from the weighted logits of frozen
 * teachers of any, head by head: the mean over the heads of {@code alpha T^2 KL + beta weight_head CE}; see {@link
 * LogitDistillation}. Teachers' features may be distilled beside them, as MM-CDFSL does: {@code + sum_t features_t mean((projected -
 * feature_t)^2)}.
 *
 * <p>Where the recipe masks tokens, teachers with the student's grid see what it sees, and others see everything. The student ends
 * up in {@code student.safetensors} of the run's folder, with its heads. Made from {@link #defaults} by its {@code with} methods.
 *
 * @param modality what the student sees
 * @param heads weight of each head's cross-entropy; the first is the main one. Without heads, or with alpha and beta 0,
 *     features alone are distilled
 * @param alpha weight of the teachers' logits
 * @param beta weight of the labels
 * @param temperature T
 * @param weighting of the teachers
 * @param features weight of each teacher's feature by the teacher's name; empty for logits alone
 * @param heldOut training clips that the student is not trained on, by which teachers are weighted
 * @param viewCount views of each clip where the recipe augments, 0 for another one in every epoch
 * @param recipe how it trains
 */
public record Ensemble(
        Modality modality,
        Map<String, Double> heads,
        double alpha,
        double beta,
        double temperature,
        TeacherWeights weighting,
        Map<String, Double> features,
        HeldOut heldOut,
        int viewCount,
        Recipe recipe) {
    /** Name of the finished student in a run's folder. */
    public static final String STUDENT = "student.safetensors";

    private static final String STUDENTS = "student.";
    private static final String PROJECTORS = "projectors";
    private static final Metric FEATURES = new Metric("features");

    /** The setting that holds what a run's teachers weigh by the data set. */
    private static final String TEACHER_WEIGHTS = "teacherWeights";

    private static final int MASK_STREAM = 9;
    private static final int PATH_STREAM = 10;

    public Ensemble {
        heads = Collections.unmodifiableMap(new LinkedHashMap<>(heads));
        features = Collections.unmodifiableMap(new LinkedHashMap<>(features));
        Supervised.requireHeads(heads);
        Supervised.requireViewCount(viewCount);
        features.forEach((teacher, weight) -> {
            if (!(weight >= 0) || weight.isInfinite()) {
                throw new IllegalArgumentException("the feature of the teacher '" + teacher + "' weighs " + weight
                        + "; give each a number of 0 or more");
            }
        });
        if (!(temperature > 0) || !(alpha >= 0 && beta >= 0) || Double.isInfinite(alpha + beta + temperature)) {
            throw new IllegalArgumentException("distillation at T " + temperature + ", alpha " + alpha + ", beta "
                    + beta + "; pass a positive temperature, and weights of 0 or more");
        }
    }

    /**
     * The published settings, an rgb student's with one head, {@link ClipBatches#ACTION}: alpha 1, beta 0, T 1, uniform weights. The
     * recipe is {@link Supervised}'s.
     */
    public static Ensemble defaults() {
        return new Ensemble(
                Modality.RGB,
                Map.of(ClipBatches.ACTION, 1.0),
                1,
                0,
                1,
                TeacherWeights.UNIFORM,
                Map.of(),
                HeldOut.NONE,
                0,
                Supervised.published());
    }

    /** The same with other heads, whose cross-entropies weigh alike. */
    public Ensemble withHeads(String... names) {
        Map<String, Double> weights = new LinkedHashMap<>();
        for (String name : names) {
            weights.put(name, 1.0);
        }
        return withHeads(weights);
    }

    /** The same with other heads, or other weights of them; the map's first is the main one. */
    public Ensemble withHeads(Map<String, Double> weights) {
        return new Ensemble(
                modality, weights, alpha, beta, temperature, weighting, features, heldOut, viewCount, recipe);
    }

    /** The same with other weights of the teachers' logits and the labels, at another temperature. */
    public Ensemble withLoss(double ofTeachers, double ofLabels, double atTemperature) {
        return new Ensemble(
                modality, heads, ofTeachers, ofLabels, atTemperature, weighting, features, heldOut, viewCount, recipe);
    }

    /** The same with teachers weighted otherwise. */
    public Ensemble withWeighting(TeacherWeights other) {
        return new Ensemble(modality, heads, alpha, beta, temperature, other, features, heldOut, viewCount, recipe);
    }

    /** The same with features of teachers distilled too. */
    public Ensemble withFeatures(Map<String, Double> ofTeachers) {
        return new Ensemble(
                modality, heads, alpha, beta, temperature, weighting, ofTeachers, heldOut, viewCount, recipe);
    }

    /** The same without training on some clips. */
    public Ensemble withHeldOut(HeldOut other) {
        return new Ensemble(modality, heads, alpha, beta, temperature, weighting, features, other, viewCount, recipe);
    }

    /** The same with a number of views of each clip. */
    public Ensemble withViewCount(int number) {
        return new Ensemble(modality, heads, alpha, beta, temperature, weighting, features, heldOut, number, recipe);
    }

    /** The same with another recipe. */
    public Ensemble withRecipe(Recipe other) {
        return new Ensemble(modality, heads, alpha, beta, temperature, weighting, features, heldOut, viewCount, other);
    }

    /** What teachers weighed in the training of a finished student, by head and teacher; empty where no data set told it. */
    public static Map<String, Map<String, Double>> teacherWeights(Path student) {
        String settings;
        try (Checkpoint file = Checkpoint.read(student)) {
            settings = file.metadata().get(Trainer.SETTINGS);
        }
        Map<String, Map<String, Double>> weights = new LinkedHashMap<>();
        if (settings != null && Settings.parse(settings).values().get(TEACHER_WEIGHTS) instanceof Map<?, ?> heads) {
            heads.forEach((head, ofTeachers) -> weights.put(head.toString(), DataSetWeights.numbers(ofTeachers)));
        }
        return weights;
    }

    /** The settings by name. */
    public Settings settings() {
        Settings settings = Settings.NONE
                .with("modality", modality)
                .with("heads", heads)
                .with("alpha", alpha)
                .with("beta", beta)
                .with("temperature", temperature)
                .with("weighting", weighting.kind())
                .with("weightingTemperature", weighting.temperature())
                .with("features", features)
                .with("viewCount", viewCount);
        return recipe.addTo(heldOut.addTo(settings));
    }

    /**
     * What a student learns from.
     *
     * @param teachers 1 to 8, of different names
     * @param clips training clips in every modality that somebody sees, labelled for every head
     * @param heldOut other training clips, by which teachers are weighted by the data set; null for those that {@link #heldOut()} leaves
     *     out. Never test clips
     * @param start a file that the student starts from, as {@link Supervised#run} takes it, or null
     * @param cache folder of the teachers' answers, which then look once at each view of a clip, or null
     */
    public record Lesson(
            List<TeacherFile> teachers,
            ClipSet clips,
            @Nullable ClipSet heldOut,
            @Nullable Path start,
            @Nullable Path cache) {
        public Lesson {
            teachers = List.copyOf(teachers);
            if (teachers.isEmpty()
                    || teachers.size() > 8
                    || teachers.stream().map(TeacherFile::name).distinct().count() < teachers.size()) {
                throw new IllegalArgumentException("teachers "
                        + teachers.stream().map(TeacherFile::name).toList()
                        + "; pass 1 to 8 of different names");
            }
        }

        /** Teachers that look themselves, and a student that starts afresh. */
        public Lesson(List<TeacherFile> teachers, ClipSet clips) {
            this(teachers, clips, null, null, null);
        }

        /** The same with held-out clips. */
        public Lesson withHeldOut(ClipSet other) {
            return new Lesson(teachers, clips, other, start, cache);
        }

        /** The same from a file. */
        public Lesson withStart(Path file) {
            return new Lesson(teachers, clips, heldOut, file, cache);
        }

        /** The same with a cache. */
        public Lesson withCache(Path folder) {
            return new Lesson(teachers, clips, heldOut, start, folder);
        }
    }

    /** See {@link Trainer#requireSettings}. */
    public void requireSettings(Path folder) {
        Trainer.requireSettings(folder, STUDENT, settings(), defaults().settings());
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished student of the same settings.
     *
     * @param config of the student, of any registered architecture
     * @return the student's file
     * @throws IllegalArgumentException if clips, teachers, student and settings do not fit together
     */
    public Path run(ModelConfig config, Lesson lesson, Path folder, RunContext context) {
        return Trainer.run(stage(config, lesson, folder, context), folder, context);
    }

    /**
     * What {@link #run} trains. Where teachers are weighted by the data set, this weighs them, or takes the weights that the
     * folder holds.
     *
     * @throws StopSignal.Stopped if the context's signal asked for it while teachers were weighted; the same call goes on there
     */
    public Stage stage(ModelConfig config, Lesson lesson, Path folder, RunContext context) {
        if ((heads.isEmpty() || alpha + beta == 0) && features.isEmpty()) {
            throw new IllegalArgumentException("distillation of no head and no feature teaches nothing; name heads and"
                    + " give alpha a positive number, or give features weights");
        }
        Map<Modality, ClipShape> inputs = new TreeMap<>(Map.of(modality, config.input()));
        lesson.teachers()
                .forEach(teacher -> inputs.putIfAbsent(
                        teacher.sees(),
                        OpenModel.Description.of(teacher.file()).config().input()));
        Geometry sees = Supervised.sees(recipe, lesson.clips(), inputs);
        Supervised.requireClips("the student", config, modality, lesson.clips(), sees);
        ModelHeads labels = alpha + beta == 0 ? ModelHeads.NONE : Supervised.labels(lesson.clips(), heads.keySet());
        requireTeachers(labels, lesson, sees);
        requireCacheable(lesson);
        Settings settings = heldOut.addTo(settings(), lesson.clips());
        Map<String, Map<String, Double>> weights = Map.of();
        if (weighting.kind() == TeacherWeights.Kind.DATASET) {
            weights = DataSetWeights.of(this, lesson, sees, folder, context);
            settings = settings.with(TEACHER_WEIGHTS, weights);
        }
        Map<String, Map<String, Double>> weighed = weights;
        Map<String, String> model = new LinkedHashMap<>(config.toMetadata());
        model.putAll(labels.toMetadata());
        return new Stage(
                        "distill",
                        recipe,
                        settings,
                        heldOut.addTo(defaults().settings(), lesson.clips()),
                        run -> setUp(config, labels, lesson, sees, weighed, run),
                        new Stage.Export(STUDENT, model, (setup, file, metadata) -> {
                            Map<String, Tensor> student = new LinkedHashMap<>();
                            setup.trained().forEach((name, parameter) -> {
                                if (name.startsWith(STUDENTS)) {
                                    student.put(name.substring(STUDENTS.length()), parameter);
                                }
                            });
                            Student.save(file, student, config, labels, metadata);
                        }))
                .withTitle(title(lesson));
    }

    private String title(Lesson lesson) {
        return lesson.teachers().stream()
                .map(TeacherFile::name)
                .collect(Collectors.joining(", ", "distill " + modality + " from ", ""));
    }

    private void requireTeachers(ModelHeads labels, Lesson lesson, Geometry sees) {
        for (TeacherFile teacher : lesson.teachers()) {
            String who = "the teacher " + teacher.name() + " (" + teacher.file() + ")";
            OpenModel.Description described = OpenModel.Description.of(teacher.file());
            Supervised.requireClips(who, described.config(), teacher.sees(), lesson.clips(), sees);
            labels.labels().forEach((head, classes) -> {
                List<String> own = described.heads().labels().get(head);
                if (own == null) {
                    throw new IllegalArgumentException(who + " has no head '" + head + "' but "
                            + described.heads().labels().keySet() + "; train it with that head, or leave the head out");
                }
                if (!own.equals(classes)) {
                    throw new IllegalArgumentException(who + " tells other labels apart with its head '" + head
                            + "' than the clips have: " + own.size() + " labels, the clips " + classes.size()
                            + ", or in another order; train it on clips of the same labels");
                }
            });
        }
        features.keySet().forEach(name -> {
            if (lesson.teachers().stream().noneMatch(teacher -> teacher.name().equals(name))) {
                throw new IllegalArgumentException("features of a teacher '" + name
                        + "' are to be distilled but there is none of that name; there are "
                        + lesson.teachers().stream().map(TeacherFile::name).toList());
            }
        });
    }

    private void requireCacheable(Lesson lesson) {
        if (lesson.cache() != null && recipe.maskRatio() > 0) {
            throw new IllegalArgumentException("a cache of teachers' answers needs teachers that see all of a clip but"
                    + " the mask ratio is " + recipe.maskRatio() + "; set it to 0, or train without a cache");
        }
        if (lesson.cache() != null && recipe.augment() && viewCount == 0) {
            throw new IllegalArgumentException("a cache of teachers' answers needs a number of views but clips are"
                    + " augmented anew in every epoch; give each clip some views, 4 for example, or do not augment");
        }
    }

    private Stage.Setup setUp(
            ModelConfig config,
            ModelHeads labels,
            Lesson lesson,
            Geometry sees,
            Map<String, Map<String, Double>> weights,
            RunContext context) {
        OpenModel student = OpenModel.trained(config, labels, lesson.start(), recipe.seed(), context);
        student.params().addShadows();
        Map<String, Tensor> trained = new LinkedHashMap<>();
        student.params().all().forEach((name, parameter) -> trained.put(STUDENTS + name, parameter));
        ClipSet clips = lesson.clips();
        int[] chosen = heldOut.rest(clips);
        Set<Modality> seen = new TreeSet<>(Set.of(modality));
        Path cache = lesson.cache();
        if (cache == null) {
            lesson.teachers().forEach(teacher -> seen.add(teacher.sees()));
        }
        ClipViews batches =
                new ClipViews(clips, sees, chosen, seen, labels.labels().keySet(), recipe, viewCount);
        List<Teacher> teachers = new ArrayList<>();
        List<CachedTeacher> cached = new ArrayList<>();
        try {
            for (TeacherFile file : lesson.teachers()) {
                Network network;
                if (cache == null) {
                    ModelNetwork looking =
                            OpenModel.frozen(file.file(), context).network();
                    boolean sameTokens = Objects.equals(looking.model().config().grid(), config.grid());
                    network = sameTokens ? looking : new Unmasked(looking);
                } else {
                    CachedTeacher answers = CachedTeacher.open(cache, file, clips, batches, recipe, context);
                    cached.add(answers);
                    network = answers;
                }
                teachers.add(new Teacher(file.sees(), network));
            }
            Map<String, Tensor> projectors = new LinkedHashMap<>();
            Objective objective = objective(lesson, teachers, weights, config, projectors, context);
            trained.putAll(projectors);
            return new Stage.Setup(
                    trained,
                    modality,
                    student.network(),
                    teachers,
                    List.of(new Stage.Part(cache == null ? batches : batches.with(cached), objective, PATH_STREAM)),
                    Supervised.masks(recipe),
                    MASK_STREAM);
        } catch (RuntimeException | Error e) {
            // Packed weights and open files belong to no scope.
            teachers.forEach(teacher -> teacher.network().close());
            throw e;
        }
    }

    private Objective objective(
            Lesson lesson,
            List<Teacher> teachers,
            Map<String, Map<String, Double>> weights,
            ModelConfig student,
            Map<String, Tensor> projectors,
            RunContext context) {
        List<Weighted.Term> terms = new ArrayList<>();
        if (alpha + beta > 0) {
            heads.forEach((head, weight) -> terms.add(new Weighted.Term(
                    new LogitDistillation(
                            teachers, head, temperature, alpha, beta * weight, weighting(head, lesson, weights)),
                    1.0 / heads.size(),
                    new Metric("distillation_" + head))));
        }
        if (!features.isEmpty()) {
            Params params = Params.random(context.device(), DType.F32, recipe.seed());
            List<FeatureMatch.Match> matches = new ArrayList<>();
            for (int t = 0; t < teachers.size(); t++) {
                TeacherFile file = lesson.teachers().get(t);
                Double weight = features.get(file.name());
                if (weight != null) {
                    int width = OpenModel.Description.of(file.file()).config().featureWidth();
                    Projector projector =
                            new Projector(params.at(PROJECTORS).at(file.name()), student.featureWidth(), width);
                    matches.add(new FeatureMatch.Match(teachers.get(t), projector, weight));
                }
            }
            projectors.putAll(params.all());
            terms.add(new Weighted.Term(new FeatureMatch(matches), 1, FEATURES));
        }
        return new Weighted(terms);
    }

    private Weighting weighting(String head, Lesson lesson, Map<String, Map<String, Double>> weights) {
        return switch (weighting.kind()) {
            case UNIFORM -> Weighting.uniform();
            case PER_SAMPLE -> Weighting.perSample(weighting.temperature());
            case DATASET -> {
                Map<String, Double> ofHead = weights.getOrDefault(head, Map.of());
                yield Weighting.given(lesson.teachers().stream()
                        .mapToDouble(teacher -> ofHead.getOrDefault(teacher.name(), 0.0))
                        .toArray());
            }
        };
    }

    /** A teacher that sees everything, whatever the student sees. */
    private record Unmasked(ModelNetwork network) implements Network {
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
}
