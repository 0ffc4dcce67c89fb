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
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.swin.SwinConfig;
import tessera.nn.swin.SwinModel;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Tensor;

/**
 * Swin3D-T on one clip of 16 x 224 x 224 with a head of 400 classes: from pixels to class scores with packed weights, and a training
 * step (forward with drop path, cross-entropy, backward, AdamW).
 *
 * <p>Trap avoided: pixels are random, and scores and losses are checked to be finite, so that a broken pass cannot be fast.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 2, time = 5)
@Measurement(iterations = 5, time = 5)
@Fork(1)
public class SwinBenchmark {
    private static final int CLASSES = 400;

    private Tensor clip;
    private Tensor labels;
    private Params params;
    private SwinModel trained;
    private SwinModel packed;
    private AdamW optimiser;

    @Setup(Level.Trial)
    public void open() {
        SwinConfig config = Models.swin();
        params = Params.random(Device.cpu(), DType.F32, 1);
        trained = new SwinModel(params, config, CLASSES);
        packed = new SwinModel(Params.from(Device.cpu(), DType.F32, params.all()), config, CLASSES);
        packed.pack();
        optimiser = new AdamW(params.all(), .9, .999, 1e-8, .02, AdamW.matrices(params.all()));
        clip = Models.pixels(1, 16, 224, 224, 3);
        labels = Tensor.of(new int[] {3});
    }

    /** Class scores of the clip. */
    @Benchmark
    public float[] forward() {
        try (tessera.tensor.Scope scope = tessera.tensor.Scope.open()) {
            float[] scores = Autograd.noGrad(() -> packed.forward(clip)).toFloats();
            if (!Float.isFinite(scores[0])) {
                throw new IllegalStateException("the score is " + scores[0]);
            }
            return scores;
        }
    }

    /** The loss of a step. */
    @Benchmark
    public double step() {
        try (tessera.tensor.Scope scope = tessera.tensor.Scope.open()) {
            Tensor scores = trained.forward(clip, new DropPath(.1, 1, optimiser.steps()));
            Tensor loss = Losses.crossEntropy(scores, labels);
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
        packed.close();
        trained.close();
        params.all().values().forEach(Tensor::close);
        clip.close();
        labels.close();
    }
}
