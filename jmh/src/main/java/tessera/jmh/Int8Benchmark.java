package tessera.jmh;

import static java.util.Objects.requireNonNull;

import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
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
import tessera.nn.inference.Masking;
import tessera.nn.inference.Student;

/**
 * Masked inference of ViT-S on clips of 16 x 224 x 224 in f32, with linear layers on bytes and, where the
 * processor has it, in bf16, of the same weights.
 *
 * <p>Traps avoided: pixels are random, so that no row of zeros is cheap; the features of all must have a cosine above .99,
 * so that a broken pass cannot be fast.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Warmup(iterations = 3, time = 5)
@Measurement(iterations = 5, time = 5)
@Fork(1)
public class Int8Benchmark {
    /** Share of masked tokens. */
    @Param({"0", "0.5", "0.75", "0.9"})
    public double maskRatio;

    @Param({"1", "4"})
    public int batch;

    private Student f32;
    private Student int8;
    private Student.Session plain;
    private Student.Session bytes;
    private @Nullable Student bf16;
    private Student.@Nullable Session narrow;
    private long seed;

    @Setup(Level.Trial)
    public void open() {
        f32 = Models.student(1, DType.F32);
        if (Device.cpu().bf16().isPresent()) {
            bf16 = Models.student(1, DType.BF16);
            narrow = bf16.session(batch, Masking.of(maskRatio, 1));
            Models.fill(narrow.input());
        }
        int8 = f32.quantize();
        plain = f32.session(batch, Masking.of(maskRatio, 1));
        bytes = int8.session(batch, Masking.of(maskRatio, 1));
        Models.fill(plain.input());
        Models.fill(bytes.input());
        float[] features = plain.features(1);
        check(features, bytes.features(1));
        if (narrow != null) {
            check(features, narrow.features(1));
        }
    }

    private static void check(float[] a, float[] b) {
        double dot = 0;
        double aa = 0;
        double bb = 0;
        for (int i = 0; i < a.length; i++) {
            dot += (double) a[i] * b[i];
            aa += (double) a[i] * a[i];
            bb += (double) b[i] * b[i];
        }
        if (!(dot / Math.sqrt(aa * bb) > .99)) {
            throw new IllegalStateException("the features' cosine is " + dot / Math.sqrt(aa * bb));
        }
    }

    @Benchmark
    public float[] f32() {
        return plain.features(seed++);
    }

    @Benchmark
    public float[] int8() {
        return bytes.features(seed++);
    }

    /** Fails where the processor does not multiply bf16. */
    @Benchmark
    public float[] bf16() {
        return requireNonNull(narrow, "this processor multiplies no bf16").features(seed++);
    }

    @TearDown(Level.Trial)
    public void close() {
        if (narrow != null && bf16 != null) {
            narrow.close();
            bf16.close();
        }
        plain.close();
        bytes.close();
        int8.close();
        f32.close();
    }
}
