package tessera.distill.fewshot;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Modality;
import tessera.distill.train.ClipBatches;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Architecture;
import tessera.nn.Checkpoint;
import tessera.nn.CheckpointException;
import tessera.nn.DropPath;
import tessera.nn.Int8Layers;
import tessera.nn.MaskContext;
import tessera.nn.Params;
import tessera.nn.Schedule;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * The whole student learns from the support clips of each episode: the fine-tuned VideoMAE that MM-CDFSL (ECCV 2024) compares with. A
 * linear head that starts at 0 on the student's own feature, and all weights, each episode from the student's again, by AdamW with the
 * cross-entropy. As VideoMAE (NeurIPS 2022) is fine-tuned: betas .9 and .999, matrices alone decay, a tenth of the steps to warm up, then a
 * cosine to 0, and rates that fall from layer to layer towards the input. Its stochastic depth, mixup, erasing and smoothed labels are left
 * out, which are for many epochs of many clips.
 *
 * @param steps of an episode
 * @param batch most clips of a step; with fewer than the support has, each clip is seen once in an epoch
 * @param rate the highest learning rate, that of the head
 * @param layerDecay of the rate from each block to the one below it; models whose blocks are not one after the other have one rate
 * @param weightDecay of matrices
 * @param augment whether rgb clips are cropped and flipped at random in every step
 * @param seed with the number of the episode determines masks, order and augmentation
 */
