package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParseResult;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.train.Distillation;
import tessera.distill.train.Ensemble;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.Supervised;
import tessera.distill.train.TeacherFile;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.Int8Layers;
import tessera.nn.ModelConfig;
import tessera.nn.inference.Head;
import tessera.nn.videomae.VideoMaeConfig;

/** {@code tessera distill}: teachers into an RGB student, by their features alone (MM-CDFSL) or by their class scores. */
@Command(
        name = "distill",
        description = {
            "Teach an RGB student to predict the features of frozen teachers on unlabelled target clips.",
            "The student starts from the rgb teacher and ends up in DIR/student.safetensors of --out; stopped runs"
                    + " resume by the same command. The layout of clips of your own is that of pretrain.",
            "With --heads, --alpha or another option of class scores, it learns these from an ensemble of teachers that"
                    + " train made, on labelled --clips, and may be of any architecture; its learning rate is then 0.0001 and"
                    + " no token is masked, unless you say otherwise."
        })
final class Distill extends ToolCommand {

    /** The mixins of what only class scores need. */
    private static final List<String> SCORES = List.of("ensemble", "labelled", "model");

    private static final String SOURCE = "distill needs clips: pass either --target DIR";

    @Mixin
    private EgoSimOptions egosim;

    @Mixin
    private final TrainingOptions training =
            new TrainingOptions(Distillation.defaults().recipe());

    @Option(
            names = "--teachers",
            required = true,
            split = ",",
            paramLabel = "[NAME:]MODALITY=FILE",
            description =
                    "For example rgb=runs/rgb,flow=runs/flow,pose=runs/pose: folders of pretrain (for class scores, of train"
                            + " or distill), or model files. For class scores there may be several of one modality, each with a name of"
                            + " its own: small:rgb=runs/small,large:rgb=runs/large.")
    private List<NamedTeacher> teachers = List.of();

    @Option(names = "--target", paramLabel = "DIR", description = "Unlabelled target clips.")
    private @Nullable Path target;

    @Option(
            names = "--weights",
            split = ",",
            paramLabel = "MODALITY=X",
            description = "Weight of each teacher's loss, for example rgb=1,flow=0.5. Default: 1 for every teacher")
    private @Nullable Map<Modality, Double> weights;

    @Mixin
    private EnsembleOptions ensemble;

    @Mixin
    private LabelledOptions labelled;

    @Mixin
    private ModelOptions model;

    @Override
    void run() {
        training.check();
        egosim.check(given(), ensemble.heldOut());
        teachers = NamedTeacher.ordered(teachers);
        if (EnsembleOptions.asking(given()).isPresent()) {
            learnScores();
        } else {
            learnFeatures();
        }
    }

    /** Refuses what would be ignored. */
    private void requireNoneOfScores() {
        ParseResult given = given();
        SCORES.stream()
                .flatMap(mixin -> Objects.requireNonNull(spec().mixins().get(mixin), mixin).options().stream())
                .filter(given::hasMatchedOption)
                .findFirst()
                .ifPresent(option -> {
                    throw new IllegalArgumentException(option.longestName() + " is for learning from class scores but"
                            + " nothing asks for that, so features alone are distilled; add --heads action (or other heads)"
                            + " and labelled --clips, or leave " + option.longestName() + " away");
                });
    }

    private void learnFeatures() {
        requireNoneOfScores();
        Map<Modality, Path> files = teacherFiles();
        Map<Modality, VideoMaeConfig> configs = new TreeMap<>();
        files.forEach((modality, file) -> configs.put(modality, config(modality, file)));
        Distillation stage = stage(files);
        stage.requireSettings(training.out());
        RunContext context = training.context();
        Path student;
        try (ClipSet clips = egosim.clips(
                SOURCE,
                target,
                "load target",
                geometry(configs),
                Split.TARGET_UNLABELLED,
                files.keySet(),
                training.reading(),
                context)) {
            Map<String, String> origin = new LinkedHashMap<>();
            origin.put("tessera.target", clips.checksum());
            egosim.note(origin);
            files.forEach((modality, file) -> origin.put("tessera.teacher." + modality, Clips.checksum(file)));
            student = stage.run(files, clips, training.out(), context.startingFrom(origin));
        }
        print(new Answer(student, stage.recipe().steps()), out -> out.println(student));
    }

