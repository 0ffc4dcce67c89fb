package tessera.kernels.cpu.device;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import tessera.kernels.Attention.AttentionShape;
import tessera.kernels.Attention.AttentionTensors;
import tessera.kernels.Attention.Strides;
import tessera.kernels.Buffer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Elementwise.UnaryOp;
import tessera.kernels.Graph;
import tessera.kernels.Graph.Variables;
import tessera.kernels.Matmul;
import tessera.kernels.Optimiser.AdamWStep;
import tessera.kernels.Optimiser.AdamWTensors;
import tessera.kernels.RandomOps.RandomStream;

/** Graphs of the CPU: what they do again, where their memory lies, and what they refuse. */
class HostGraphTest {
    private static final int COUNT = 70;

    private final Device device = Device.cpu(2);

    private static float[] values(Buffer buffer) {
        return buffer.segment().toArray(ValueLayout.JAVA_FLOAT);
    }

    private Buffer filled(float first) {
        Buffer buffer = device.allocate(DType.F32, COUNT);
        for (int i = 0; i < COUNT; i++) {
            buffer.segment().setAtIndex(ValueLayout.JAVA_FLOAT, i, first + i / 8f);
        }
        return buffer;
    }

    @Test
    void nothingRunsBeforeALaunchAndEachLaunchReadsWhatIsThereThen() {
        try (Buffer x = filled(1);
                Buffer y = filled(0);
                Graph graph = device.record(() -> {
                    try (Buffer middle = device.allocate(DType.F32, COUNT)) {
                        device.kernels().elementwise().affine(x, 2, 0, middle);
                        device.kernels().elementwise().affine(middle, 1, 1, y);
                    }
                })) {
            assertEquals(2, graph.nodes());
            assertEquals(0, values(y)[0]);
            graph.launch(Variables.NONE);
            assertEquals(3, values(y)[0]);
            MemorySegment.copy(filled(5).segment(), 0, x.segment(), 0, x.byteSize());
            graph.launch(Variables.NONE);
            assertEquals(11, values(y)[0]);
        }
    }

    @Test
    void launchesDifferInSeedStreamRateAndStep() {
        AdamWStep recorded = new AdamWStep(9, .9, .999, 1e-8, 9, null);
        AdamWStep direct = new AdamWStep(.25, .9, .999, 1e-8, 3, null);
        Buffer[][] sets = new Buffer[2][];
        for (int i = 0; i < 2; i++) {
            sets[i] = new Buffer[] {filled(1), filled(-3), filled(.5f), filled(.125f), filled(0)};
        }
        try (Graph graph = device.record(() -> {
            adamW(sets[0], recorded);
            device.kernels().random().randomUniform(new RandomStream(3, 5), 0, 1, sets[0][4]);
        })) {
            graph.launch(new Variables(4, 7, .25, 3));
        }
        adamW(sets[1], direct);
        device.kernels().random().randomUniform(new RandomStream(7, 12), 0, 1, sets[1][4]);
        for (int i = 0; i < sets[0].length; i++) {
            assertArrayEquals(values(sets[1][i]), values(sets[0][i]), "buffer " + i);
        }
    }

    private void adamW(Buffer[] set, AdamWStep step) {
        device.kernels()
                .optimiser()
                .adamW(
                        new AdamWTensors(
                                new Buffer[] {set[0]},
                                new Buffer[] {set[1]},
                                new Buffer[] {set[2]},
                                new Buffer[] {set[3]},
                                null,
                                new double[] {.01}),
                        step);
    }

    /** Memory of the recording is used again in it, by nobody else, and given back at the end. */
    @Test
    void memoryIsTheGraphsUntilItIsClosed() {
        long before = device.memory().live();
        long[] addresses = new long[3];
        Graph graph = device.record(() -> {
            for (int i = 0; i < 2; i++) {
                try (Buffer buffer = device.allocate(DType.F32, 1 << 20)) {
                    addresses[i] = buffer.address();
                    device.kernels().elementwise().fill(buffer, i);
                }
            }
        });
        assertEquals(addresses[0], addresses[1]);
        assertTrue(device.memory().live() > before);
        try (Buffer other = device.allocate(DType.F32, 1 << 20)) {
            addresses[2] = other.address();
        }
        assertFalse(addresses[2] == addresses[0]);
        graph.close();
        graph.close();
        assertEquals(before, device.memory().live());
        assertThrows(IllegalStateException.class, () -> graph.launch(Variables.NONE));
    }

