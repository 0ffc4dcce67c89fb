package tessera.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.DeviceException;
import tessera.kernels.Graph.Variables;

/** Work that is recorded and replayed gives what it gives operation by operation. */
@Tag(FakeCuda.TAG)
class RecordedCallsTest {
    private static final Shape SHAPE = Shape.of(2, 3);
    private static final List<RecordedCalls.Input> INPUTS = List.of(new RecordedCalls.Input(DType.F32, SHAPE));

    static List<Device> devices() {
        return TestDevices.all();
    }

    private static Tensor noise(Device device, Variables variables) {
        return Tensor.uniform(device, DType.F32, SHAPE, variables.seed() + 3, variables.stream() + 5, 0, 1);
    }

    /** Two results of an input and of random numbers, one of them of another shape. */
    private static Map<String, Tensor> sums(List<Tensor> inputs, Variables variables) {
        Tensor sum = inputs.getFirst().add(noise(inputs.getFirst().device(), variables));
        return Map.of("sum", sum, "total", sum.sum());
    }

    private static float[] values(int call) {
        return new float[] {call, -call, .5f, 2, call * .25f, 7};
    }

    private static float[] expected(int call, Variables variables) {
        float[] sum = values(call);
        try (Tensor noise = noise(Device.cpu(), variables)) {
            float[] drawn = noise.toFloats();
            for (int i = 0; i < sum.length; i++) {
                sum[i] += drawn[i];
            }
        }
        return sum;
    }

    private static void fill(RecordedCalls calls, int call) {
        calls.input(0).copyFrom(Tensor.of(values(call), 2, 3));
    }