    private record Answer(Path student, long steps) {}

    private void learnScores() {
        if (target != null || weights != null) {
            throw new IllegalArgumentException((target != null ? "--target" : "--weights")
                    + " is for distilling features alone but "
                    + EnsembleOptions.asking(given()).orElseThrow()
                    + " asks for class scores; leave one of them away, or pass labelled --clips, and --features where"
                    + " features are distilled too");
        }
        Ensemble published = Ensemble.defaults();
        Recipe recipe = training.recipe(
                labelled.seen(published.recipe().withDropPath(model.dropPath(published.modality()))), given());
        Ensemble stage = ensemble.stage(labelled, recipe);
        ensemble.check(given(), stage, teachers);
        labelled.check(given(), training.isAugmented(), stage.modality());
        model.check(given(), stage.modality());
        stage.requireSettings(training.out());
        RunContext context = training.context();
        List<TeacherFile> files = new ArrayList<>();
        Set<Modality> seen = new TreeSet<>(Set.of(stage.modality()));
        teachers.forEach(teacher -> {
            files.add(new TeacherFile(teacher.name(), teacher.modality(), finished(teacher)));
            seen.add(teacher.modality());
        });
        Path start = labelled.start();
        try (LabelledOptions.Loaded loaded = labelled.load(
                        "distill", egosim, seen, training.reading(), model.fits(stage.modality()), context);
                ClipSet heldOut = heldOut(loaded.clips(), seen, context)) {
            labelled.requireUnseen(loaded.clips());
            Map<String, String> origin = new LinkedHashMap<>();
            origin.put(LabelledOptions.CLIPS, loaded.clips().checksum());
            egosim.note(origin);
            files.forEach(teacher -> origin.put("tessera.teacher." + teacher.name(), Clips.checksum(teacher.file())));
            if (start != null) {
                origin.put("tessera.start", Clips.checksum(start));
            }
            if (heldOut != null) {
                origin.put("tessera.heldOut", heldOut.checksum());
            }
            Ensemble.Lesson lesson = new Ensemble.Lesson(files, loaded.clips(), heldOut, start, ensemble.cache());
            ModelConfig config =
                    Clips.asWide(model.config(stage.modality(), loaded.clips().geometry(), loaded.flow()), start);
            Path student = stage.run(config, lesson, training.out(), context.startingFrom(origin));
            Map<String, Object> answer = new LinkedHashMap<>();
            answer.put("student", student);
            answer.put("steps", recipe.steps());
            answer.put("alpha", stage.alpha());
            answer.put("beta", stage.beta());
            answer.put("temperature", stage.temperature());
            answer.put("weighting", stage.weighting().kind());
            print(answer, out -> {
                out.println(student);
                out.printf(
                        "alpha %s, beta %s, T %s, weighting %s%n",
                        stage.alpha(),
                        stage.beta(),
                        stage.temperature(),
                        stage.weighting().kind());
            });
        }
    }

    private @Nullable ClipSet heldOut(ClipSet clips, Set<Modality> seen, RunContext context) {
        Path folder = ensemble.heldOut();
        return folder == null
                ? null
                : Clips.forTraining(
                        egosim.folders().open(folder, seen, clips.geometry(), training.reading()),
                        "load held-out",
                        context);
    }

