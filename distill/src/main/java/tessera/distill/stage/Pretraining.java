package tessera.distill.stage;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
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
import tessera.nn.Schedule;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaeNames;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The first stage of MM-CDFSL (ECCV 2024): one masked autoencoder per modality, trained on labelled source clips and
 * unlabelled target clips with {@code L = reconstruction(source) + reconstruction(target) + lambda CE(source)}.
 *
 * <p>Source and target clip of a pair share one tube mask. The model ends up in {@code model.safetensors} of the run's
 * folder.
 */
public final class Pretraining {
    /** Name of the finished model in a run's folder. */
    public static final String MODEL = "model.safetensors";

    private static final long MASK_STREAM = 1L << 40;
    private static final long DROPOUT_STREAM = 2L << 40;
    private static final long SOURCE_PATH_STREAM = 4L << 40;
    private static final long TARGET_PATH_STREAM = 5L << 40;

    private Pretraining() {}

    /**
     * How to train.
     *
     * @param targetReconstruction whether target clips are reconstructed too; without, this is the ablation S + CE
     * @param lambda weight of the cross-entropy
     * @param dropout of the classifier's feature, .5 in the paper
     * @param maskRatio share of masked tokens, .9 in the paper
     * @param batch pairs of clips per step
     * @param lr highest learning rate
     * @param warmupSteps steps until then
     * @param period steps of the cosine from the highest to the lowest rate
     * @param weightDecay of matrices
     * @param clipNorm largest norm of all gradients together, 0 for any
     * @param dropPath stochastic depth's rate in the encoder's last block, 0 in the paper
     */
    public record Settings(
            Modality modality,
            boolean targetReconstruction,
            double lambda,
            double dropout,
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

        /** The same settings with another seed. */
        public Settings withSeed(long other) {
            return new Settings(
                    modality,
                    targetReconstruction,
                    lambda,
                    dropout,
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
            text.put("tessera.stage", "pretrain " + this);
            return text;
        }
    }

    /**
     * Trains, or resumes, or returns at once if the folder holds the finished model of the same settings.
     *
     * @param start weights to start from (names of any public VideoMAE code), or null; the patch embedding and the
     *     decoder's head start afresh for flow and pose
     * @return the file with the finished model
     */
    public static Path run(
            Settings settings,
            VideoMaeConfig config,
            ClipSet source,
            ClipSet target,
            @Nullable Path start,
            Path folder,
            RunContext context) {
        Path finished = folder.resolve(MODEL);
        Map<String, String> text = Stages.settings(settings.asText(config), context);
        if (Stages.isFinished(finished, text)) {
            return finished;
        }
        try (Scope scope = Scope.open()) {
            Params params = parameters(settings, start, context.device()).computeIn(context.compute());
            try (VideoMaePretraining model = new VideoMaePretraining(
                            params, config, source.classes().size());
                    AdamW optimiser = new AdamW(
                            params.all(), .9, .95, 1e-8, settings.weightDecay(), AdamW.matrices(params.all()))) {
                Stages.clip(optimiser, settings.clipNorm());
                finish(params, start);
                params.addShadows();
                Schedule schedule = Schedule.cosine(
                        settings.lr(),
                        settings.minLr(),
                        settings.warmupLr(),
                        settings.warmupSteps(),
                        settings.period());
                EpochOrder sourceOrder = new EpochOrder(source.size(), settings.seed());
                EpochOrder targetOrder = new EpochOrder(target.size(), settings.seed() + 1);
                String title = "pretrain " + settings.modality().name().toLowerCase(Locale.ROOT);
                new Trainer(
                                context.device(),
                                folder,
                                params.all(),
                                optimiser,
                                schedule,
                                settings.steps(),
                                text,
                                context.stop())
                        .run(
                                step -> data(
                                        context.device(), settings, source, sourceOrder, target, targetOrder, step),
                                (data, step) -> losses(settings, model, data, step),
                                (first, total) -> context.progress(title, "step", first, total));
            }
            Checkpoint.write(finished, params.all(), text);
            Stages.deleteCheckpoint(folder);
            return finished;
        }
    }

    private static Params parameters(Settings settings, @Nullable Path start, Device device) {
        if (start == null) {
            return Params.random(device, DType.F32, settings.seed());
        }
        try (Checkpoint checkpoint = Checkpoint.read(start)) {
            Map<String, Tensor> weights = new LinkedHashMap<>();
            VideoMaeNames.translate(checkpoint.tensors()).forEach((name, tensor) -> {
                Tensor copy = Tensor.empty(tensor.device(), tensor.dtype(), tensor.shape());
                copy.copyFrom(tensor);
                weights.put(name, copy);
            });
            boolean rgb = settings.modality() == Modality.RGB;
            return Params.from(
                    device,
                    DType.F32,
                    weights,
                    settings.seed(),
                    name -> name.startsWith("fc_norm")
                            || name.startsWith("head_action")
                            || (!rgb && (name.startsWith("encoder.patch_embed") || name.startsWith("decoder.head"))));
        }
    }

    private static void finish(Params params, @Nullable Path start) {
        try {
            params.finish(name -> start != null);
        } catch (CheckpointException e) {
            throw new CheckpointException(start + ": " + e.getMessage());
        }
    }

    /** Source clips, their labels and, unless the target is left out, target clips. */
    private static List<Tensor> data(
            Device device,
            Settings settings,
            ClipSet source,
            EpochOrder sourceOrder,
            ClipSet target,
            EpochOrder targetOrder,
            long step) {
        List<Tensor> data = new ArrayList<>();
        data.add(batch(device, settings, source, sourceOrder, step, 0));
        data.add(Stages.labels(source, sourceOrder.batch(step, settings.batch())));
        if (settings.targetReconstruction()) {
            data.add(batch(device, settings, target, targetOrder, step, 1));
        }
        return data;
    }

    private static Tensor batch(
            Device device, Settings settings, ClipSet clips, EpochOrder order, long step, int which) {
        Tensor batch = clips.batch(Stages.host(device), settings.modality(), order.batch(step, settings.batch()));
        if (settings.augment() && settings.modality() == Modality.RGB) {
            Stages.augment(batch, settings.seed() + which, step);
        }
        return batch;
    }

    private static Map<String, Tensor> losses(
            Settings settings, VideoMaePretraining model, List<Tensor> data, long step) {
        Tensor source = data.get(0);
        VideoMaeConfig config = model.config();
        TokenMask mask = TokenMask.tubes(
                source.device(),
                settings.batch(),
                config.slots(),
                config.plane(),
                settings.maskRatio(),
                settings.seed(),
                MASK_STREAM + step);
        Map<String, Tensor> losses = new LinkedHashMap<>();
        Tensor features = model.encode(
                source, mask, new DropPath(settings.dropPath(), settings.seed(), SOURCE_PATH_STREAM + step));
        Tensor sourceLoss = model.reconstructionLoss(model.reconstruct(features, mask), source, mask);
        Tensor logits = model.classify(features, settings.dropout(), settings.seed(), DROPOUT_STREAM + step);
        Tensor crossEntropy = Losses.crossEntropy(logits, data.get(1));
        Tensor loss = sourceLoss.add(crossEntropy.mul(settings.lambda()));
        loss.backward();
        losses.put("reconstruction_source", sourceLoss);
        losses.put("cross_entropy", crossEntropy);
        Tensor total = loss.detach();
        if (data.size() > 2) {
            // Gradients accumulate, so the two halves of the sum need not be in memory together.
            Tensor target = data.get(2);
            Tensor targetFeatures = model.encode(
                    target, mask, new DropPath(settings.dropPath(), settings.seed(), TARGET_PATH_STREAM + step));
            Tensor targetLoss = model.reconstructionLoss(model.reconstruct(targetFeatures, mask), target, mask);
            targetLoss.backward();
            losses.put("reconstruction_target", targetLoss);
            total = total.add(targetLoss.detach());
        }
        losses.put("loss", total);
        return losses;
    }
}