public record FineTuning(
        int steps, int batch, double rate, double layerDecay, double weightDecay, boolean augment, long seed) {
    /** Keeps the draws of one episode apart from those of the next. */
    private static final int EPISODE_SHIFT = 20;

    private static final Pattern BLOCK = Pattern.compile("(?:encoder\\.)?blocks\\.(\\d+)\\..*");
    private static final Pattern EMBEDDING = Pattern.compile("(?:encoder\\.)?patch_embed\\..*");

    public FineTuning {
        if (steps < 1 || steps >= 1 << EPISODE_SHIFT || batch < 1) {
            throw new IllegalArgumentException("fine_tuning: " + steps + " steps of " + batch
                    + " clips; pass 1 or more of each, and less than a million steps");
        }
        if (!(rate > 0) || !(layerDecay > 0 && layerDecay <= 1) || !(weightDecay >= 0)) {
            throw new IllegalArgumentException("fine_tuning: a rate of " + rate + ", a layer decay of " + layerDecay
                    + " and a weight decay of " + weightDecay
                    + "; pass a positive rate, a layer decay over 0 and up to 1, and a weight decay of 0 or more");
        }
    }

    /** 50 steps of up to 25 clips at a rate of 1e-3, VideoMAE's layer decay .75 and weight decay .05, without augmentation. */
    public static FineTuning defaults() {
        return new FineTuning(50, 25, 1e-3, .75, .05, false, 1);
    }

    /** The same with another number of steps. */
    public FineTuning withSteps(int other) {
        return new FineTuning(other, batch, rate, layerDecay, weightDecay, augment, seed);
    }

    /** The same with another rate. */
    public FineTuning withRate(double other) {
        return new FineTuning(steps, batch, other, layerDecay, weightDecay, augment, seed);
    }

    /** The same with or without augmentation. */
    public FineTuning withAugment(boolean wanted) {
        return new FineTuning(steps, batch, rate, layerDecay, weightDecay, wanted, seed);
    }

    /** The same with another seed. */
    public FineTuning withSeed(long other) {
        return new FineTuning(steps, batch, rate, layerDecay, weightDecay, augment, other);
    }

    /**
     * Opens a student that is tuned to episodes.
     *
     * @param student its file, of any architecture; heads in it do not matter
     * @param clips stay the caller's
     * @param modality that the student sees
     * @param masking through which queries are seen; every step of training has a mask of its own, of the same ratio and strategy, and
     *     computes all tokens that it shows, whatever the reduction
     * @param compute f32, or bf16 where the device has it
     * @return to be closed by the caller
     * @throws IllegalArgumentException if the file is no student in f32
     */
    public Episodes open(
            Path student, ClipSet clips, Modality modality, Masking masking, Device device, DType compute) {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(student)) {
            Map<String, String> metadata = checkpoint.metadata();
            if (Int8Layers.isInt8(metadata)) {
                throw new CheckpointException(Int8Layers.NOT_TRAINED);
            }
            Architecture architecture = Architecture.of(metadata);
            Map<String, Tensor> weights = new LinkedHashMap<>(checkpoint.select(architecture::keeps));
            return checkpoint.explaining(() -> Scope.outside(() -> {
                Params params = Params.from(device, DType.F32, weights).computeIn(compute);
                VideoModel model = architecture.build(params, metadata);
                params.finish();
                params.addShadows();
                return new Episodes(this, model, params.all(), clips, modality, masking, device, compute);
            }));
        } catch (CheckpointException e) {
            throw new CheckpointException(student + ": " + e.getMessage());
        }
    }

    /** A student that is tuned to one episode after the other. It owns its weights and a copy of them; not thread-safe. */
    public static final class Episodes implements FewShotEvaluation.Learner, AutoCloseable {
        private final FineTuning how;
        private final VideoModel model;
        private final Map<String, Tensor> weights;
        /** As they are in the file. */
        private final Map<String, Tensor> untuned = new LinkedHashMap<>();
        /** Weights of one rate each, by how often the rate has decayed. */
        private final Map<Integer, Map<String, Tensor>> layers;

        private final ClipSet clips;
        private final Modality modality;
        private final Masking masking;
        private final Device device;
        private final Device host;
        private final DType compute;

        private Episodes(
                FineTuning how,
                VideoModel model,
                Map<String, Tensor> weights,
                ClipSet clips,
                Modality modality,
                Masking masking,
                Device device,
                DType compute) {
            this.how = how;
            this.model = model;
            this.weights = weights;
            this.layers = layers(weights);
            this.clips = clips;
            this.modality = modality;
            this.masking = masking;
            this.device = device;
            this.host = device.isHost() ? device : Device.cpu();
            this.compute = compute;
            weights.forEach((name, weight) -> {
                Tensor copy = Tensor.empty(device, DType.F32, weight.shape());
                copy.copyFrom(weight);
                untuned.put(name, copy);
            });
        }

        static Map<Integer, Map<String, Tensor>> layers(Map<String, Tensor> weights) {
            int depth =
                    weights.keySet().stream().mapToInt(Episodes::block).max().orElse(-1) + 1;
            Map<Integer, Map<String, Tensor>> layers = new TreeMap<>();
            weights.forEach((name, weight) -> {
                int block = block(name);
                int decays =
                        block >= 0 ? depth - block : EMBEDDING.matcher(name).matches() && depth > 0 ? depth + 1 : 0;
                layers.computeIfAbsent(decays, d -> new LinkedHashMap<>()).put(name, weight);
            });
            return layers;
        }

        /** The number of a weight's block, or -1. */
        private static int block(String name) {
            Matcher matcher = BLOCK.matcher(name);
            return matcher.matches() ? Integer.parseInt(matcher.group(1)) : -1;
        }

        /** What the student says of the queries once it was tuned; support clips are never held out. */
        @Override
        public FewShotEvaluation.Answers learn(int number, Episode episode) {
            try (Scope scope = Scope.open()) {
                LinearClassifier head = tune(number, episode);
                Episode queries = new Episode(
                        episode.classes(), new int[0], new int[0], episode.queries(), episode.queryLabels());
                try (Student tuned = Student.of(weights, model.config(), device, compute)) {
                    FewShotEvaluation.Views seen =
                            new RedrawnMasks(tuned, clips, modality, masking, 1, how.seed).see(number, queries);
                    return new FewShotEvaluation.Answers(
                            FewShotEvaluation.answers(head, seen.queries()), () -> new double[0][][]);
                }
            }
        }

        /** Tunes the weights, and returns the head. */
        private LinearClassifier tune(int number, Episode episode) {
            untuned.forEach((name, weight) -> weight(name).copyFrom(weight));
            int ways = episode.ways();
            int width = model.config().featureWidth();
            Tensor matrix =
                    Tensor.full(device, DType.F32, Shape.of(ways, width), 0).requiresGrad(true);
            Tensor bias = Tensor.full(device, DType.F32, Shape.of(ways), 0).requiresGrad(true);
            Map<Integer, AdamW> optimisers = new TreeMap<>();
            layers.forEach((decays, some) -> {
                Map<String, Tensor> own = new LinkedHashMap<>(some);
                if (decays == 0) {
                    own.put("head.weight", matrix);
                    own.put("head.bias", bias);
                }
                optimisers.put(decays, new AdamW(own, .9, .999, 1e-8, how.weightDecay, AdamW.matrices(own)));
            });
            Schedule schedule = Schedule.cosine(how.rate, 0, 0, how.steps / 10, how.steps - how.steps / 10);
            EpochOrder order = new EpochOrder(episode.support().length, how.seed + number);
            int batch = Math.min(how.batch, episode.support().length);
            try {
                for (int step = 0; step < how.steps; step++) {
                    try (Scope scope = Scope.open()) {
                        int[] places = order.batch(step, batch);
                        loss(number, step, places, episode, matrix, bias).backward();
                    }
                    double rate = schedule.at(step);
                    optimisers.forEach((decays, optimiser) -> optimiser.step(rate * Math.pow(how.layerDecay, decays)));
                }
            } finally {
                optimisers.values().forEach(AdamW::close);
            }
            return classifier(matrix.toDoubles(), bias.toDoubles());
        }

        private Tensor weight(String name) {
            Tensor weight = weights.get(name);
            if (weight == null) {
                throw new IllegalStateException("no weight " + name);
            }
            return weight;
        }

        private Tensor loss(int number, int step, int[] places, Episode episode, Tensor matrix, Tensor bias) {
            long draws = ((long) number << EPISODE_SHIFT) + step + 1;
            int[] chosen = IntStream.of(places).map(i -> episode.support()[i]).toArray();
            int[] labels =
                    IntStream.of(places).map(i -> episode.supportLabels()[i]).toArray();
            Tensor seen = clips.batch(host, modality, chosen);
            if (how.augment && modality.equals(Modality.RGB)) {
                ClipBatches.augment(seen, how.seed, i -> draws, i -> i);
            }
            Tensor visible = visible(seen, draws);
            Tensor feature = model.features(seen.to(device), visible, DropPath.NONE); // [B, D]
            return Losses.crossEntropy(
                    feature.linear(matrix, bias), Tensor.of(labels).to(device));
        }

        /** The tokens that a step sees, or null if it sees all. */
        private @Nullable Tensor visible(Tensor seen, long draws) {
            TokenGrid grid = model.config().grid();
            if (grid == null || TokenMask.maskedCells(grid.plane(), masking.ratio()) == 0) {
                return null;
            }
            MaskContext context = new MaskContext(
                    host, seen.size(0), grid, masking.ratio(), how.seed, draws, /* member= */ 0, seen, null);
            TokenMask mask = masking.strategy().draw(context);
            context.requireWhole(mask);
            return mask.visible().to(device);
        }

        private static LinearClassifier classifier(double[] matrix, double[] bias) {
            int width = matrix.length / bias.length;
            List<double[]> rows = new ArrayList<>();
            for (int k = 0; k < bias.length; k++) {
                rows.add(Arrays.copyOfRange(matrix, k * width, (k + 1) * width));
            }
            return new LinearClassifier(rows.toArray(double[][]::new), bias);
        }

        @Override
        public void close() {
            model.close();
            weights.values().forEach(Tensor::close);
            untuned.values().forEach(Tensor::close);
        }
    }
}
