package tessera.jmh;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
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
import org.openjdk.jmh.annotations.Timeout;
import org.openjdk.jmh.annotations.Warmup;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/**
 * Many passes of ViT-S over a clip of 16 x 224 x 224, through a mask: the bytes that a call allocates on the Java
 * heap of all threads, and the memory of the process and of the device, after some passes and at the end.
 *
 * <pre>{@code ./tessera bench EnduranceBenchmark -p passes=10000 -p precision=f32}</pre>
 *
 * <p>10 000 passes take a quarter of an hour or more with three quarters of the tokens hidden, a third of that with {@code -p maskRatio=0.9}. Training is run as long by the test {@code EnduranceTest}.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.SECONDS)
@Warmup(iterations = 0)
@Measurement(iterations = 1)
@Timeout(time = 3, timeUnit = TimeUnit.HOURS)
@Fork(1)
public class EnduranceBenchmark {
    private static final long PAGE = 4096;
    private static final int REPORTS = 10;

    @Param("10000")
    public int passes;

    /** What linear layers compute in: f32, bf16 or int8. */
    @Param({"f32", "int8", "bf16"})
    public String precision;

    /** Share of the tokens that are hidden. */
    @Param("0.75")
    public double maskRatio;

    private Student student;
    private Student.Session session;

    @Setup(Level.Trial)
    public void open() {
        student = Models.student(1, precision.equals("bf16") ? DType.BF16 : DType.F32);
        if (precision.equals("int8")) {
            Student exact = student;
            student = exact.quantize();
            exact.close();
        }
        session = student.session(1, Masking.of(maskRatio, 1));
        Models.fill(session.input());
    }

    /** All passes, each with a mask of its own. */
    @Benchmark
    public float[] passes() throws IOException {
        float[] features = new float[student.config().featureWidth()];
        for (int part = 0; part <= REPORTS; part++) {
            // The first part warms up.
            int from = (int) ((long) passes * part / (REPORTS + 1));
            int to = (int) ((long) passes * (part + 1) / (REPORTS + 1));
            long before = allocatedBytes();
            for (int pass = from; pass < to; pass++) {
                session.features(pass, features);
            }
            report(to, (allocatedBytes() - before) / Math.max(1, to - from));
        }
        if (!Float.isFinite(features[0])) {
            throw new IllegalStateException("the feature is " + features[0]);
        }
        return features;
    }

    /** Of all threads, what this loop asks for included: some kilobytes in all. */
    private static long allocatedBytes() {
        return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getTotalThreadAllocatedBytes();
    }

    private static void report(int done, long bytes) throws IOException {
        Path statm = Path.of("/proc/self/statm");
        long resident = Files.exists(statm)
                ? PAGE * Long.parseLong(Files.readString(statm).split(" ", -1)[1])
                : 0;
        Device.MemoryUse use = Device.cpu().memory();
        System.out.printf(
                Locale.ROOT,
                "%n%6d passes: %d bytes of heap a call, %d MiB resident, device: %d bytes live in %d buffers, %d"
                        + " pooled",
                done,
                bytes,
                resident >> 20,
                use.live(),
                use.liveBuffers(),
                use.pooled());
    }

    @TearDown(Level.Trial)
    public void close() {
        session.close();
        student.close();
    }
}
