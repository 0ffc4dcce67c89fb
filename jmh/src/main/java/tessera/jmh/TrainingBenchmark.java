package tessera.jmh;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Losses;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/**
 * One training step of ViT-S on clips of 16 x 224 x 224 with three quarters of the tokens masked: masks, forward, cross-entropy,
 * backward, AdamW.
 *
 * <p>Trap avoided: the loss of every step is checked to be finite, so that a broken backward pass cannot be fast.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 5)
@Measurement(iterations = 5, time = 5)
@Fork(1)
public class TrainingBenchmark {
    private static final int BATCH = 2;
    private static final int CLASSES = 64;
    private static final double MASK_RATIO = .75;

    private Params params;
    private VideoMaeClassifier model;
    private AdamW optimiser;
    private Tensor clips;
    private Tensor labels;

    @Setup(Level.Trial)
    public void open() {
        params = Params.random(Device.cpu(), DType.F32, 1);
        model = new VideoMaeClassifier(params, Models.small(), CLASSES);
        optimiser = new AdamW(params.all(), .9, .999, 1e-8, .05, AdamW.matrices(params.all()));
        clips = Models.pixels(BATCH, 16, 224, 224, 3);
        labels = Tensor.of(new int[] {3, 5});
    }

    /** The loss of the step, with masks of its own. */
    @Benchmark
    public double step() {
        try (tessera.tensor.Scope scope = tessera.tensor.Scope.open()) {
            VideoMaeConfig config = model.config();
            TokenMask mask = TokenMask.tubes(
                    Device.cpu(), BATCH, config.slots(), config.plane(), MASK_RATIO, 1, optimiser.steps());
            Tensor loss = Losses.crossEntropy(model.forward(clips, mask.visible()), labels);
            loss.backward();
            optimiser.step(1e-5);
            double value = loss.item();
            if (!Double.isFinite(value)) {
                throw new IllegalStateException("the loss is " + value);
            }
            return value;
        }
    }

    @TearDown(Level.Trial)
    public void close() {
        optimiser.close();
        model.close();
        params.all().values().forEach(Tensor::close);
        clips.close();
        labels.close();
    }
}
