package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.ChildJava;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Event;
import tessera.kernels.Graph;
import tessera.kernels.RandomOps.RandomStream;
import tessera.kernels.Stream;

/** Graphs of a GPU, and what is left of streams, events and graphs that are closed or lost. */
@Tag(FakeCuda.TAG)
class CudaGraphTest extends OnCudaDevice {
    // ------------------------------------------------------------------------------------------------------ graphs

    @Test
    void aGraphRunsAgainOnNewValues() {
        Device device = device();
        try (Buffer input = onDevice(counted(1000))) {
            addOne(input, input); // so that the module is loaded
            Buffer[] made = new Buffer[1];
            long live = device.memory().live();
            try (Graph graph = device.record(() -> {
                Buffer first = device.allocate(DType.F32, 1000);
                addOne(input, first);
                Buffer second = device.allocate(DType.F32, 1000);
                addOne(first, second);
                first.close();
                // On the memory of the first, which is free again by now.
                made[0] = device.allocate(DType.F32, 1000);
                addOne(second, made[0]);
                second.close();
            })) {
                for (int run = 0; run < 3; run++) {
                    float[] values = plus(counted(1000), 100 * run);
                    try (Buffer host = onHost(values)) {
                        host.copyTo(input);
                    }
                    // Other work of the same sizes must not get the graph's memory.
                    Buffer other = onDevice(new float[1000]);
                    graph.launch(Graph.Variables.NONE);
                    assertArrayEquals(plus(values, 3), read(made[0]));
                    assertArrayEquals(new float[1000], read(other));
                    other.close();
                }
                assertTrue(graph.nodes() >= 3);
            }
            made[0].close();
            assertEquals(live, device.memory().live());
        }
    }

    /** Known of the fake only. */
    private static long liveHandles() {
        return FakeCuda.present() ? FakeCuda.liveHandles() : 0;
    }

    @Test
    void whatCannotBeRecordedIsRefusedAndLeavesNothingBehind() {
        Device device = device();
        device.trim();
        long handles = liveHandles();
        try (Buffer host = onHost(counted(10));
                Buffer there = onDevice(counted(10))) {
            IllegalStateException e =
                    assertThrows(IllegalStateException.class, () -> device.record(() -> host.copyTo(there)));
            assertTrue(String.valueOf(e.getMessage()).contains("inside a graph"), e.getMessage());
            assertThrows(IllegalStateException.class, () -> device.record(() -> there.copyTo(host)));
            assertThrows(
                    DeviceException.class,
                    () -> device.record(() -> device.currentStream().synchronize()));
            assertThrows(
                    ArithmeticException.class,
                    () -> device.record(() -> {
                        device.allocate(DType.F32, 10).close();
                        throw new ArithmeticException("of the body's own");
                    }));
            addOne(there, there);
            assertArrayEquals(plus(counted(10), 1), read(there));
        }
        device.trim();
        assertEquals(handles, liveHandles());
    }

    @Test
    void launchesOnSeveralStreamsEachSeeTheirOwnVariables() {
        Device device = device();
        try (Buffer made = device.allocate(DType.F32, 100);
                Buffer expected = device.allocate(DType.F32, 100);
                Stream one = device.newStream();
                Stream two = device.newStream()) {
            device.kernels().random().randomUniform(new RandomStream(7, 0), 0, 1, expected);
            device.kernels().random().randomUniform(new RandomStream(7, 0), 0, 1, made);
            device.synchronize();
            try (Graph graph =
                    device.record(() -> device.kernels().random().randomUniform(new RandomStream(0, 0), 0, 1, made))) {
                device.on(one, () -> graph.launch(Graph.Variables.ofSeed(3)));
                device.on(two, () -> graph.launch(Graph.Variables.ofSeed(7)));
                // The later one ends later, whichever is waited for first.
                two.synchronize();
                one.synchronize();
                assertArrayEquals(read(expected), read(made));
            }
        }
    }

