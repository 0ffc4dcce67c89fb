package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.abort;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/** Two GPUs in one process. */
@Tag(FakeCuda.TAG)
class CudaDevicesTest {
    private static final VideoMaeConfig CONFIG =
            new VideoMaeConfig(Patches.plain(3, 2, 4), 4, 16, 16, 32, 2, 2, 16, 1, 2, 1e-5, 1e-5, true, false);

    private Device first;
    private Device second;

    @BeforeEach
    void open() {
        if (FakeCuda.present()) {
            FakeCuda.set("devices", 2);
        }
        first = gpu(0);
        second = gpu(1);
    }

    private static Device gpu(int ordinal) {
        try {
            return Device.cuda(ordinal);
        } catch (IllegalArgumentException e) {
            return abort(String.valueOf(e.getMessage()));
        }
    }

    @AfterEach
    void reset() {
        if (FakeCuda.present()) {
            FakeCuda.reset();
        }
    }

    @Test
    void tensorsOfTwoDevicesDoNotMixUntilTheyAreMoved() {
        try (Scope scope = Scope.open()) {
            Tensor here = Tensor.full(first, DType.F32, Shape.of(3, 4), 2);
            Tensor there = Tensor.full(second, DType.F32, Shape.of(3, 4), 5);
            for (Runnable call : List.<Runnable>of(
                    () -> here.add(there), () -> here.linear(there, null), () -> Tensor.concat(0, here, there))) {
                IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
                String message = String.valueOf(e.getMessage());
                String expected = "f32[3, 4] is on cuda:0 but f32[3, 4] on cuda:1; move one of them with to(device)";
                assertEquals(expected, message.substring(message.indexOf(": ") + 2));
            }
            Tensor moved = here.requiresGrad(true).to(second);
            Tensor product = moved.mul(there);
            assertEquals(second, product.device());
            assertEquals(10, product.mean().item());
            product.sum().backward();
            assertEquals(first, requireNonNull(here.grad()).device());
            assertEquals(5, here.grad().mean().item());
        }
    }

    private record Replies(float[] plain, float[] session) {}

    private static Replies ask(Params params, Device device, byte[] pixels) {
        try (Scope scope = Scope.open();
                Student student = Student.of(params.all(), CONFIG, device);
                Student.Session session = student.session(1, Masking.of(.5, 2))) {
            MemorySegment.copy(MemorySegment.ofArray(pixels), 0, session.input(), 0, pixels.length);
            Tensor clip = Tensor.of(pixels, 1, 4, 16, 16, 3);
            float[] replies = session.features(3);
            for (int again = 0; again < 3; again++) {
                assertArrayEquals(replies, session.features(3));
            }
            return new Replies(student.features(clip, Masking.of(.5, 2), 3).toFloats(), replies);
        }
    }

    @Test
    void eachDeviceHasSessionsOfItsOwnAtTheSameTime() throws Exception {
        byte[] pixels = new byte[4 * 16 * 16 * 3];
        new Random(4).nextBytes(pixels);
        try (Scope scope = Scope.open();
                ExecutorService pool = Executors.newFixedThreadPool(2)) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0);
            Future<Replies> one = pool.submit(() -> ask(params, first, pixels));
            Future<Replies> two = pool.submit(() -> ask(params, second, pixels));
            float[] expected = ask(params, Device.cpu(1), pixels).plain;
            for (Replies replies : List.of(one.get(), two.get())) {
                Close.relative(replies.plain, expected, 1e-4, "features");
                assertArrayEquals(replies.plain, replies.session);
            }
        }
    }
}