    @ParameterizedTest
    @MethodSource("devices")
    void replaysFollowInputsSeedsAndStreams(Device device) {
        AtomicInteger runs = new AtomicInteger();
        AtomicInteger replays = new AtomicInteger();
        RecordedCalls.Work work = new RecordedCalls.Work() {
            @Override
            public Map<String, Tensor> run(List<Tensor> inputs, Variables variables) {
                runs.incrementAndGet();
                return sums(inputs, variables);
            }

            @Override
            public void replayed() {
                replays.incrementAndGet();
            }
        };
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(device, true, INPUTS)) {
            for (int call = 0; call < 6; call++) {
                fill(calls, call);
                Variables variables = new Variables(40L - call, 7L * call, 0, 1);
                Map<String, float[]> results = calls.run("sums", variables, work);
                float[] expected = expected(call, variables);
                assertArrayEquals(expected, results.get("sum"), "call " + call);
                float total = 0;
                for (float value : expected) {
                    total += value;
                }
                Close.relative(Objects.requireNonNull(results.get("total")), new float[] {total}, 1e-6, "call " + call);
            }
        }
        assertEquals(device.records() ? 2 : 6, runs.get());
        assertEquals(device.records() ? 4 : 0, replays.get());
    }

    @ParameterizedTest
    @MethodSource("devices")
    void piecesOfWorkShareTheInputs(Device device) {
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(device, true, INPUTS)) {
            for (int call = 0; call < 4; call++) {
                fill(calls, call);
                for (double factor : new double[] {2, .5}) {
                    float[] product = calls.run(
                                    "times " + factor,
                                    Variables.NONE,
                                    (inputs, variables) ->
                                            Map.of("y", inputs.getFirst().mul(factor)))
                            .get("y");
                    float[] wanted = values(call);
                    for (int i = 0; i < wanted.length; i++) {
                        wanted[i] *= (float) factor;
                    }
                    assertArrayEquals(wanted, product, "call " + call + " times " + factor);
                }
            }
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void withoutRecordingEveryCallDoesTheWork(Device device) {
        AtomicInteger runs = new AtomicInteger();
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(device, false, INPUTS)) {
            for (int call = 0; call < 3; call++) {
                fill(calls, call);
                Map<String, float[]> results = calls.run("copy", Variables.NONE, (inputs, variables) -> {
                    assertTrue(inputs.getFirst().device().isHost());
                    runs.incrementAndGet();
                    return Map.of("y", inputs.getFirst().to(device).mul(1));
                });
                assertArrayEquals(values(call), results.get("y"));
            }
        }
        assertEquals(3, runs.get());
    }

    /** Under a cost meter a call runs by operations, whose costs they are. */
    @Test
    void costsAreThoseOfOperations() {
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(Device.cpu(), true, INPUTS)) {
            fill(calls, 2);
            float[] total = new float[1];
            RecordedCalls.Work work =
                    (inputs, variables) -> Map.of("y", inputs.getFirst().sum());
            for (int call = 0; call < 3; call++) {
                calls.run("sum", Variables.NONE, work, total);
            }
            float[] metered = new float[1];
            try (CostMeter meter = CostMeter.open()) {
                calls.run("sum", Variables.NONE, work, metered);
                assertTrue(meter.total().flops() > 0);
            }
            assertArrayEquals(total, metered);
        }
    }

    /** On the CPU it may look at values, and then each call does it. */
    @Test
    void workThatLooksAtValuesRunsEveryTime() {
        AtomicInteger runs = new AtomicInteger();
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(Device.cpu(), true, INPUTS)) {
            for (int call = 1; call < 5; call++) {
                fill(calls, call);
                float[] product = new float[6];
                calls.run(
                        "product",
                        Variables.NONE,
                        (inputs, variables) -> {
                            runs.incrementAndGet();
                            float first = inputs.getFirst().toFloats()[0];
                            return Map.of("y", inputs.getFirst().mul(first));
                        },
                        product);
                float[] wanted = values(call);
                for (int i = 0; i < wanted.length; i++) {
                    wanted[i] *= call;
                }
                assertArrayEquals(wanted, product, "call " + call);
            }
        }
        assertEquals(5, runs.get(), "the second call found out");
    }

    /** Whether it fails at first, while it is recorded, or later: the next call does the work, and nothing is left behind. */
    @ParameterizedTest
    @MethodSource("devices")
    void aCallThatFailedMayBeTriedAgain(Device device) {
        long before = device.memory().live();
        AtomicInteger runs = new AtomicInteger();
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(device, true, INPUTS)) {
            fill(calls, 2);
            RecordedCalls.Work work = (inputs, variables) -> {
                Map<String, Tensor> results = sums(inputs, variables);
                if (runs.getAndIncrement() % 2 == 0) {
                    throw new IllegalArgumentException("this time it fails");
                }
                return results;
            };
            for (int call = 0; call < 2; call++) {
                assertThrows(IllegalArgumentException.class, () -> calls.run("sums", Variables.NONE, work));
                assertArrayEquals(
                        expected(2, Variables.NONE),
                        calls.run("sums", Variables.NONE, work).get("sum"));
            }
        }
        assertEquals(4, runs.get());
        assertEquals(before, device.memory().live());
    }

    /** The launch of a replay is refused: the host has noted nothing, so the next call counts once. */
    @Test
    void aReplayThatDidNotBeginIsNotNoted() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        AtomicInteger replays = new AtomicInteger();
        RecordedCalls.Work work = new RecordedCalls.Work() {
            @Override
            public Map<String, Tensor> run(List<Tensor> inputs, Variables variables) {
                return sums(inputs, variables);
            }

            @Override
            public void replayed() {
                replays.incrementAndGet();
            }
        };
        try (Scope scope = Scope.open();
                RecordedCalls calls = new RecordedCalls(Device.cuda(0), true, INPUTS)) {
            fill(calls, 2);
            calls.run("sums", Variables.NONE, work);
            calls.run("sums", Variables.NONE, work);
            FakeCuda.fail("cuGraphLaunch", 1, FakeCuda.OUT_OF_MEMORY);
            assertThrows(DeviceException.class, () -> calls.run("sums", Variables.NONE, work));
            assertEquals(0, replays.get());
            assertArrayEquals(
                    expected(2, Variables.NONE),
                    calls.run("sums", Variables.NONE, work).get("sum"));
            assertEquals(1, replays.get());
        }
    }

    /** What the next call reads is sent before this one runs, and by another thread. */
    @ParameterizedTest
    @MethodSource("devices")
    void fedCallsReadWhatWasSentForThem(Device device) throws Exception {
        long before = device.memory().live();
        try (Scope scope = Scope.open();
                ExecutorService thread = Executors.newSingleThreadExecutor();
                RecordedCalls calls = RecordedCalls.fed(device, INPUTS)) {
            int sent = send(calls, 0);
            for (int call = 0; call < 6; call++) {
                int next = call + 1;
                calls.take(sent);
                Future<Integer> sending = thread.submit(() -> send(calls, next));
                if (call % 2 == 0) {
                    sending.get();
                }
                Variables variables = new Variables(40L - call, 7L * call, 0, 1);
                assertArrayEquals(
                        expected(call, variables),
                        calls.run("sums", variables, RecordedCallsTest::sums).get("sum"),
                        "call " + call);
                sent = sending.get();
            }
            calls.take(sent);
            calls.take(send(calls, 9)); // what was sent before is left out
            assertArrayEquals(
                    expected(9, Variables.NONE),
                    calls.run("sums", Variables.NONE, RecordedCallsTest::sums).get("sum"));
        }
        assertEquals(before, device.memory().live());
    }

    private static int send(RecordedCalls calls, int call) {
        return Scope.outside(() -> {
            try (Tensor values = Tensor.of(values(call), 2, 3)) {
                return calls.send(List.of(values));
            }
        });
    }

    /** The copy to the device is on a stream of its own, which waits for nothing but that its place was read. */
    @Test
    void fedCallsCallTheDriverNoMoreThanTheyMust() {
        assumeTrue(FakeCuda.present(), FakeCuda::absence);
        try (Scope scope = Scope.open();
                RecordedCalls calls = RecordedCalls.fed(Device.cuda(0), INPUTS)) {
            for (int call = 0; call < 3; call++) {
                calls.take(send(calls, call));
                calls.run("sums", Variables.NONE, RecordedCallsTest::sums);
            }
            int[] sent = new int[1];
            assertEquals(
                    "cuEventSynchronize cuStreamWaitEvent cuMemcpyHtoDAsync cuEventRecord",
                    FakeCuda.callsOf(() -> sent[0] = send(calls, 3)));
            assertEquals(
                    "cuStreamWaitEvent cuMemcpyDtoDAsync cuEventRecord", FakeCuda.callsOf(() -> calls.take(sent[0])));
            float[][] sum = new float[1][];
            assertEquals(
                    "cuLaunchKernel cuGraphLaunch cuStreamSynchronize",
                    FakeCuda.callsOf(() ->
                            sum[0] = Objects.requireNonNull(calls.run("sums", Variables.NONE, RecordedCallsTest::sums)
                                    .get("sum"))));
            assertArrayEquals(expected(3, Variables.NONE), sum[0]);
        }
    }

    @Test
    void callsAreFedOrFilled() {
        try (Scope scope = Scope.open();
                RecordedCalls filled = new RecordedCalls(Device.cpu(), true, INPUTS)) {
            assertEquals(
                    "these calls are not fed; fill their inputs, or make them by fed",
                    assertThrows(IllegalStateException.class, () -> send(filled, 0))
                            .getMessage());
        }
    }

    @ParameterizedTest
    @MethodSource("devices")
    void closedCallsAreRefused(Device device) {
        RecordedCalls calls = new RecordedCalls(device, true, INPUTS);
        calls.close();
        calls.close();
        String message = assertThrows(
                        IllegalStateException.class, () -> calls.run("sums", Variables.NONE, RecordedCallsTest::sums))
                .getMessage();
        assertEquals("these calls are closed; open a new session", message);
    }
}
