package tessera.jmh;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
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
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.options.CommandLineOptionException;
import org.openjdk.jmh.runner.options.CommandLineOptions;
import org.openjdk.jmh.util.Statistics;
import org.openjdk.jmh.util.Version;

/**
 * What one native call costs: by the foreign function API, the same as critical (no transition of the thread's state, so the garbage
 * collector waits for it), critical with an array of the heap, and by JNI; and the same sum in Java. The C is compiled when the
 * benchmark starts, so it needs a C compiler named {@code cc}.
 *
 * <p>{@code ./tessera bench Binding} runs it by its main method, which hands the line to JMH and writes what JMH tells to {@code
 * jmh/results} too.
 *
 * <p>Trap avoided: a handle that is not a constant is not inlined and makes FFM look slow; so the handles are static and final, as they are
 * in a binding.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
@Fork(1)
public class BindingBenchmark {
    /**
     * One result.
     *
     * @param call how the call is made
     * @param count values that are summed
     * @param unit of the times of one call
     * @param p20 percentile 20 of the iterations
     * @param p50 the median
     * @param p80 percentile 80
     */
    record Row(String call, int count, String unit, double p20, double p50, double p80) {
        static Row of(RunResult result) {
            String name = result.getParams().getBenchmark();
            Statistics times = result.getPrimaryResult().getStatistics();
            return new Row(
                    name.substring(name.lastIndexOf('.') + 1),
                    Integer.parseInt(result.getParams().getParam("count")),
                    result.getPrimaryResult().getScoreUnit(),
                    times.getPercentile(20),
                    times.getPercentile(50),
                    times.getPercentile(80));
        }
    }

    /** Runs JMH with what the command line says, and writes the results. */
    public static void main(String[] args) throws Exception {
        CommandLineOptions options;
        try {
            options = new CommandLineOptions(args);
        } catch (CommandLineOptionException e) {
            System.err.println("error: " + e.getMessage());
            System.exit(2);
            return;
        }
        if (options.shouldHelp() || options.shouldList() || options.shouldListWithParams()) {
            org.openjdk.jmh.Main.main(args);
        } else {
            measure(options, ResultsFile.named("binding"));
        }
    }

    static void measure(CommandLineOptions options, Path file) throws Exception {
        List<Row> rows = new Runner(options).run().stream().map(Row::of).toList();
        Map<String, String> about = Host.about(ResultsFile.today(), Host.revision(), 1);
        about.put("JMH", Version.getPlainVersion());
        new ResultsFile(about).list("rows", rows).write(file);
        System.out.println(rows.size() + " results: " + file);
    }

    /** What is bound, once for all threads. */
    @SuppressWarnings("restricted")
    private static final class Bound {
        static final MethodHandle FFM;
        static final MethodHandle CRITICAL;
        static final MethodHandle HEAP;

        static {
            Path library = compile();
            System.load(library.toString());
            Linker linker = Linker.nativeLinker();
            MemorySegment function = SymbolLookup.libraryLookup(library, Arena.global())
                    .find("tessera_sum")
                    .orElseThrow();
            FunctionDescriptor type =
                    FunctionDescriptor.of(ValueLayout.JAVA_DOUBLE, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG);
            FFM = linker.downcallHandle(function, type);
            CRITICAL = linker.downcallHandle(function, type, Linker.Option.critical(false));
            HEAP = linker.downcallHandle(function, type, Linker.Option.critical(true));
        }

        private static Path compile() {
            try {
                Path folder = Files.createTempDirectory("tessera-binding");
                Path source = folder.resolve("binding.c");
                try (InputStream in = Objects.requireNonNull(BindingBenchmark.class.getResourceAsStream("binding.c"))) {
                    Files.write(source, in.readAllBytes());
                }
                Path library = folder.resolve("libbinding.so");
                // In the reverse of this order when Java ends.
                for (Path made : List.of(folder, source, library)) {
                    made.toFile().deleteOnExit();
                }
                Process compiler = new ProcessBuilder(
                                "cc", "-O2", "-shared", "-fPIC", "-o", library.toString(), source.toString())
                        .inheritIO()
                        .start();
                if (compiler.waitFor() != 0) {
                    throw new IllegalStateException("the C of the benchmark does not compile");
                }
                return library;
            } catch (IOException e) {
                throw new IllegalStateException("the benchmark of bindings needs a C compiler named cc", e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
        }
    }

    /** Values that are summed: none shows the call alone. */
    @Param({"0", "64"})
    public int count;

    private final Arena arena = Arena.ofShared();
    private MemorySegment values;
    private double[] array;
    private MemorySegment heap;

    @Setup(Level.Trial)
    public void open() throws Throwable {
        values = arena.allocate(ValueLayout.JAVA_DOUBLE, Math.max(1, count));
        array = new double[Math.max(1, count)];
        for (int i = 0; i < count; i++) {
            array[i] = i + 1;
            values.setAtIndex(ValueLayout.JAVA_DOUBLE, i, i + 1);
        }
        heap = MemorySegment.ofArray(array);
        double sum = java();
        double[] others = {ffm(), critical(), criticalHeap(), jni()};
        for (double other : others) {
            if (other != sum) {
                throw new IllegalStateException("the sum is " + sum + " in Java and " + other + " in C");
            }
        }
    }

    /** The foreign function API. */
    @Benchmark
    public double ffm() throws Throwable {
        return (double) Bound.FFM.invokeExact(values, (long) count);
    }

    /** The same, critical. */
    @Benchmark
    public double critical() throws Throwable {
        return (double) Bound.CRITICAL.invokeExact(values, (long) count);
    }

    /** The same, critical, on an array of the heap. */
    @Benchmark
    public double criticalHeap() throws Throwable {
        return (double) Bound.HEAP.invokeExact(heap, (long) count);
    }

    /** The Java Native Interface, with an address, which is the least it can be given. */
    @Benchmark
    public double jni() {
        return jni(values.address(), count);
    }

    private static native double jni(long address, long length);

    /** No call. */
    @Benchmark
    public double java() {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += array[i];
        }
        return sum;
    }

    @TearDown(Level.Trial)
    public void close() {
        arena.close();
    }
}
