package tessera.kernels.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.FakeCuda;
import tessera.kernels.Buffer;
import tessera.kernels.Communicator;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Graph;
import tessera.kernels.Stream;
import tessera.natives.cuda.CudaException;
import tessera.natives.cuda.Nccl;
import tessera.tensor.TestDevices;

/** Two GPUs add up what each has; what fails on one does not leave the other waiting. */
@Tag(FakeCuda.TAG)
class CudaCommunicatorTest {
    private static final int COUNT = 1000;
    /** One for each device, however few processors there are. */
    private static final Executor THREADS = work -> Thread.ofPlatform().daemon().start(work);

    private List<Device> devices = List.of();

    @BeforeEach
    void start() {
        devices = TestDevices.two();
    }

    @AfterEach
    void end() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    private static float value(int rank, int i) {
        return (rank + 1) / (i + 3f);
    }

    private static Buffer values(Device device, int rank) {
        float[] values = new float[COUNT];
        for (int i = 0; i < COUNT; i++) {
            values[i] = value(rank, i);
        }
        Buffer buffer = device.allocate(DType.F32, COUNT);
        try (Buffer host = Device.cpu().allocate(DType.F32, COUNT)) {
            host.segment().copyFrom(MemorySegment.ofArray(values));
            host.copyTo(buffer);
        }
        return buffer;
    }

    private static float[] read(Buffer buffer) {
        try (Buffer host = Device.cpu().allocate(DType.F32, buffer.length())) {
            buffer.copyTo(host);
            return host.segment().toArray(ValueLayout.JAVA_FLOAT);
        }
    }

    /** Sums one after the other, the last of them recorded and launched twice. */
    private static float[] sums(Communicator communicator, Device device) {
        try (Stream stream = device.newStream();
                Buffer values = values(device, communicator.rank())) {
            device.defaultStream().synchronize();
            communicator.sum(values, stream);
            stream.synchronize();
            try (Graph graph = device.record(() -> communicator.sum(values, device.currentStream()))) {
                device.on(stream, () -> {
                    graph.launch(Graph.Variables.NONE);
                    graph.launch(Graph.Variables.NONE);
                });
                stream.synchronize();
            }
            return read(values);
        }
    }

    @Test
    void everyDeviceGetsTheSumOfAll() {
        for (Device device : devices) { // which keep pinned memory from their first copies on
            try (Buffer values = values(device, 0)) {
                read(values);
            }
        }
        long before = FakeCuda.liveHandles();
        List<Communicator> group = Communicator.of(devices);
        List<CompletableFuture<float[]>> results = new ArrayList<>();
        for (int rank = 0; rank < 2; rank++) {
            Communicator communicator = group.get(rank);
            Device device = devices.get(rank);
            assertEquals(rank, communicator.rank());
            assertEquals(2, communicator.size());
            results.add(CompletableFuture.supplyAsync(() -> sums(communicator, device), THREADS));
        }
        float[] expected = new float[COUNT];
        for (int i = 0; i < COUNT; i++) {
            expected[i] = 4 * (value(0, i) + value(1, i));
        }
        for (CompletableFuture<float[]> result : results) {
            assertArrayEquals(expected, result.join());
        }
        group.forEach(Communicator::close);
        group.forEach(Communicator::close);
        assertEquals(before, FakeCuda.liveHandles());
    }

    @Test
    void abortEndsWhatWaits() {
        List<Communicator> group = Communicator.of(devices);
        Device first = devices.getFirst();
        try (Stream stream = first.newStream();
                Buffer values = values(first, 0)) {
            first.defaultStream().synchronize();
            group.getFirst().sum(values, stream);
            CompletableFuture<Void> waits = CompletableFuture.runAsync(stream::synchronize, THREADS);
            group.getLast().abort();
            waits.join();
            Exception refused = assertThrows(
                    IllegalStateException.class, () -> group.getFirst().sum(values, stream));
            assertEquals(
                    "cuda:0 no longer adds up with others, because another device failed; see its error",
                    refused.getMessage());
        }
        group.forEach(Communicator::abort);
        group.forEach(Communicator::close);
    }

