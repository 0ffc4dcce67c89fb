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
import tessera.nn.Params;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Tensor;

/**
 * Masked inference of ViT-S on one clip of 16 x 224 x 224: from pixels to the pooled feature.
 *
 * <p>Trap avoided: a constant clip would let branches and denormals flatter or hurt the result, so pixels are random; and
 * the feature of every run is checked to be finite, so that a broken forward pass cannot be fast.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 5)
@Measurement(iterations = 5, time = 5)
@Fork(1)
public class EncoderBenchmark {
    private static final double[] MEAN = {.485, .456, .406};
    private static final double[] STD = {.229, .224, .225};

    /** Share of masked tokens. */
    @Param({"0.75", "0.9", "0.5", "0"})
    public double maskRatio;

    /** Masks per clip. */
    @Param({"1", "2"})
    public int ensemble;

    private Student student;
    private Student.Session session;
    private long seed;

    @Setup(Level.Trial)
    public void open() {
        VideoMaeConfig config = VideoMaeConfig.of("small", new Patches(3, 2, 16, 1 / 255.0, MEAN, STD));
        Params params = Params.random(Device.cpu(), DType.F32, 1);
        new VideoMaeClassifier(params, config, 0).close();
        student = Student.of(params.all(), config, Device.cpu());
        params.all().values().forEach(Tensor::close);
        session = student.session(1, Masking.of(maskRatio, ensemble));
        java.util.SplittableRandom random = new java.util.SplittableRandom(7);
        for (long i = 0; i < session.input().byteSize(); i++) {
            session.input().set(java.lang.foreign.ValueLayout.JAVA_BYTE, i, (byte) random.nextInt(256));
        }
    }

    /** One clip, a new mask every time. */
    @Benchmark
    public float[] forward() {
        float[] features = session.features(seed++);
        if (!Float.isFinite(features[0])) {
            throw new IllegalStateException("the feature is " + features[0]);
        }
        return features;
    }

    @TearDown(Level.Trial)
    public void close() {
        session.close();
        student.close();
    }
}
