package tessera.distill.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import tessera.distill.data.ClipSet;
import tessera.distill.data.FlowStats;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.ModalityFolders;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.egosim.EgoSim;
import tessera.distill.egosim.EgoSimClips;
import tessera.distill.train.ModalityInput;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.distill.train.RunContext;
import tessera.distill.train.SelfTraining;
import tessera.nn.videomae.VideoMaeConfig;

/** {@code tessera pretrain}: the first stage, once for each modality. */
@Command(
        name = "pretrain",
        description = {
            "Train a masked autoencoder of one modality on labelled source and unlabelled target clips.",
            "Clips of your own: DIR/<modality>/<label>/<name>.npy with rgb u8 [T,H,W,3] (or a video file), flow f32"
                    + " [T,H,W,2] in pixels, pose f32 [T,h,w,21] in [0,1]; H = W and h = w. The target's label folder may"
                    + " have any name.",
            "The model ends up in DIR/model.safetensors of --out; stopped runs resume by the same command."
        })
final class Pretrain extends ToolCommand {

    private static final String SELF_TRAIN = "--self-train";

    /** EgoSim clips from which the normalisation of flow is measured. */
    private static final int STATISTICS_CLIPS = 60;

    @Mixin
    private EgoSimOptions egosim;

    @Mixin
    private SizeOptions size;

    @Mixin
    private final TrainingOptions training =
            new TrainingOptions(Pretraining.defaults(Modality.RGB).recipe());

    @Option(names = "--modality", required = true, paramLabel = "rgb|flow|pose", description = "What the model sees.")
    private Modality modality = Modality.RGB;

    @Option(names = "--source", paramLabel = "DIR", description = "Labelled source clips.")
    private @Nullable Path source;

    @Option(names = "--target", paramLabel = "DIR", description = "Unlabelled target clips.")
    private @Nullable Path target;

    @Option(
            names = "--grid",
            paramLabel = "N",
            description =
                    "Tokens per side of a picture. Default: as patches of 16 pixels give (8 below 112 pixels; for heat"
                            + " maps 4, and 2 below 28)")
    private @Nullable Integer grid;

    @Option(
            names = "--lambda",
            paramLabel = "X",
            description = "Weight of the source labels' cross-entropy. Default: " + Pretraining.RGB_LAMBDA
                    + " for rgb, " + Pretraining.OTHER_LAMBDA + " for flow and pose, 1 with --self-train")
    private @Nullable Double lambda;

    @Option(
            names = "--motion-gain",
            paramLabel = "X",
            description =
                    "Let the patch embedding learn what moves X times as readily as what stands still, where a patch has"
                            + " several frames; 4 makes rgb learn actions from random weights. Default: ${DEFAULT-VALUE}")
    private double motionGain = 1;

    @Option(
            names = "--normalise-clips",
            description =
                    "Reconstruct pixels that are normalised over each clip, in place of each patch: a small model learns that from random"
                            + " weights.")
    private boolean normaliseClips;

    @Option(
            names = "--pose-std",
            paramLabel = "X",
            description =
                    "Divide heat maps by this and take no mean away, in place of the published 0.3 and 0.3: maps are nearly all 0,"
                            + " and 0.05 lets a small model find the joints.")
    private @Nullable Double poseStd;

    @Option(names = "--tubelet", paramLabel = "N", description = "Frames of a patch. Default: ${DEFAULT-VALUE}")
    private int tubelet = ModalityInput.TUBELET;

    @Option(
            names = "--no-target-reconstruction",
            description = "Leave the target clips out of the loss, as in the ablation S+CE.")
    private boolean noTarget;

    @Option(
            names = "--start",
            paramLabel = "FILE",
            description =
                    "Weights to start from: safetensors of any public VideoMAE, of shards their index. Flow and pose take all but the input"
                            + " and output layers.")
    private @Nullable Path start;

    @Option(
            names = SELF_TRAIN,
            paramLabel = "MODEL",
            description =
                    "Self-training (STARTUP, 2021): learn the class probabilities that MODEL, a finished pretraining on the same"
                            + " source, gives target clips, beside the source's labels (lambda 1) and the target's"
                            + " reconstruction; begins with MODEL's weights.")
    private @Nullable Path selfTrain;

    @Option(names = "--self-train-weight", paramLabel = "X", description = "Weight of those probabilities. Default: 1")
    private @Nullable Double selfTrainWeight;

    @Override
    void run() {
        training.check();
        egosim.check(given());
        Pretraining stage = stage();
        Clips.requireStart(start);
        checkSelfTraining();
        if (selfTrain == null) {
            stage.requireSettings(training.out());
        } else {
            new SelfTraining(stage, softLabels()).requireSettings(training.out());
        }
        RunContext context = training.context();
        Path model = egosim.wanted() ? onEgoSim(stage, context) : onFolders(stage, context);
        print(new Answer(model, stage.recipe().steps()), out -> out.println(model));
    }

    private record Answer(Path model, long steps) {}

