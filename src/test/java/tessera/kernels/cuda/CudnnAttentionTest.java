package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.ChildJava;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph;
import tessera.kernels.cpu.Elements;
import tessera.natives.cuda.CudaDriver;

/**
 * cuDNN as a provider of attention, on a fake that executes the graphs of operations as they are described and has engines that do
 * not do what they should.
 */
@Tag(FakeCuda.TAG)
class CudnnAttentionTest {
    private static final String DONE = "done: ";

    @TempDir
    private Path temp;

    private Map<String, Integer> run(String... arguments) throws Exception {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        Path cuda = Path.of(System.getProperty("tessera.cuda.dir"));
        String output = ChildJava.run(
                temp,
                List.of(
                        "-Dtessera.cuda.dir=" + cuda + File.pathSeparator + FakeCuda.cudnn(cuda),
                        "-Dtessera.cuda.cache=" + temp,
                        "-D" + AttentionProviders.PROPERTY + "=cudnn"),
                Map.of(),
                120,
                Calls.class,
                arguments);
        Map<String, Integer> counts = new HashMap<>();
        output.lines().filter(line -> line.startsWith(DONE)).forEach(line -> {
            String[] words = line.substring(DONE.length()).split(" ", -1);
            counts.put(words[0], Integer.parseInt(words[1]));
        });
        assertTrue(counts.containsKey("end"), output);
        return counts;
    }

    /** Once a plan was compared with our own kernels, it is the only one that computes, with stats and without, and backward. */
    @ParameterizedTest
    @CsvSource({"1, 1", "0, 1", "2, 1", "4, 1", "42, 1", "21, 0", "3, 0", "31, 0"})
    void theFirstEngineThatIsRightComputes(String heuristics, String fallback) throws Exception {
        Map<String, Integer> counts = run("calls", heuristics, fallback);
        assertEquals(0, counts.get("own"), counts.toString());
        assertEquals(3 * 2, counts.get("cudnn"), counts.toString());
    }

    @ParameterizedTest
    @CsvSource({"2, 2", "4, 0", "0, 0"})
    void whereNoneIsRightOurOwnKernelsCompute(String heuristics, String fallback) throws Exception {
        Map<String, Integer> counts = run("calls", heuristics, fallback);
        assertEquals(0, counts.get("cudnn"), counts.toString());
        assertEquals(2 * (1 + 1 + 2), counts.get("own"), counts.toString());
    }

    /** The first of the two later calls fails, and both are computed by our own kernels. */
    @Test
    void aPlanThatFailsLaterIsDropped() throws Exception {
        Map<String, Integer> counts = run("calls", "5", "0");
        assertEquals(3, counts.get("cudnn"), counts.toString());
        assertEquals(2 * (1 + 1 + 2), counts.get("own"), counts.toString());
    }

    @Test
    void versionsThatNeedWholeTilesDoNotComputeGradients() throws Exception {
        Map<String, Integer> counts = run("calls", "1", "1", "91500");
        assertEquals(2 * 2, counts.get("cudnn"), counts.toString());
        assertEquals(2 * 2, counts.get("own"), counts.toString());
    }

    /** What was not compared before a recording is not in it; what was is. */
    @Test
    void recordingsHoldOnlyPlansThatWereCompared() throws Exception {
        Map<String, Integer> counts = run("recorded", "1", "1");
        assertEquals(0, counts.get("cudnn-before"), counts.toString());
        assertEquals(1, counts.get("cudnn-after"), counts.toString());
        assertEquals(0, counts.get("own"), counts.toString());
    }

    /**
     * A virtual thread that waits for its turn, while another makes the plan or enqueues, may go on with another carrier, which has no
     * context: here because each takes the context away from its carrier before others go on with it.
     */
    @Test
    void virtualThreadsThatWaitForTheirTurnKeepTheContext() throws Exception {
        Map<String, Integer> counts = run("virtual", "1", "1");
        // Each but the three that made a plan, and the runs by which these were compared.
        int calls = Calls.THREADS * Calls.RUNS * 2;
        assertTrue(requireNonNull(counts.get("cudnn")) >= calls, counts.toString());
        assertTrue(requireNonNull(counts.get("own")) < calls, counts.toString());
    }

