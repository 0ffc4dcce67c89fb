package tessera.jmh;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
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
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.kernels.Kernels;
import tessera.kernels.Matmul.Batch;
import tessera.kernels.Matmul.Epilogue;
import tessera.kernels.Matmul.MatmulShape;
import tessera.kernels.RandomOps.RandomStream;
import tessera.natives.cuda.CudaDriver;

/**
 * What starting a kernel costs in Java, against a driver in which nothing happens: {@code kernel} less {@code driver} is our
 * own share, with {@code -prof gc} to see that nothing is allocated.
 *
 * <p>Trap avoided: a real driver takes some microseconds per launch and hides everything; and launches with equal arguments
 * could be hoisted out of the loop if their result were not a call that the compiler cannot see into. Needs a C compiler named
 * {@code cc}.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class LaunchBenchmark {
    private static final List<String> LIBRARIES =
            List.of("libcuda.so.1", "libcublasLt.so.13", "libcublas.so.13", "libnvrtc.so.13");

    private static final MatmulShape PRODUCT = MatmulShape.of(false, false, 10, 10, 10);

    private @Nullable Path folder;
    private Device device;
    private Kernels kernels;
    private Buffer x;
    private Buffer y;
    private Graph plain;
    private Graph random;
    private long seed;
    private long extra;

    /** Builds the empty driver and opens a device on it. */
    @Setup(Level.Trial)
    public void open() throws IOException, InterruptedException {
        Path made = Files.createTempDirectory("tessera-empty-driver");
        folder = made;
        Path source = made.resolve("empty_driver.c");
        try (InputStream in = LaunchBenchmark.class.getResourceAsStream("empty_driver.c")) {
            Files.write(source, java.util.Objects.requireNonNull(in).readAllBytes());
        }
        for (String library : LIBRARIES) {
            Process compiler = new ProcessBuilder(
                            "cc",
                            "-O2",
                            "-w",
                            "-shared",
                            "-fPIC",
                            "-o",
                            made.resolve(library).toString(),
                            source.toString())
                    .inheritIO()
                    .start();
            if (compiler.waitFor() != 0) {
                throw new IllegalStateException("the empty driver does not compile");
            }
        }
        System.setProperty("tessera.cuda.dir", made.toString());
        System.setProperty("tessera.cuda.cache", "");
        device = Device.cuda(0);
        kernels = device.kernels();
        x = device.allocate(DType.F32, 1000);
        y = device.allocate(DType.F32, 1000);
        plain = device.record(() -> kernels.elementwise().axpy(2, x, y));
        random = device.record(() -> kernels.random().randomUniform(new RandomStream(0, 0), 0, 1, x));
        MemorySegment block = Arena.global().allocate(64, 8);
        extra = block.address();
    }

    @TearDown(Level.Trial)
    public void delete() throws IOException {
        Path made = folder;
        if (made != null) {
            try (Stream<Path> files = Files.walk(made)) {
                files.sorted(java.util.Comparator.reverseOrder())
                        .forEach(file -> file.toFile().delete());
            }
        }
    }

    /** The call of the driver alone. */
    @Benchmark
    public int driver() {
        return CudaDriver.launchKernel(5, 4, 1, 1, 256, 1, 1, 0, 3, 0, extra);
    }

    /** A primitive of one kernel. */
    @Benchmark
    public void kernel() {
        kernels.elementwise().axpy(2, x, y);
    }

    /** A replay of a graph that computes the same each time. */
    @Benchmark
    public void replay() {
        plain.launch(Graph.Variables.NONE);
    }

    /** A replay of a graph that has a new seed each time. */
    @Benchmark
    public void replayOfNewSeed() {
        random.launch(Graph.Variables.ofSeed(seed++));
    }

    /** A product by cuBLASLt, with what is kept for its shape found again and a workspace. */
    @Benchmark
    public void product() {
        kernels.matmul().matmul(PRODUCT, x, x, Epilogue.NONE, y);
    }

    /** A batch of products by cuBLAS, with a workspace. */
    @Benchmark
    public void batch() {
        kernels.matmul().matmulBatched(PRODUCT, new Batch(2, 100, 100, 100), x, x, y);
    }

    /** Memory from the pool and back. */
    @Benchmark
    public long scratch() {
        try (Buffer scratch = device.allocate(DType.F32, 1000)) {
            return scratch.address();
        }
    }
}