    private Pretraining stage() {
        if (!Modality.ALL.contains(modality)) {
            throw new IllegalArgumentException("--modality is " + modality
                    + " but masked autoencoders are trained on rgb, flow or pose; pass one of these, or use train");
        }
        Pretraining standard = Pretraining.defaults(modality);
        double published = selfTrain == null ? standard.lambda() : 1;
        double weight = lambda == null ? published : lambda;
        if (!(weight >= 0) || Double.isInfinite(weight)) {
            throw new IllegalArgumentException("--lambda is " + weight + "; pass 0 or more");
        }
        if (!(motionGain > 0) || Double.isInfinite(motionGain)) {
            throw new IllegalArgumentException(
                    "--motion-gain is " + motionGain + "; pass a positive factor such as 4, or 1 to learn in pixels");
        }
        if (poseStd != null && !modality.equals(Modality.POSE)) {
            throw new IllegalArgumentException("--pose-std is for heat maps but --modality is " + modality
                    + "; leave it away, or pass --modality pose");
        }
        if (poseStd != null && (!(poseStd > 0) || Double.isInfinite(poseStd))) {
            throw new IllegalArgumentException("--pose-std is " + poseStd + "; pass a positive number such as 0.05");
        }
        return new Pretraining(
                modality, !noTarget, weight, standard.dropout(), motionGain, normaliseClips, training.recipe());
    }

    private void checkSelfTraining() {
        Double weight = selfTrainWeight;
        if (selfTrain == null) {
            if (weight != null) {
                throw new IllegalArgumentException("--self-train-weight is " + weight
                        + " but there is nothing to learn from; pass --self-train MODEL too");
            }
            return;
        }
        if (weight != null && (!(weight >= 0) || weight.isInfinite())) {
            throw new IllegalArgumentException("--self-train-weight is " + weight + "; pass 0 or more");
        }
        if (start != null) {
            throw new IllegalArgumentException(
                    "--self-train begins with its model's weights and --start names others; leave one of them away");
        }
        Clips.requireStart(SELF_TRAIN, selfTrain);
    }

    private double softLabels() {
        return selfTrainWeight == null ? 1 : selfTrainWeight;
    }

    private Path onEgoSim(Pretraining stage, RunContext context) {
        if (source != null || target != null) {
            throw new IllegalArgumentException(
                    "--egosim and --source or --target exclude each other; pass one of them");
        }
        EgoSim sim = egosim.sim(Geometry.SMALL);
        Set<Modality> modalities = Set.of(modality);
        FlowStats stats = modality.equals(Modality.FLOW)
                ? EgoSimClips.flowStats(sim, Split.SOURCE_TRAIN, Domain.SOURCE, STATISTICS_CLIPS)
                : FlowStats.NONE;
        VideoMaeConfig config = config(sim.geometry(), stats);
        try (ClipSet labelled = egosim.render(sim, Split.SOURCE_TRAIN, List.of(Domain.SOURCE), modalities, context);
                ClipSet unlabelled =
                        egosim.render(sim, Split.TARGET_UNLABELLED, egosim.domains(), modalities, context)) {
            return train(stage, config, labelled, unlabelled, context);
        }
    }

    private Path onFolders(Pretraining stage, RunContext context) {
        Path from = source;
        Path to = target;
        if (from == null || to == null) {
            throw new IllegalArgumentException(
                    from == null && to == null
                            ? "pretrain needs clips: pass --source DIR and --target DIR, or --egosim for the built-in"
                                    + " benchmark"
                            : from == null
                                    ? "--target " + to + " is given without --source; pass --source DIR with labelled"
                                            + " clips too, or use `adapt` to learn from unlabelled clips alone"
                                    : "--source " + from
                                            + " is given without --target; pass --target DIR with unlabelled"
                                            + " clips too, which may be the same folder");
        }
        Set<Modality> modalities = Set.of(modality);
        ModalityFolders labelled = egosim.folders().open(from, modalities, null, training.reading());
        ModalityFolders unlabelled = egosim.folders().open(to, modalities, labelled.geometry(), training.reading());
        VideoMaeConfig config =
                config(labelled.geometry(), modality.equals(Modality.FLOW) ? labelled.flowStats() : FlowStats.NONE);
        try (ClipSet sourceClips = Clips.forTraining(labelled, "load source", context);
                ClipSet targetClips = Clips.forTraining(unlabelled, "load target", context)) {
            return train(stage, config, sourceClips, targetClips, context);
        }
    }

    private Path train(
            Pretraining stage, VideoMaeConfig config, ClipSet labelled, ClipSet unlabelled, RunContext context) {
        Map<String, String> origin = new LinkedHashMap<>();
        origin.put("tessera.source", labelled.checksum());
        origin.put("tessera.target", unlabelled.checksum());
        egosim.note(origin);
        if (start != null) {
            origin.put("tessera.start", Clips.checksum(start));
        }
        if (selfTrain != null) {
            origin.put("tessera.teacher", Clips.checksum(selfTrain));
            return new SelfTraining(stage, softLabels())
                    .run(config, labelled, unlabelled, selfTrain, training.out(), context.startingFrom(origin));
        }
        return stage.run(config, labelled, unlabelled, start, training.out(), context.startingFrom(origin));
    }

    private VideoMaeConfig config(Geometry geometry, FlowStats stats) {
        int cells = grid == null ? Clips.cells(modality, geometry) : grid;
        ModelSize sizes = size.size();
        ModalityInput input =
                UsageErrors.naming(() -> new ModalityInput(geometry, cells, tubelet, stats), "--grid", "--tubelet");
        VideoMaeConfig config = UsageErrors.naming(() -> input.config(modality, sizes), SizeOptions.NUMBERS);
        Path from = start == null ? selfTrain : start;
        config = from == null ? config : Clips.asWideAs(config, from);
        return poseStd == null ? config : config.withNormalisation(0, poseStd);
    }
}