    @Test
    void whatCannotBeAddedUpIsRefused() {
        Device first = devices.getFirst();
        refused("devices cuda:0 are no group; name two or more", () -> Communicator.of(List.of(first)));
        refused("devices cuda:0,cuda:0 are no group", () -> Device.parseAll("cuda:0,cuda:0"));
        refused(
                "devices cpu,cuda:0 cannot share work; pass GPUs such as cuda:0,cuda:1",
                () -> Device.parseAll("cpu,cuda:0"));
        refused("devices cuda:0,cpu cannot share work", () -> Device.parseAll("cuda:0,cpu"));
        refused("unknown device ''; pass auto, cpu or cuda:N", () -> Device.parseAll("cuda:0,"));
        refused("device cuda:7 is not available: the driver sees 2 devices", () -> Device.parseAll("cuda:0,cuda:7"));
        assertEquals(devices, Device.parseAll("cuda:0,cuda:1"));
        assertEquals(List.of(Device.cpu()), Device.parseAll("cpu"));
        List<Communicator> group = Communicator.of(devices);
        Communicator own = group.getFirst();
        try (Buffer integers = first.allocate(DType.I32, 4);
                Buffer elsewhere = devices.getLast().allocate(DType.F32, 4);
                Buffer good = first.allocate(DType.F32, 4)) {
            refused("sum: i32[4] on cuda:0", () -> own.sum(integers, first.defaultStream()));
            refused("sum: f32[4] on cuda:1", () -> own.sum(elsewhere, first.defaultStream()));
            refused(
                    "pass f32 and a stream of cuda:0",
                    () -> own.sum(good, devices.getLast().defaultStream()));
            FakeCuda.fail("ncclAllReduce", 1, 1);
            DeviceException failed = assertThrows(DeviceException.class, () -> own.sum(good, first.defaultStream()));
            assertTrue(
                    String.valueOf(failed.getMessage())
                            .startsWith("ncclAllReduce failed: ncclUnhandledCudaError (1), unhandled cuda error"),
                    failed.getMessage());
            group.forEach(Communicator::close);
            Exception closed = assertThrows(IllegalStateException.class, () -> own.sum(good, first.defaultStream()));
            assertEquals("a communicator of cuda:0 is closed; make another", closed.getMessage());
        }
    }

    private static void refused(String start, Runnable body) {
        Exception e = assertThrows(IllegalArgumentException.class, body::run);
        assertTrue(String.valueOf(e.getMessage()).contains(start), e.getMessage());
    }

    @Test
    void theLibraryRefusesWhatItDoesNotKnow() {
        assertEquals(22703, Nccl.version());
        assertEquals(
                5,
                assertThrows(CudaException.class, () -> Nccl.commInitAll(0, 0)).code());
        assertEquals(
                4,
                assertThrows(CudaException.class, () -> Nccl.commInitAll(0, 2)).code());
        long[] group = Nccl.commInitAll(0, 1);
        try (Buffer values = devices.getFirst().allocate(DType.F32, 4)) {
            long address = values.address();
            long stream = devices.getFirst().defaultStream().handle();
            for (int[] wrong : new int[][] {{99, Nccl.SUM}, {Nccl.FLOAT32, 9}}) {
                CudaException e = assertThrows(
                        CudaException.class,
                        () -> Nccl.allReduce(address, address, 4, wrong[0], wrong[1], group[0], stream));
                assertEquals("ncclInvalidArgument", e.codeName());
            }
            CudaException e = assertThrows(
                    CudaException.class, () -> Nccl.allReduce(0, address, 4, Nccl.FLOAT32, Nccl.SUM, group[0], stream));
            assertEquals(4, e.code());
        }
        for (long communicator : group) {
            Nccl.commDestroy(communicator);
            assertThrows(CudaException.class, () -> Nccl.commAbort(communicator));
        }
    }
}
