package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.FakeCuda;
import tessera.natives.cuda.CudaException;
import tessera.tensor.TestDevices;

/** Memory, copies, streams, graphs and modules of a GPU. */
@Tag(FakeCuda.TAG)
class CudaDeviceTest {
    private static final int NO_BINARY_FOR_GPU = 209;
    private static final int NOT_SUPPORTED = 801;

    @BeforeAll
    static void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    private static void needsFake() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
    }

    @AfterEach
    void forgetFailures() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    private static CudaDevice device() {
        return Device.cuda(0);
    }

    private static float[] counted(int n) {
        float[] values = new float[n];
        for (int i = 0; i < n; i++) {
            values[i] = i + .5f;
        }
        return values;
    }

    private static float[] plus(float[] values, float more) {
        float[] sums = new float[values.length];
        for (int i = 0; i < values.length; i++) {
            sums[i] = values[i] + more;
        }
        return sums;
    }

    private static Buffer onHost(float... values) {
        Buffer buffer = Device.cpu().allocate(DType.F32, values.length);
        fill(buffer, values);
        return buffer;
    }

    private static void fill(Buffer host, float... values) {
        MemorySegment.copy(values, 0, host.segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
    }

    private static Buffer onDevice(float... values) {
        try (Buffer host = onHost(values)) {
            Buffer buffer = device().allocate(DType.F32, values.length);
            host.copyTo(buffer);
            return buffer;
        }
    }

    private static float[] read(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(DType.F32, buffer.length())) {
            buffer.copyTo(host);
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    private static void addOne(Buffer x, Buffer y) {
        device().kernels().affine(x, 1, 1, y);
    }

    // ------------------------------------------------------------------------------------------------------ copies

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 7, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, (3 << 20) + 5})
    void copiesArriveWhole(int n) {
        float[] values = counted(n);
        try (Buffer there = onDevice(values);
                Buffer copy = device().allocate(DType.F32, n);
                Buffer pinned = device().allocatePinned(DType.F32, n);
                Buffer again = device().allocate(DType.F32, n)) {
            assertArrayEquals(values, read(there));
            there.copyTo(copy);
            copy.copyTo(pinned);
            assertArrayEquals(values, pinned.segment().toArray(ValueLayout.JAVA_FLOAT));
            pinned.copyTo(again);
            fill(pinned, new float[n]);
            assertArrayEquals(values, read(again));
        }
    }

    @Test
    void slicesCopyTheirOwnElements() {
        try (Buffer there = onDevice(counted(10))) {
            assertArrayEquals(new float[] {3.5f, 4.5f}, read(there.slice(3, 2)));
        }
    }

    @Test
    void copiesOfOtherSizesAreRefused() {
        try (Buffer there = onDevice(counted(10));
                Buffer host = onHost(1, 2)) {
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> host.copyTo(there));
            assertTrue(String.valueOf(e.getMessage()).contains("f32[2] on cpu"), e.getMessage());
        }
    }

    @Test
    void hostMemoryOfTheGpuIsNotReachable() {
        try (Buffer there = onDevice(1)) {
            IllegalStateException e = assertThrows(IllegalStateException.class, there::segment);
            assertTrue(String.valueOf(e.getMessage()).contains("copy it to the CPU first"), e.getMessage());
        }
    }

    @Test
    void copiesFromPinnedMemoryOverlapAndAreOrderedByEvents() {
        CudaDevice device = device();
        float[] values = counted(5000);
        try (Buffer pinned = device.allocatePinned(DType.F32, values.length);
                Buffer there = device.allocate(DType.F32, values.length);
                CudaStream copies = device.newStream();
                CudaEvent allocated = device.defaultStream().record()) {
            fill(pinned, values);
            copies.await(allocated);
            copies.copy(pinned, there);
            try (CudaEvent copied = copies.record()) {
                device.defaultStream().await(copied);
                addOne(there, there);
                assertArrayEquals(plus(values, 1), read(there));
                assertTrue(copied.isDone());
            }
        }
    }

    @Test
    void asynchronousCopiesNeedPinnedMemory() {
        try (Buffer host = onHost(1);
                Buffer there = onDevice(2)) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class,
                    () -> device().defaultStream().copy(host, there));
            assertTrue(String.valueOf(e.getMessage()).contains("allocatePinned"), e.getMessage());
        }
    }

    // ------------------------------------------------------------------------------------------------------ memory

    @Test
    void freedMemoryIsUsedAgainWithoutTheDriver() {
        needsFake();
        CudaDevice device = device();
        assumeTrue(!HostMemory.DEBUG);
        device.allocate(DType.F32, 1000).close();
        long calls = FakeCuda.calls("cuMemAllocFromPoolAsync");
        Device.MemoryUse before = device.memory();
        for (int i = 0; i < 100; i++) {
            try (Buffer buffer = device.allocate(DType.F32, 1000)) {
                assertEquals(
                        before.liveBuffers() + 1, device.memory().liveBuffers(), () -> "with " + buffer + " allocated");
            }
        }
        assertEquals(calls, FakeCuda.calls("cuMemAllocFromPoolAsync"));
        assertEquals(before, device.memory());
    }

    @Test
    void trimGivesEverythingBack() {
        needsFake();
        CudaDevice device = device();
        device.trim();
        long bytes = FakeCuda.liveBytes();
        try (Buffer kept = device.allocate(DType.F32, 5_000_000)) {
            device.allocate(DType.F32, 9_000_000).close();
            device.trim();
            assertEquals(0, device.memory().pooled());
            assertTrue(FakeCuda.liveBytes() >= bytes + kept.byteSize());
        }
        device.trim();
        assertEquals(bytes, FakeCuda.liveBytes());
    }

    @Test
    void closingTwiceFreesOnce() {
        Buffer buffer = device().allocate(DType.F32, 10);
        long live = device().memory().liveBuffers();
        buffer.close();
        buffer.close();
        assertEquals(live - 1, device().memory().liveBuffers());
    }

    @Test
    void memoryFreedOnAnotherStreamIsNotOverwrittenTooSoon() {
        CudaDevice device = device();
        float[] values = counted(1000);
        try (Buffer source = onDevice(values);
                Buffer result = device.allocate(DType.F32, values.length);
                CudaStream other = device.newStream();
                CudaEvent ready = device.defaultStream().record()) {
            other.await(ready);
            for (int i = 0; i < 40; i++) {
                Buffer[] made = new Buffer[1];
                device.on(other, () -> {
                    made[0] = device.allocate(DType.F32, values.length);
                    addOne(source, made[0]);
                });
                try (CudaEvent done = other.record()) {
                    device.defaultStream().await(done);
                }
                addOne(made[0], result);
                // Its last use is on the default stream, so its own stream has to wait for that.
                made[0].close();
            }
            device.on(other, () -> {
                try (Buffer next = device.allocate(DType.F32, values.length)) {
                    device.kernels().fill(next, -1);
                }
            });
            assertArrayEquals(plus(values, 2), read(result));
        }
    }

    @Test
    void memoryOutlivesItsStream() {
        CudaDevice device = device();
        Buffer[] made = new Buffer[1];
        try (CudaStream stream = device.newStream()) {
            device.on(stream, () -> made[0] = onDevice(1, 2, 3));
        }
        assertArrayEquals(new float[] {1, 2, 3}, read(made[0]));
        long live = device.memory().liveBuffers();
        made[0].close();
        assertEquals(live - 1, device.memory().liveBuffers());
    }

    @Test
    void wrappedMemoryIsNotCopiedNorFreed() {
        try (Buffer owner = onDevice(1, 2, 3)) {
            Buffer view = device().wrap(DType.F32, owner.address() + 4, 2);
            addOne(view, view);
            view.close();
            assertArrayEquals(new float[] {1, 3, 4}, read(owner));
            assertThrows(IllegalArgumentException.class, () -> device().wrap(DType.F32, owner.address() + 2, 1));
        }
    }

    @Test
    void anotherTryFollowsWhenMemoryRunsOut() {
        needsFake();
        CudaDevice device = device();
        device.trim();
        FakeCuda.fail("cuMemAllocFromPoolAsync", 1, FakeCuda.OUT_OF_MEMORY);
        try (Buffer buffer = device.allocate(DType.F32, 77_777)) {
            assertEquals(77_777, buffer.length());
        }
    }

    @Test
    void runningOutOfMemoryTellsTheAmounts() {
        needsFake();
        CudaDevice device = device();
        device.trim();
        Device.MemoryUse before = device.memory();
        FakeCuda.fail("cuMemAllocFromPoolAsync", 0, FakeCuda.OUT_OF_MEMORY);
        OutOfMemoryError e = assertThrows(OutOfMemoryError.class, () -> device.allocate(DType.F32, 1_000_000));
        assertTrue(
                e.getMessage()
                        .startsWith("cuda:0: cannot allocate 4000000 bytes; " + before.live() + " bytes are live in "
                                + before.liveBuffers() + " buffers"),
                e.getMessage());
        assertTrue(e.getMessage().contains("smaller batch"), e.getMessage());
        assertEquals(before, device.memory());
        FakeCuda.reset();
        device.allocate(DType.F32, 1_000_000).close();
    }

    // ----------------------------------------------------------------------------------------------------- threads

    @Test
    void threadsShareTheDevice() throws Exception {
        CudaDevice device = device();
        try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
            List<Future<float[]>> results = IntStream.range(0, 24)
                    .mapToObj(i -> threads.submit(() -> {
                        try (Buffer x = onDevice(plus(counted(300), i));
                                Buffer y = device.allocate(DType.F32, 300)) {
                            addOne(x, y);
                            Thread.yield();
                            return read(y);
                        }
                    }))
                    .toList();
            for (int i = 0; i < results.size(); i++) {
                assertArrayEquals(plus(counted(300), i + 1), results.get(i).get());
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------ graphs

    @Test
    void aGraphRunsAgainOnNewValues() {
        CudaDevice device = device();
        try (Buffer input = onDevice(counted(1000))) {
            addOne(input, input); // so that the module is loaded
            Buffer[] made = new Buffer[1];
            long live = device.memory().live();
            try (CudaGraph graph = CudaGraph.capture(device, () -> {
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
                    graph.launch();
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
        CudaDevice device = device();
        device.trim();
        long handles = liveHandles();
        try (Buffer host = onHost(counted(10));
                Buffer there = onDevice(counted(10))) {
            IllegalStateException e = assertThrows(
                    IllegalStateException.class, () -> CudaGraph.capture(device, () -> host.copyTo(there)));
            assertTrue(String.valueOf(e.getMessage()).contains("inside a graph"), e.getMessage());
            assertThrows(IllegalStateException.class, () -> CudaGraph.capture(device, () -> there.copyTo(host)));
            assertThrows(
                    CudaException.class,
                    () -> CudaGraph.capture(device, () -> device.currentStream().synchronize()));
            assertThrows(
                    ArithmeticException.class,
                    () -> CudaGraph.capture(device, () -> {
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
        CudaDevice device = device();
        try (Buffer made = device.allocate(DType.F32, 100);
                Buffer expected = device.allocate(DType.F32, 100);
                CudaStream one = device.newStream();
                CudaStream two = device.newStream()) {
            device.kernels().randomUniform(7, 0, 0, 1, expected);
            device.kernels().randomUniform(7, 0, 0, 1, made);
            device.synchronize();
            try (CudaGraph graph =
                    CudaGraph.capture(device, () -> device.kernels().randomUniform(0, 0, 0, 1, made))) {
                device.on(one, () -> graph.launch(CudaGraph.Variables.ofSeed(3)));
                device.on(two, () -> graph.launch(CudaGraph.Variables.ofSeed(7)));
                // The later one ends later, whichever is waited for first.
                two.synchronize();
                one.synchronize();
                assertArrayEquals(read(expected), read(made));
            }
        }
    }

    @Test
    void aGraphDoesNotNestAndTheOtherOneGoesOn() {
        CudaDevice device = device();
        try (Buffer x = onDevice(counted(10));
                Buffer y = onDevice(counted(10))) {
            addOne(x, x);
            try (CudaGraph inner = CudaGraph.capture(device, () -> addOne(y, y));
                    CudaGraph outer = CudaGraph.capture(device, () -> {
                        addOne(x, x);
                        IllegalStateException e = assertThrows(IllegalStateException.class, inner::launch);
                        assertTrue(
                                String.valueOf(e.getMessage()).contains("while another is recorded"), e.getMessage());
                        addOne(x, x);
                    })) {
                outer.launch();
                inner.launch();
                assertArrayEquals(plus(counted(10), 3), read(x));
                assertArrayEquals(plus(counted(10), 1), read(y));
            }
        }
    }

    /** On a GPU a wait for the whole device would break the recording off, whichever thread asks. */
    @Test
    void theDeviceIsNotWaitedForWhileAGraphIsRecorded() throws Exception {
        CudaDevice device = device();
        try (Buffer x = onDevice(counted(10));
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            try (CudaGraph graph = CudaGraph.capture(device, () -> {
                IllegalStateException mine = assertThrows(IllegalStateException.class, device::synchronize);
                assertTrue(String.valueOf(mine.getMessage()).contains("while a graph is recorded"), mine.getMessage());
                ExecutionException others = assertThrows(
                        ExecutionException.class,
                        () -> thread.submit(device::synchronize).get());
                assertTrue(others.getCause() instanceof IllegalStateException, others.toString());
                addOne(x, x);
            })) {
                device.synchronize();
                graph.launch();
                device.synchronize();
            }
            assertArrayEquals(plus(counted(10), 2), read(x));
        }
    }

    @Test
    void otherThreadsWorkAndTrimWhileAGraphIsRecorded() {
        CudaDevice device = device();
        try (Buffer x = onDevice(counted(10));
                Buffer y = onDevice(counted(10));
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            CudaGraph alone = CudaGraph.capture(device, () -> addOne(x, x));
            long nodes = alone.nodes();
            alone.close();
            try (CudaGraph graph = CudaGraph.capture(device, () -> {
                Future<?> other = thread.submit(() -> {
                    try (CudaStream stream = device.newStream()) {
                        device.on(stream, () -> device.allocate(DType.F32, 99).close());
                    }
                    addOne(y, y);
                    device.trim();
                });
                assertDoesNotThrow(() -> other.get());
                addOne(x, x);
            })) {
                assertEquals(nodes, graph.nodes());
                graph.launch();
            }
            assertArrayEquals(plus(counted(10), 2), read(x));
            assertArrayEquals(plus(counted(10), 1), read(y));
        }
    }

    /** Neither their poisoning nor their freeing becomes part of the graph. */
    @Test
    void buffersMadeBeforeMayBeClosedWhileAGraphIsRecorded() {
        CudaDevice device = device();
        try (Buffer x = onDevice(counted(10))) {
            addOne(x, x);
            CudaGraph alone = CudaGraph.capture(device, () -> addOne(x, x));
            long nodes = alone.nodes();
            alone.close();
            device.trim();
            long bytes = FakeCuda.present() ? FakeCuda.liveBytes() : 0;
            Buffer[] made = new Buffer[3];
            made[0] = device.allocate(DType.F32, 1000);
            try (CudaStream open = device.newStream()) {
                try (CudaStream gone = device.newStream()) {
                    device.on(gone, () -> made[1] = device.allocate(DType.F32, 1000));
                }
                device.on(open, () -> made[2] = device.allocate(DType.F32, 1000));
                try (CudaGraph graph = CudaGraph.capture(device, () -> {
                    addOne(x, x);
                    for (Buffer buffer : made) {
                        buffer.close();
                    }
                })) {
                    assertEquals(nodes, graph.nodes());
                    graph.launch();
                    graph.launch();
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
        CudaDevice device = device();
        try (Buffer x = onDevice(counted(3));
                Buffer pinned = device.allocatePinned(DType.F32, 3);
                CudaEvent other = new CudaEvent(device, true);
                ExecutorService thread = Executors.newSingleThreadExecutor()) {
            addOne(x, x);
            CudaStream stream = device.newStream();
            CudaEvent event = new CudaEvent(device, true);
            CudaGraph graph = CudaGraph.capture(device, () -> addOne(x, x));
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
            refused("capture it again", graph::launch);
            // Closing is not refused, wherever the thread's work goes.
            long live = device.memory().liveBuffers();
            device.on(stream, made[0]::close);
            assertEquals(live - 1, device.memory().liveBuffers());
            assertArrayEquals(plus(counted(3), 1), read(x));
        }
    }

    private static void refused(String remedy, Runnable use) {
        IllegalStateException e = assertThrows(IllegalStateException.class, use::run);
        assertTrue(String.valueOf(e.getMessage()).contains(remedy), e.getMessage());
    }

    @Test
    void streamsOfOthersAreNotClosed() {
        CudaDevice device = device();
        assertThrows(IllegalStateException.class, device.defaultStream()::close);
        try (CudaGraph graph =
                CudaGraph.capture(device, () -> refused("belongs to the graph", device.currentStream()::close))) {
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
        CudaDevice device = device();
        try (CudaStream stream = device.newStream();
                CudaEvent event = new CudaEvent(device, false)) {
            FakeCuda.fail(call, 1, FakeCuda.LAUNCH_FAILED);
            CudaException first = assertThrows(CudaException.class, () -> {
                stream.record().close();
                event.record(stream);
                stream.await(event);
                event.synchronize();
                stream.synchronize();
            });
            assertTrue(first.deviceLost(), first.getMessage());
            CudaException later = assertThrows(CudaException.class, () -> device.allocate(DType.F32, 10));
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
        CudaDevice device = device();
        device.trim();
        float[] values = counted(1000);
        try (Buffer source = onDevice(values);
                Buffer result = device.allocate(DType.F32, values.length);
                CudaStream other = device.newStream()) {
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
                    device.kernels().fill(next, -1);
                }
                other.synchronize();
            });
            assertArrayEquals(plus(values, 2), read(result));
        }
    }

    // ------------------------------------------------------------------------------------------- modules, launches

    @Test
    void sourcesAreCompiledOnceAndKept(@TempDir Path cache) throws IOException {
        needsFake();
        CudaDevice device = device();
        device.makeCurrent();
        boolean cubin = CudaImages.class.getResource("cuda/norms.sm_80.cubin") != null;
        String before = System.getProperty(CudaImages.CACHE_PROPERTY);
        System.setProperty(CudaImages.CACHE_PROPERTY, cache.toString());
        try {
            for (int run = 0; run < 3; run++) {
                if (run == 2) {
                    Files.writeString(kept(cache), "cut");
                }
                if (cubin) {
                    FakeCuda.fail("cuModuleLoadData", 1, NO_BINARY_FOR_GPU);
                }
                assertTrue(CudaImages.load(device, "norms") != 0);
                assertTrue(kept(cache).getFileName().toString().startsWith("norms.sm_80."));
                assertTrue(Files.size(kept(cache)) > 100);
                assertEquals(run < 2 ? 1 : 2, FakeCuda.calls("nvrtcCompileProgram"), "after run " + run);
            }
        } finally {
            if (before == null) {
                System.clearProperty(CudaImages.CACHE_PROPERTY);
            } else {
                System.setProperty(CudaImages.CACHE_PROPERTY, before);
            }
        }
    }

    private static Path kept(Path cache) throws IOException {
        try (Stream<Path> files = Files.list(cache)) {
            return files.reduce((a, b) -> {
                        throw new AssertionError(a + " and " + b);
                    })
                    .orElseThrow();
        }
    }

    @Test
    void aGridOfNothingIsNoLaunch() {
        needsFake();
        CudaFunction function = anyFunction();
        long calls = FakeCuda.calls("cuLaunchKernel");
        function.begin().i64(1).launch(0, 256, 0);
        assertEquals(calls, FakeCuda.calls("cuLaunchKernel"));
    }

    @Test
    void launchesThatCannotBeAreRefusedByName() {
        CudaFunction function = anyFunction();
        IllegalArgumentException grid = assertThrows(
                IllegalArgumentException.class, () -> function.begin().launch(1, 70_000, 1, 256, 0));
        assertTrue(String.valueOf(grid.getMessage()).startsWith(function + ": a grid of"), grid.getMessage());
        IllegalArgumentException shared = assertThrows(
                IllegalArgumentException.class, () -> function.begin().launch(1, 256, 1 << 20));
        assertTrue(String.valueOf(shared.getMessage()).contains("shared memory"), shared.getMessage());
        needsFake(); // a real driver need not see it
        CudaException parameters =
                assertThrows(CudaException.class, () -> function.begin().i32(1).launch(1, 32, 0));
        assertTrue(String.valueOf(parameters.getMessage()).contains("of " + function), parameters.getMessage());
    }

    private static CudaFunction anyFunction() {
        return device().module("elementwise").function("fill_4");
    }

    @Test
    void devicesThatAreNotThereAreRefused() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> Device.parse("cuda:63"));
        assertTrue(
                String.valueOf(e.getMessage()).startsWith("device cuda:63 is not available: the driver sees "),
                e.getMessage());
        assertEquals(device(), Device.parse("cuda"));
        assertEquals(device(), Device.parse("cuda:0"));
        assertFalse(device().describe().isEmpty());
    }
}
