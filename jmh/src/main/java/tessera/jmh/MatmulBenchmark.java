package tessera.jmh;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Matmul.Activation;
import tessera.tensor.Autograd;
import tessera.tensor.PackedLinear;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * The matrix products of one ViT-S block at the token counts of masked inference, with packed and with plain weights.
 *
 * <p>Trap avoided: one product alone stays in cache with its weights, as it never does in a model; so each call runs all
 * four products of a block, whose weights (7 MB) do not fit into L2.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 3, time = 2)
@Measurement(iterations = 5, time = 2)
@Fork(1)
public class MatmulBenchmark {
    private static final int[][] LAYERS = {{1152, 384}, {384, 384}, {1536, 384}, {384, 1536}};

    /** Tokens: rho = .9, .75 and 0. */
    @Param({"160", "392", "1568"})
    public int tokens;

    private final Tensor[] weights = new Tensor[LAYERS.length];
    private final Tensor[] biases = new Tensor[LAYERS.length];
    private final Tensor[] inputs = new Tensor[LAYERS.length];
    private final PackedLinear[] packed = new PackedLinear[LAYERS.length];

    @Setup(Level.Trial)
    public void open() {
        for (int i = 0; i < LAYERS.length; i++) {
            int out = LAYERS[i][0];
            int in = LAYERS[i][1];
            weights[i] = Tensor.normal(Device.cpu(), DType.F32, Shape.of(out, in), 1, i, 0, .05);
            biases[i] = Tensor.normal(Device.cpu(), DType.F32, Shape.of(out), 2, i, 0, .05);
            inputs[i] = Tensor.normal(Device.cpu(), DType.F32, Shape.of(tokens, in), 3, i, 0, 1);
            packed[i] = new PackedLinear(weights[i], biases[i]);
        }
    }

    /** Weights laid out once, GELU fused into the third product. */
    @Benchmark
    public double packed() {
        return run(true);
    }

    /** Weights as they are stored. */
    @Benchmark
    public double plain() {
        return run(false);
    }

    private double run(boolean usePacked) {
        return Autograd.noGrad(() -> {
            try (tessera.tensor.Scope scope = tessera.tensor.Scope.open()) {
                double check = 0;
                for (int i = 0; i < LAYERS.length; i++) {
                    Activation activation = i == 2 ? Activation.GELU : Activation.NONE;
                    Tensor y;
                    if (usePacked) {
                        y = packed[i].apply(inputs[i], activation);
                    } else {
                        Tensor product = inputs[i].linear(weights[i], biases[i]);
                        y = i == 2 ? product.gelu() : product;
                    }
                    check += y.segment().get(java.lang.foreign.ValueLayout.JAVA_FLOAT, 0);
                }
                if (!Double.isFinite(check)) {
                    throw new IllegalStateException("a product is " + check);
                }
                return check;
            }
        });
    }

    @TearDown(Level.Trial)
    public void close() {
        for (int i = 0; i < LAYERS.length; i++) {
            packed[i].close();
            weights[i].close();
            biases[i].close();
            inputs[i].close();
        }
    }
}