    /** Calls of one shape in a process of their own. */
    static final class Calls {
        static final int THREADS = 8;
        static final int RUNS = 10;

        private static final int BATCH = 2;
        private static final int HEADS = 3;
        private static final int ROWS = 35;
        private static final int DIM = 16;
        private static final int WIDTH = HEADS * DIM;
        private static final double BF16_TOLERANCE = 1.0 / 64;

        private static final Device GPU = Device.cuda(0);
        private static final AttentionShape SHAPE =
                new AttentionShape(BATCH, HEADS, ROWS, ROWS, DIM, .3, packed(), packed(), packed(), plain(), 0);

        private final Map<String, Buffer> there = new HashMap<>();
        private final Map<String, Buffer> here = new HashMap<>();

        private static Strides packed() {
            return new Strides((long) ROWS * 3 * WIDTH, DIM, 3 * WIDTH);
        }

        private static Strides plain() {
            return new Strides((long) ROWS * WIDTH, DIM, WIDTH);
        }

        /**
         * Runs one case and prints how often cuDNN and our own kernels were started.
         *
         * @param args the case, then settings of the fake
         */
        public static void main(String[] args) throws Exception {
            FakeCuda.set("cudnn_heuristics", Long.parseLong(args[1]));
            FakeCuda.set("cudnn_fallback", Long.parseLong(args[2]));
            if (args.length > 3) {
                FakeCuda.set("cudnn_version", Long.parseLong(args[3]));
            }
            Calls calls = new Calls();
            calls.inputs();
            calls.compute(Device.cpu(), calls.here, true);
            if (args[0].equals("calls")) {
                calls.computeAndCompare();
                int cudnn = cudnn();
                int own = own();
                calls.computeAndCompare();
                calls.computeAndCompare();
                print("cudnn", cudnn() - cudnn);
                print("own", own() - own);
            } else if (args[0].equals("virtual")) {
                FakeCuda.set("lazy", 0); // so that it takes long to enqueue, and others wait
                calls.fromVirtualThreads();
                print("cudnn", cudnn());
                print("own", own());
            } else {
                try (Graph graph = GPU.record(() -> calls.forward(GPU, calls.there, null))) {
                    print("cudnn-before", cudnn());
                    graph.launch(Graph.Variables.NONE);
                }
                calls.forward(GPU, calls.there, null);
                int cudnn = cudnn();
                int own = own();
                GPU.kernels().elementwise().fill(requireNonNull(calls.there.get("out")), 7);
                try (Graph graph = GPU.record(() -> calls.forward(GPU, calls.there, null))) {
                    print("cudnn-after", cudnn() - cudnn);
                    graph.launch(Graph.Variables.NONE);
                    calls.compare("out");
                }
                print("own", own() - own);
            }
            print("end", 1);
        }

        private static void print(String name, long value) {
            System.out.println(DONE + name + " " + value);
        }

        private static int cudnn() {
            GPU.synchronize();
            return (int) FakeCuda.calls("cudnnBackendExecute");
        }

        private static int own() {
            return (int) (FakeCuda.calls("attention_16_bf16")
                    + FakeCuda.calls("attention_keys_16_bf16")
                    + FakeCuda.calls("attention_queries_16_bf16"));
        }

        private void inputs() {
            Random random = new Random(3);
            long rows = (long) BATCH * ROWS;
            add("qkv", DType.BF16, rows * 3 * WIDTH, random);
            add("out", DType.BF16, rows * WIDTH, null);
            add("dout", DType.BF16, rows * WIDTH, random);
            add("dqkv", DType.BF16, rows * 3 * WIDTH, null);
            add("stats", DType.F32, rows * HEADS, null);
        }

