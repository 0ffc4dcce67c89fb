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
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

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
        student = Models.student(1, DType.F32);
        session = student.session(1, Masking.of(maskRatio, ensemble));
        Models.fill(session.input());
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