    @Test
    void otherThreadsGoOnWhileOneRecords() {
        try (Buffer x = filled(1);
                Buffer y = filled(0);
                Graph graph = device.record(() -> {
                    assertTrue(device.currentStream().recording());
                    Thread other = Thread.startVirtualThread(
                            () -> device.kernels().elementwise().unary(UnaryOp.NEG, x, y));
                    try {
                        other.join();
                    } catch (InterruptedException e) {
                        throw new AssertionError(e);
                    }
                })) {
            assertEquals(0, graph.nodes());
            assertEquals(-1, values(y)[0]);
        }
    }

    @Test
    void whatCannotBeRecordedIsRefusedAndLeavesNothing() {
        long before = device.memory().live();
        try (Buffer x = filled(1)) {
            assertThrows(DeviceException.class, () -> device.record(x::segment));
            assertThrows(
                    DeviceException.class,
                    () -> device.record(() -> device.kernels().matmul().pack(x, 7, 10)));
            assertThrows(IllegalStateException.class, () -> device.record(() -> device.record(() -> {})));
            try (Graph graph = device.record(() -> {})) {
                assertThrows(IllegalStateException.class, () -> device.record(() -> graph.launch(Variables.NONE)));
            }
            assertFalse(device.currentStream().recording());
        }
        assertEquals(before, device.memory().live());
    }

    private Buffer buffer(float... values) {
        Buffer buffer = device.allocate(DType.F32, values.length);
        MemorySegment.copy(values, 0, buffer.segment(), ValueLayout.JAVA_FLOAT, 0, values.length);
        return buffer;
    }

    /** The first launch makes calls, later ones repeat their loops; neither may keep what a buffer held before. */
    @Test
    void aFactorAndRegionsAreReadInEveryLaunch() {
        int[][] regions = {{1, 1, 1}, {1, 2, 1}, {4, 4, 5}, {7, 7, 7}};
        float[] numbers = {.5f, -1, 2, .25f, 1, -.75f};
        Strides rows = new Strides(6, 2, 2);
        AttentionShape shape = new AttentionShape(1, 1, 3, 3, 2, .7, rows, rows, rows, rows, 0, 1, false);
        try (Buffer x = buffer(numbers);
                Buffer factor = buffer(2);
                Buffer scaled = buffer(0, 0, 0, 0, 0, 0);
                Buffer ids = device.allocate(DType.I32, 3);
                Buffer out = buffer(0, 0, 0, 0, 0, 0);
                Buffer expected = buffer(0, 0, 0, 0, 0, 0);
                Graph graph = device.record(() -> {
                    device.kernels().elementwise().scaleBy(x, factor, scaled);
                    device.kernels().attention().attention(shape, tensors(scaled, ids), out, null);
                })) {
            for (int launch = 0; launch < regions.length; launch++) {
                factor.segment().setAtIndex(ValueLayout.JAVA_FLOAT, 0, launch + 1);
                MemorySegment.copy(regions[launch], 0, ids.segment(), ValueLayout.JAVA_INT, 0, 3);
                graph.launch(Variables.NONE);
                assertEquals((launch + 1) * numbers[2], values(scaled)[2], "launch " + launch);
                device.kernels().attention().attention(shape, tensors(scaled, ids), expected, null);
                assertArrayEquals(values(expected), values(out), "launch " + launch);
            }
        }
    }

    private static AttentionTensors tensors(Buffer all, Buffer regions) {
        return new AttentionTensors(all, all, all, null, regions);
    }

    @Test
    void aWeightThatWasClosedIsRefusedByEveryLaunch() {
        try (Buffer x = filled(1);
                Buffer y = filled(0);
                Matmul.PackedWeight weight = device.kernels().matmul().pack(x, 1, COUNT);
                Graph graph =
                        device.record(() -> device.kernels().matmul().linear(1, x, weight, Matmul.Epilogue.NONE, y))) {
            for (int launch = 0; launch < 2; launch++) {
                graph.launch(Variables.NONE);
            }
            weight.close();
            String message = assertThrows(IllegalStateException.class, () -> graph.launch(Variables.NONE))
                    .getMessage();
            assertEquals("linear: the packed weight [1, 70] is closed", message);
        }
    }
}
