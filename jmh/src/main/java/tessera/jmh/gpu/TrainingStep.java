package tessera.jmh.gpu;

import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.nn.AdamW;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A training step of a classifier with random weights: mask, forward, cross-entropy, backward, AdamW. Not thread-safe. */
final class TrainingStep implements AutoCloseable {
    private static final double LEARNING_RATE = 1e-4;

    private final Scope scope = Scope.open();
    private final Device device;
    private final VideoMaeConfig config;
    private final VideoMaeClassifier model;
    private final Tensor clips;
    private final Tensor labels;
    private final double maskRatio;
    private final Tensor last;
    private final AdamW optimiser;

    /** @param clips and labels, borrowed */
    TrainingStep(Device device, Sizes sizes, DType type, Tensor clips, Tensor labels, double maskRatio) {
        this.device = device;
        this.config = sizes.config();
        this.clips = clips;
        this.labels = labels;
        this.maskRatio = maskRatio;
        Params params = Params.random(device, DType.F32, 1).computeIn(type);
        model = new VideoMaeClassifier(params, config, sizes.classes());
        params.addShadows();
        last = Tensor.full(device, DType.F32, Shape.of(1), 0);
        optimiser = new AdamW(params.all(), .9, .999, 1e-8, .05, AdamW.matrices(params.all()));
    }

    /** Enqueues a step. */
    void run() {
        try (Scope inner = Scope.open()) {
            TokenMask mask = TokenMask.tubes(
                    device, clips.size(0), config.slots(), config.plane(), maskRatio, 1, optimiser.steps());
            Tensor loss = Losses.crossEntropy(model.forward(clips, mask.visible()), labels);
            loss.backward();
            optimiser.step(LEARNING_RATE);
            last.buffer().device().kernels().elementwise().cast(loss.buffer(), last.buffer());
        }
    }

    /** Records a step; each run of the result enqueues it once. */
    Recorded record() {
        run();
        long recorded = optimiser.steps();
        Graph graph = device.record(this::run);
        return new Recorded(graph, () -> {
            graph.launch(new Graph.Variables(0, optimiser.steps() - recorded, LEARNING_RATE, optimiser.steps()));
            optimiser.advance();
        });
    }

    /** A recorded step. */
    record Recorded(Graph graph, Runnable launch) implements AutoCloseable {
        @Override
        public void close() {
            graph.close();
        }
    }

    /** The last step's loss. */
    float loss() {
        return ModelBenchmark.values(last)[0];
    }

    @Override
    public void close() {
        optimiser.close();
        scope.close();
    }
}