    private static Path finished(NamedTeacher teacher) {
        Path file = teacher.path();
        if (Files.isDirectory(file)) {
            Path model = file.resolve(Supervised.MODEL);
            file = Files.exists(model) ? model : file.resolve(Ensemble.STUDENT);
        }
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException("--teachers: the " + teacher.name() + " teacher " + file
                    + " is no file; pass a finished folder of train or distill, or its safetensors file");
        }
        return file;
    }

    private Map<Modality, Path> teacherFiles() {
        Map<Modality, Path> files = new TreeMap<>();
        teachers.forEach(teacher -> {
            Modality modality = teacher.modality();
            if (!teacher.name().equals(modality.id())) {
                throw new IllegalArgumentException("--teachers names '" + teacher.name() + ":" + modality
                        + "' but where features alone are distilled there is one teacher of each modality; write "
                        + modality + "=" + teacher.path() + ", or learn class scores by --heads and --clips");
            }
            Path path = teacher.path();
            Path file = Files.isDirectory(path) ? path.resolve(Pretraining.MODEL) : path;
            if (!Files.isRegularFile(file)) {
                throw new IllegalArgumentException("--teachers: the " + modality + " teacher " + file
                        + " is no file; pass a finished folder of pretrain, or its " + Pretraining.MODEL);
            }
            files.put(modality, file);
        });
        if (!files.containsKey(Modality.RGB)) {
            throw new IllegalArgumentException(
                    "--teachers names no rgb teacher, from which the student starts; add rgb=FILE");
        }
        return files;
    }

    private static VideoMaeConfig config(Modality modality, Path file) {
        VideoMaeConfig config;
        try (Checkpoint checkpoint = Checkpoint.read(file)) {
            if (Int8Layers.isInt8(checkpoint.metadata())) {
                throw new CheckpointException(Int8Layers.NOT_TRAINED);
            }
            Head.requireModel(checkpoint.tensors().keySet());
            config = VideoMaeConfig.fromMetadata(checkpoint.metadata());
        } catch (CheckpointException e) {
            throw new CheckpointException(file + ": " + e.getMessage());
        }
        if (!Clips.modality(config.input(), file).equals(modality)) {
            throw new IllegalArgumentException(file + " is a model of " + Clips.modality(config.input(), file)
                    + ", not of " + modality + "; name each teacher's own modality");
        }
        return config;
    }

    /** The clips that all teachers take. */
    private static Geometry geometry(Map<Modality, VideoMaeConfig> configs) {
        VideoMaeConfig rgb = configs.get(Modality.RGB);
        VideoMaeConfig pose = configs.get(Modality.POSE);
        if (rgb == null) {
            throw new IllegalStateException("no rgb teacher");
        }
        configs.forEach((modality, config) -> {
            boolean fits = config.frames() == rgb.frames()
                    && config.slots() == rgb.slots()
                    && config.plane() == rgb.plane()
                    && config.embedDim() == rgb.embedDim();
            if (!fits || (modality.equals(Modality.FLOW) && config.height() != rgb.height())) {
                throw new IllegalArgumentException("--teachers: the " + modality + " teacher has " + config.slots()
                        + " x "
                        + config.plane() + " tokens of width " + config.embedDim() + ", the rgb teacher " + rgb.slots()
                        + " x " + rgb.plane() + " of width " + rgb.embedDim()
                        + "; all need one grid and width, so pretrain them with the same sizes");
            }
        });
        Geometry plain = Clips.geometry(rgb.frames(), rgb.height(), Modality.RGB);
        return pose == null ? plain : new Geometry(plain.frames(), plain.size(), pose.height());
    }

    private Distillation stage(Map<Modality, Path> files) {
        Map<Modality, Double> each = new TreeMap<>();
        files.keySet().forEach(modality -> each.put(modality, 1.0));
        if (weights != null) {
            weights.forEach((modality, weight) -> {
                if (!each.containsKey(modality) || !(weight >= 0) || weight.isInfinite()) {
                    throw new IllegalArgumentException("--weights gives " + modality + "=" + weight
                            + "; give each of the --teachers a number of 0 or more");
                }
                each.put(modality, weight);
            });
        }
        return Distillation.defaults().withWeights(each).withRecipe(training.recipe());
    }
}