        private void add(String name, DType dtype, long length, @Nullable Random random) {
            Buffer wide = Device.cpu().allocate(DType.F32, length);
            Buffer narrow = Device.cpu().allocate(dtype, length);
            for (long i = 0; i < length; i++) {
                Elements.set(wide, i, random == null ? 0 : random.nextGaussian());
            }
            Device.cpu().kernels().elementwise().cast(wide, narrow);
            Device.cpu().kernels().elementwise().cast(narrow, wide);
            Buffer copy = GPU.allocate(dtype, length);
            narrow.copyTo(copy);
            here.put(name, wide);
            there.put(name, copy);
        }

        private void computeAndCompare() {
            for (String result : List.of("out", "stats", "dqkv")) {
                GPU.kernels().elementwise().fill(requireNonNull(there.get(result)), 7);
            }
            compute(GPU, there, false);
            compare("out");
            compute(GPU, there, true);
            for (String result : List.of("out", "stats", "dqkv")) {
                compare(result);
            }
        }

        @SuppressWarnings("ThreadPriorityCheck") // what is tested is that the carrier is given away
        private void fromVirtualThreads() throws Exception {
            List<Future<?>> all = new ArrayList<>();
            try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
                for (int i = 0; i < THREADS; i++) {
                    all.add(threads.submit(() -> {
                        Map<String, Buffer> own = new HashMap<>(there);
                        for (String result : List.of("out", "stats", "dqkv")) {
                            Buffer like = requireNonNull(there.get(result));
                            own.put(result, GPU.allocate(like.dtype(), like.length()));
                        }
                        for (int run = 0; run < RUNS; run++) {
                            for (String result : List.of("out", "stats", "dqkv")) {
                                GPU.kernels().elementwise().fill(requireNonNull(own.get(result)), 7);
                            }
                            CudaDriver.contextSetCurrent(0);
                            Thread.yield();
                            compute(GPU, own, true);
                            CudaDriver.contextSetCurrent(0);
                            Thread.yield();
                            for (String result : List.of("out", "stats", "dqkv")) {
                                compare(own, result);
                            }
                        }
                    }));
                }
            }
            for (Future<?> one : all) {
                one.get();
            }
        }

        private void compute(Device device, Map<String, Buffer> buffers, boolean train) {
            forward(device, buffers, train ? buffers.get("stats") : null);
            if (train) {
                device.kernels()
                        .attention()
                        .attentionBackward(
                                SHAPE,
                                tensors(requireNonNull(buffers.get("qkv"))),
                                requireNonNull(buffers.get("out")),
                                requireNonNull(buffers.get("stats")),
                                requireNonNull(buffers.get("dout")),
                                tensors(requireNonNull(buffers.get("dqkv"))));
            }
        }

        private void forward(Device device, Map<String, Buffer> buffers, @Nullable Buffer stats) {
            device.kernels()
                    .attention()
                    .attention(
                            SHAPE,
                            tensors(requireNonNull(buffers.get("qkv"))),
                            requireNonNull(buffers.get("out")),
                            stats);
        }

        private static AttentionTensors tensors(Buffer packed) {
            return new AttentionTensors(
                    packed,
                    packed.slice(WIDTH, packed.length() - WIDTH),
                    packed.slice(2 * WIDTH, packed.length() - 2 * WIDTH),
                    null);
        }

        private void compare(String name) {
            compare(there, name);
        }

        private void compare(Map<String, Buffer> buffers, String name) {
            Close.relative(
                    values(requireNonNull(buffers.get(name))),
                    values(requireNonNull(here.get(name))),
                    BF16_TOLERANCE,
                    name);
        }

        private static double[] values(Buffer buffer) {
            try (Buffer host = Device.cpu().allocate(buffer.dtype(), buffer.length())) {
                buffer.copyTo(host);
                double[] values = new double[Math.toIntExact(host.length())];
                for (int i = 0; i < values.length; i++) {
                    values[i] = Elements.get(host, i);
                }
                return values;
            }
        }
    }
}