    /** A replay is what the host waits for with small batches: no copy, no event, nothing that nobody reads. */
    @Test
    void aLaunchCallsTheDriverNoMoreThanItMust() {
        needsFake();
        Device device = device();
        try (Buffer x = onDevice(counted(100));
                Stream other = device.newStream();
                Graph plain = device.record(() -> addOne(x, x));
                Graph random =
                        device.record(() -> device.kernels().random().randomUniform(new RandomStream(0, 0), 0, 1, x))) {
            random.launch(Graph.Variables.ofSeed(1)); // so that the kernel that writes the seed is loaded
            plain.launch(Graph.Variables.NONE);
            assertEquals(List.of(0L, 0L, 0L, 0L), callsOf(() -> plain.launch(Graph.Variables.NONE)));
            assertEquals(List.of(1L, 0L, 0L, 0L), callsOf(() -> random.launch(Graph.Variables.ofSeed(2))));
            assertEquals(
                    List.of(1L, 0L, 1L, 1L),
                    callsOf(() -> device.on(other, () -> random.launch(Graph.Variables.ofSeed(3)))),
                    "the launch before, on another stream, may still read the variables");
            other.synchronize();
        }
    }

    /** The kernels of such a graph wait for each other by themselves, but for those behind a copy or at the beginning. */
    @Test
    void aGraphOfProgrammaticLaunchesComputesTheSame(@TempDir Path temp) throws Exception {
        needsFake();
        List<String> options = List.of(
                "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                "-Dtessera.cuda.cache=" + System.getProperty("tessera.cuda.cache", ""));
        for (String capability : List.of("80", "90")) {
            String told = ChildJava.run(
                    temp, options, Map.of("TESSERA_FAKE_CAPABILITY", capability), 60, ProgrammaticLaunches.class);
            String expected = (capability.equals("90") ? "programmatic 3" : "programmatic 0")
                    + " of 5, first value 5.5, usually 0";
            assertTrue(told.contains(expected), told);
        }
    }

    /** A process of its own for a device of compute capability 9.0. */
    static final class ProgrammaticLaunches {
        private ProgrammaticLaunches() {}

        public static void main(String[] args) {
            Device device = device();
            try (Buffer x = onDevice(counted(100));
                    Buffer y = device.allocate(DType.F32, 100)) {
                Runnable work = () -> {
                    addOne(x, x);
                    addOne(x, x);
                    addOne(x, x);
                    x.copyTo(y);
                    addOne(y, y);
                    addOne(y, y);
                };
                System.setProperty(CudaGraph.PROGRAMMATIC_PROPERTY, "true");
                try (Graph graph = device.record(work)) {
                    long programmatic = FakeCuda.calls("cuLaunchKernelEx");
                    System.out.print("programmatic " + programmatic + " of "
                            + (programmatic + FakeCuda.calls("cuLaunchKernel")));
                    graph.launch(Graph.Variables.NONE);
                    System.out.print(", first value " + read(y)[0]);
                }
                System.clearProperty(CudaGraph.PROGRAMMATIC_PROPERTY);
                FakeCuda.reset();
                device.record(work).close();
                System.out.println(", usually " + FakeCuda.calls("cuLaunchKernelEx"));
            }
        }
    }

    private static List<Long> callsOf(Runnable launch) {
        FakeCuda.reset();
        launch.run();
        assertEquals(1, FakeCuda.calls("cuGraphLaunch"));
        return java.util.stream.Stream.of("cuLaunchKernel", "cuMemcpyHtoDAsync", "cuEventRecord", "cuStreamWaitEvent")
                .map(FakeCuda::calls)
                .toList();
    }

    /** The launch before may be on a stream that was closed since. */
    @Test
    void aStreamThatAGraphWasLaunchedOnMayBeClosed() {
        Device device = device();
        try (Buffer x = onDevice(counted(100));
                Graph graph = device.record(() -> addOne(x, x))) {
            try (Stream gone = device.newStream()) {
                device.synchronize();
                device.on(gone, () -> graph.launch(Graph.Variables.NONE));
            }
            graph.launch(Graph.Variables.NONE);
            assertArrayEquals(plus(counted(100), 2), read(x));
            try (Stream gone = device.newStream()) {
                device.synchronize();
                device.on(gone, () -> graph.launch(Graph.Variables.NONE));
            }
        }
    }

    /** A graph of the driver's has no nodes that do nothing. */
    @Test
    void nothingOfNoLengthIsRecorded() {
        Device device = device();
        try (Buffer none = device.allocate(DType.F32, 0);
                Buffer other = device.allocate(DType.F32, 0);
                Graph graph = device.record(() -> {
                    none.copyTo(other);
                    ((CudaDevice) device).clear(none);
                })) {
            assertEquals(0, graph.nodes());
        }
    }

    @Test
    void aGraphDoesNotNestAndTheOtherOneGoesOn() {
        Device device = device();
        try (Buffer x = onDevice(counted(10));
                Buffer y = onDevice(counted(10))) {
            addOne(x, x);
            try (Graph inner = device.record(() -> addOne(y, y));
                    Graph outer = device.record(() -> {
                        addOne(x, x);
                        IllegalStateException e =
                                assertThrows(IllegalStateException.class, () -> inner.launch(Graph.Variables.NONE));
                        assertTrue(
                                String.valueOf(e.getMessage()).contains("while another is recorded"), e.getMessage());
                        addOne(x, x);
                    })) {
                outer.launch(Graph.Variables.NONE);
                inner.launch(Graph.Variables.NONE);
                assertArrayEquals(plus(counted(10), 3), read(x));
                assertArrayEquals(plus(counted(10), 1), read(y));
            }
        }
    }

    /** On a GPU a wait for the whole device would break the recording off, whichever thread asks. */
    @Test
    void theDeviceIsNotWaitedForWhileAGraphIsRecorded() throws Exception {
        Device device = device();
        try (Buffer x = onDevice(counted(10));
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            try (Graph graph = device.record(() -> {
                IllegalStateException mine = assertThrows(IllegalStateException.class, device::synchronize);
                assertTrue(String.valueOf(mine.getMessage()).contains("while a graph is recorded"), mine.getMessage());
                ExecutionException others = assertThrows(
                        ExecutionException.class,
                        () -> thread.submit(device::synchronize).get());
                assertTrue(others.getCause() instanceof IllegalStateException, others.toString());
                addOne(x, x);
            })) {
                device.synchronize();
                graph.launch(Graph.Variables.NONE);
                device.synchronize();
            }
            assertArrayEquals(plus(counted(10), 2), read(x));
        }
    }

    @Test
    void otherThreadsWorkAndTrimWhileAGraphIsRecorded() {
        Device device = device();
        try (Buffer x = onDevice(counted(10));
                Buffer y = onDevice(counted(10));
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            Graph alone = device.record(() -> addOne(x, x));
            long nodes = alone.nodes();
            alone.close();
            try (Graph graph = device.record(() -> {
                Future<?> other = thread.submit(() -> {
                    try (Stream stream = device.newStream()) {
                        device.on(stream, () -> device.allocate(DType.F32, 99).close());
                    }
                    addOne(y, y);
                    device.trim();
                });
                assertDoesNotThrow(() -> other.get());
                addOne(x, x);
            })) {
                assertEquals(nodes, graph.nodes());
                graph.launch(Graph.Variables.NONE);
            }
            assertArrayEquals(plus(counted(10), 2), read(x));
            assertArrayEquals(plus(counted(10), 1), read(y));
        }
    }

    /** Neither their poisoning nor their freeing becomes part of the graph. */
    @Test
    void buffersMadeBeforeMayBeClosedWhileAGraphIsRecorded() {
        Device device = device();
        try (Buffer x = onDevice(counted(10))) {
            addOne(x, x);
            Graph alone = device.record(() -> addOne(x, x));
            long nodes = alone.nodes();
            alone.close();
            device.trim();
            long bytes = FakeCuda.present() ? FakeCuda.liveBytes() : 0;
            Buffer[] made = new Buffer[3];
            made[0] = device.allocate(DType.F32, 1000);
            try (Stream open = device.newStream()) {
                try (Stream gone = device.newStream()) {
                    device.on(gone, () -> made[1] = device.allocate(DType.F32, 1000));
                }
                device.on(open, () -> made[2] = device.allocate(DType.F32, 1000));
                try (Graph graph = device.record(() -> {
                    addOne(x, x);
                    for (Buffer buffer : made) {
                        buffer.close();
                    }
                })) {
                    assertEquals(nodes, graph.nodes());
                    graph.launch(Graph.Variables.NONE);
                    graph.launch(Graph.Variables.NONE);
                }
            }
            assertArrayEquals(plus(counted(10), 3), read(x));
            device.trim();
            assertEquals(bytes, FakeCuda.present() ? FakeCuda.liveBytes() : 0);
        }
    }

    // ------------------------------------------------------------------------------------------- closing

    @Test
    void whatIsClosedRefusesAndClosesAgain() throws Exception {
        Device device = device();
        try (Buffer x = onDevice(counted(3));
                Buffer pinned = device.allocatePinned(DType.F32, 3);
                Event other = device.newTimer();
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            Stream stream = device.newStream();
            Event event = device.newTimer();
            Graph graph = device.record(() -> addOne(x, x));
            Buffer[] made = new Buffer[1];
            device.on(stream, () -> made[0] = device.allocate(DType.F32, 3));
            for (AutoCloseable closed : List.of(graph, event, stream)) {
                // By another thread than the maker's, and twice.
                thread.submit(() -> {
                            closed.close();
                            return null;
                        })
                        .get();
                closed.close();
            }
            refused("make another with newStream()", stream::handle);
            refused("make another with newStream()", stream::synchronize);
            refused("make another with newStream()", stream::isDone);
            refused("make another with newStream()", stream::record);
            refused("make another with newStream()", () -> stream.await(other));
            refused("make another with newStream()", () -> stream.copy(x, pinned));
            refused("make another with newStream()", () -> other.record(stream));
            refused("make another with newStream()", () -> device.on(stream, () -> addOne(x, x)));
            refused(
                    "make another with newStream()",
                    () -> device.on(stream, () -> device.allocate(DType.F32, 1 << 20)));
            refused("event of cuda:0 is closed", event::synchronize);
            refused("event of cuda:0 is closed", event::isDone);
            refused("event of cuda:0 is closed", () -> event.record(device.defaultStream()));
            refused("event of cuda:0 is closed", () -> event.millisecondsTo(other));
            refused("event of cuda:0 is closed", () -> other.millisecondsTo(event));
            refused("record it again", () -> graph.launch(Graph.Variables.NONE));
            // Closing is not refused, wherever the thread's work goes.
            long live = device.memory().liveBuffers();
            device.on(stream, made[0]::close);
            assertEquals(live - 1, device.memory().liveBuffers());
            assertArrayEquals(plus(counted(3), 1), read(x));
        }
    }

    @Test
    void streamsOfOthersAreNotClosed() {
        Device device = device();
        assertThrows(IllegalStateException.class, device.defaultStream()::close);
        try (Graph graph = device.record(() -> refused("belongs to the graph", device.currentStream()::close))) {
            assertEquals(0, graph.nodes());
        }
    }

    /** Work of a lost device is refused with the call that told of the loss first, whichever that was. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "cuEventRecord",
                "cuStreamWaitEvent",
                "cuEventSynchronize",
                "cuStreamSynchronize",
                "cuEventCreate"
            })
    void everyCallMayTellOfALostDevice(String call) {
        needsFake();
        Device device = device();
        try (Stream stream = device.newStream();
                Event event = device.newTimer()) {
            FakeCuda.fail(call, 1, FakeCuda.LAUNCH_FAILED);
            DeviceException first = assertThrows(DeviceException.class, () -> {
                stream.record().close();
                event.record(stream);
                stream.await(event);
                event.synchronize();
                stream.synchronize();
            });
            assertTrue(first.deviceLost(), first.getMessage());
            DeviceException later = assertThrows(DeviceException.class, () -> device.allocate(DType.F32, 10));
            assertTrue(
                    String.valueOf(later.getMessage()).startsWith("cuda:0, lost in " + call + ", failed: "),
                    later.getMessage());
            FakeCuda.reset();
            device.allocate(DType.F32, 10).close();
        }
    }

    /** Where no event can be had, the memory waits for its last use by itself. */
    @ParameterizedTest
    @ValueSource(strings = {"cuEventCreate", "cuEventRecord"})
    void memoryIsNotUsedTooSoonWhenEventsFail(String call) {
        needsFake();
        Device device = device();
        device.trim();
        float[] values = counted(1000);
        try (Buffer source = onDevice(values);
                Buffer result = device.allocate(DType.F32, values.length);
                Stream other = device.newStream()) {
            Buffer[] made = new Buffer[1];
            device.on(other, () -> made[0] = device.allocate(DType.F32, values.length));
            other.synchronize();
            addOne(source, made[0]);
            addOne(made[0], result);
            FakeCuda.fail(call, 0, NOT_SUPPORTED);
            made[0].close();
            FakeCuda.reset();
            device.on(other, () -> {
                try (Buffer next = device.allocate(DType.F32, values.length)) {
                    device.kernels().elementwise().fill(next, -1);
                }
                other.synchronize();
            });
            assertArrayEquals(plus(values, 2), read(result));
        }
    }
}
