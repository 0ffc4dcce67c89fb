package tessera.kernels.cuda;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
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
import tessera.kernels.Stream;
import tessera.kernels.cpu.HostMemory;

/** Memory, copies, threads and modules of a GPU. */
@Tag(FakeCuda.TAG)
class CudaDeviceTest extends OnCudaDevice {
    private static final int NO_BINARY_FOR_GPU = 209;

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
    void whetherThereIsAKernelIsNoFailure() {
        CudaModule module = new CudaModule((CudaDevice) device(), "random");
        assertFalse(module.has("nobody"));
        assertTrue(module.has("random_uniform_f32"));
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
        Device device = device();
        float[] values = counted(5000);
        try (Buffer pinned = device.allocatePinned(DType.F32, values.length);
                Buffer there = device.allocate(DType.F32, values.length);
                Stream copies = device.newStream();
                Event allocated = device.defaultStream().record()) {
            fill(pinned, values);
            copies.await(allocated);
            copies.copy(pinned, there);
            try (Event copied = copies.record()) {
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
        Device device = device();
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
        Device device = device();
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
        Device device = device();
        float[] values = counted(1000);
        try (Buffer source = onDevice(values);
                Buffer result = device.allocate(DType.F32, values.length);
                Stream other = device.newStream();
                Event ready = device.defaultStream().record()) {
            other.await(ready);
            for (int i = 0; i < 40; i++) {
                Buffer[] made = new Buffer[1];
                device.on(other, () -> {
                    made[0] = device.allocate(DType.F32, values.length);
                    addOne(source, made[0]);
                });
                try (Event done = other.record()) {
                    device.defaultStream().await(done);
                }
                addOne(made[0], result);
                // Its last use is on the default stream, so its own stream has to wait for that.
                made[0].close();
            }
            device.on(other, () -> {
                try (Buffer next = device.allocate(DType.F32, values.length)) {
                    device.kernels().elementwise().fill(next, -1);
                }
            });
            assertArrayEquals(plus(values, 2), read(result));
        }
    }

    @Test
    void memoryOutlivesItsStream() {
        Device device = device();
        Buffer[] made = new Buffer[1];
        try (Stream stream = device.newStream()) {
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
        Device device = device();
        device.trim();
        FakeCuda.fail("cuMemAllocFromPoolAsync", 1, FakeCuda.OUT_OF_MEMORY);
        try (Buffer buffer = device.allocate(DType.F32, 77_777)) {
            assertEquals(77_777, buffer.length());
        }
    }

    @Test
    void runningOutOfMemoryTellsTheAmounts() {
        needsFake();
        Device device = device();
        device.trim();
        Device.MemoryUse before = device.memory();
        FakeCuda.fail("cuMemAllocFromPoolAsync", 0, FakeCuda.OUT_OF_MEMORY);
        DeviceException e = assertThrows(DeviceException.class, () -> device.allocate(DType.F32, 1_000_000));
        assertTrue(
                requireNonNull(e.getMessage())
                        .startsWith("cuda:0: cannot allocate 4000000 bytes; " + before.live() + " bytes are live in "
                                + before.liveBuffers() + " buffers"),
                e.getMessage());
        assertTrue(e.getMessage().contains("smaller batch"), e.getMessage());
        assertTrue(e.outOfMemory() && !e.deviceLost(), e.getMessage());
        assertEquals(before, device.memory());
        FakeCuda.reset();
        device.allocate(DType.F32, 1_000_000).close();
    }

    @ParameterizedTest
    @ValueSource(strings = {"cuMemPoolCreate", "cuMemAllocFromPoolAsync"})
    void aDeviceWithoutPoolsWorks(String call, @TempDir Path temp) throws Exception {
        needsFake();
        List<String> options = List.of(
                "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"),
                "-Dtessera.cuda.cache=" + System.getProperty("tessera.cuda.cache", ""));
        String told = ChildJava.run(temp, options, Map.of(), 60, WithoutPools.class, call);
        assertTrue(told.contains("value 1.5, live bytes 0"), told);
    }

    /** A process of its own whose driver has no pools. */
    static final class WithoutPools {
        private WithoutPools() {}

        public static void main(String[] args) {
            FakeCuda.fail(args[0], 0, NOT_SUPPORTED);
            try (Buffer x = onDevice(counted(100));
                    Buffer y = device().allocate(DType.F32, 100)) {
                addOne(x, y);
                System.out.print("value " + read(y)[0]);
            }
            device().trim();
            System.out.println(", live bytes " + FakeCuda.liveBytes());
        }
    }

    // ----------------------------------------------------------------------------------------------------- threads

    @Test
    @SuppressWarnings("ThreadPriorityCheck") // gives the others a chance to come between; nothing relies on it
    void threadsShareTheDevice() throws Exception {
        Device device = device();
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

    // ------------------------------------------------------------------------------------------- modules, launches

    @Test
    void sourcesAreCompiledOnceAndKept(@TempDir Path cache) throws IOException {
        needsFake();
        Device device = device();
        device.makeCurrent();
        boolean cubin = CudaCode.class.getResource("norms.sm_80.cubin") != null;
        String before = System.getProperty(CudaCode.CACHE_PROPERTY);
        System.setProperty(CudaCode.CACHE_PROPERTY, cache.toString());
        try {
            for (int run = 0; run < 3; run++) {
                if (run == 2) {
                    Files.writeString(kept(cache), "cut");
                }
                if (cubin) {
                    FakeCuda.fail("cuModuleLoadData", 1, NO_BINARY_FOR_GPU);
                }
                assertTrue(CudaCode.load((CudaDevice) device, "norms").module() != 0);
                assertTrue(kept(cache).getFileName().toString().startsWith("norms.sm_80."));
                assertTrue(Files.size(kept(cache)) > 100);
                assertEquals(run < 2 ? 1 : 2, FakeCuda.calls("nvrtcCompileProgram"), "after run " + run);
            }
        } finally {
            if (before == null) {
                System.clearProperty(CudaCode.CACHE_PROPERTY);
            } else {
                System.setProperty(CudaCode.CACHE_PROPERTY, before);
            }
        }
    }

    /** Four processes that need the same machine code at once wait for the one that compiles it. */
    @Test
    void severalProcessesCompileOnce(@TempDir Path temp) throws Exception {
        needsFake();
        Path cache = Files.createDirectory(temp.resolve("cache"));
        List<String> options = List.of(
                "-Dtessera.cuda.dir=" + System.getProperty("tessera.cuda.dir"), "-Dtessera.cuda.cache=" + cache);
        try (ExecutorService threads = Executors.newFixedThreadPool(4)) {
            List<Future<String>> processes = IntStream.range(0, 4)
                    .mapToObj(i -> threads.submit(() -> ChildJava.run(
                            Files.createDirectory(temp.resolve("process" + i)),
                            options,
                            Map.of("TESSERA_FAKE_COMPILE_MS", "1500"),
                            60,
                            LoadCode.class)))
                    .toList();
            int compiled = 0;
            for (Future<String> process : processes) {
                compiled += process.get().contains("loaded from NVRTC\n") ? 1 : 0;
                assertTrue(process.get().contains("loaded from "), process.get());
            }
            assertEquals(1, compiled);
        }
        assertTrue(kept(cache).getFileName().toString().startsWith("norms.sm_80."));
    }

    /** One of those processes, on a driver that refuses the cubins of the jar. */
    static final class LoadCode {
        private LoadCode() {}

        public static void main(String[] args) {
            CudaDevice device = (CudaDevice) device();
            device.makeCurrent();
            if (CudaCode.class.getResource("norms.sm_80.cubin") != null) {
                FakeCuda.fail("cuModuleLoadData", 1, NO_BINARY_FOR_GPU);
            }
            System.out.println("loaded from " + CudaCode.load(device, "norms").from());
        }
    }

    @Test
    void allKernelsAreMadeReadyAheadOrSaidToBeLeft() {
        needsFake();
        Device device = device();
        device.prepare(Duration.ofMinutes(1));
        String again = device.prepare(Duration.ofMinutes(1));
        assertTrue(again.startsWith("all from the "), again);
        assertEquals(2L * CudaCode.SOURCES.size(), FakeCuda.calls("cuModuleUnload"), "nothing stays loaded twice");
        assertEquals("all left for its first use", device.prepare(Duration.ZERO));
        assertEquals("in Java", Device.cpu().prepare(Duration.ZERO));
    }

    private static Path kept(Path cache) throws IOException {
        try (java.util.stream.Stream<Path> files = Files.list(cache)) {
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
        DeviceException parameters = assertThrows(
                DeviceException.class, () -> function.begin().i32(1).launch(1, 32, 0));
        assertTrue(String.valueOf(parameters.getMessage()).contains("of " + function), parameters.getMessage());
    }

    /** As the driver tells the size of a kernel's struct, every launch of every test compares it with what Java wrote. */
    @Test
    void parametersThatDoNotFillTheStructAreRefused() {
        needsFake();
        long asked = FakeCuda.calls("cuFuncGetParamInfo");
        CudaFunction function = anyFunction(); // i64, i64, u32 and what fills them up
        long launches = FakeCuda.calls("cuLaunchKernel");
        for (int written : new int[] {2, 4}) {
            CudaLaunch wrong = function.begin();
            for (int i = 0; i < written; i++) {
                wrong.i64(i);
            }
            DeviceException e = assertThrows(DeviceException.class, () -> wrong.launch(1, 32, 0));
            assertTrue(
                    String.valueOf(e.getMessage()).startsWith("the parameters of fill_4 take 24 bytes"),
                    e.getMessage());
            assertFalse(e.deviceLost(), e.getMessage());
        }
        assertEquals(launches, FakeCuda.calls("cuLaunchKernel"));
        // Once: behind the last parameter the driver answers with an error, which compute-sanitizer reports.
        assertEquals(asked + 1, FakeCuda.calls("cuFuncGetParamInfo"));
    }

    private static CudaFunction anyFunction() {
        return new CudaModule((CudaDevice) device(), "elementwise").function("fill_4");
    }

    @Test
    void whatBelongsToAnotherKindOfDeviceIsRefused() {
        Device device = device();
        try (Stream stream = device.newStream();
                Event event = device.newTimer();
                Stream foreign = Device.cpu().newStream();
                Event mark = Device.cpu().newTimer()) {
            refusedArgument("is no stream of cuda:0", () -> device.on(foreign, () -> {}));
            refusedArgument("is no stream of a GPU", () -> event.record(foreign));
            refusedArgument("an event of another kind of device", () -> stream.await(mark));
            refusedArgument("an event of another kind of device", () -> event.millisecondsTo(mark));
            refusedArgument(
                    "wrap it on Device.cpu() and copy it",
                    () -> device.wrap(DType.F32, Arena.ofAuto().allocate(8)));
        }
        assertFalse(device.isHost());
        assertTrue(device.records());
        assertEquals(1, device.threads());
    }

    private static void refusedArgument(String text, Runnable use) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, use::run);
        assertTrue(String.valueOf(e.getMessage()).contains(text), e.getMessage());
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
