package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.train.Distillation;
import tessera.distill.train.Pretraining;
import tessera.distill.train.RunContext;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.videomae.VideoMaeConfig;

/** {@code tessera distill}: the second stage, teachers into an RGB student. */
@Command(
        name = "distill",
        description = {
            "Teach an RGB student to predict the features of frozen teachers on unlabelled target clips.",
            "The student starts from the rgb teacher and ends up in DIR/student.safetensors of --out; stopped runs"
                    + " resume by the same command. The layout of clips of your own is that of pretrain."
        })
final class Distill extends ToolCommand {

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
            paramLabel = "MODALITY=FILE",
            description =
                    "For example rgb=runs/rgb,flow=runs/flow,pose=runs/pose: folders of pretrain, or model files.")
    private Map<Modality, Path> teachers = Map.of();

    @Option(names = "--target", paramLabel = "DIR", description = "Unlabelled target clips.")
    private @Nullable Path target;

    @Option(
            names = "--weights",
            split = ",",
            paramLabel = "MODALITY=X",
            description = "Weight of each teacher's loss, for example rgb=1,flow=0.5. Default: 1 for every teacher")
    private @Nullable Map<Modality, Double> weights;

    @Override
    void run() {
        training.check();
        egosim.check();
        Map<Modality, Path> files = teacherFiles();
        Map<Modality, VideoMaeConfig> configs = new TreeMap<>();
        files.forEach((modality, file) -> configs.put(modality, config(modality, file)));
        Distillation stage = stage(files);
        RunContext context = training.context();
        Path student;
        try (ClipSet clips = egosim.clips(
                SOURCE, target, "load target", geometry(configs), Split.TARGET_UNLABELLED, files.keySet(), context)) {
            Map<String, String> origin = new LinkedHashMap<>();
            origin.put("tessera.target", clips.checksum());
            files.forEach((modality, file) -> origin.put("tessera.teacher." + modality, Clips.checksum(file)));
            student = stage.run(files, clips, training.out(), context.startingFrom(origin));
        }
        print(new Answer(student, stage.recipe().steps()), out -> out.println(student));
    }

    private record Answer(Path student, long steps) {}

    private Map<Modality, Path> teacherFiles() {
        Map<Modality, Path> files = new TreeMap<>();
        teachers.forEach((modality, path) -> {
            Path file = Files.isDirectory(path) ? path.resolve(Pretraining.MODEL) : path;
            if (!Files.isRegularFile(file)) {
                throw new IllegalArgumentException("the " + modality + " teacher " + file
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
                throw new IllegalArgumentException("the " + modality + " teacher has " + config.slots() + " x "
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
