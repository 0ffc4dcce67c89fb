package tessera.nn.inference;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeClassifier;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.tensor.Patches;
import tessera.tensor.Scope;

/** Many passes of one student: what stays behind, and two at a time. */
class RepeatedInferenceTest {
    private static final int FRAMES = 4;
    private static final int SIZE = 64;
    private static final int CLIP = FRAMES * SIZE * SIZE * 3;
    private static final VideoMaeConfig CONFIG = new VideoMaeConfig(
            new Patches(3, 2, 16, 1 / 255.0, new double[] {.5, .5, .5}, new double[] {.2, .2, .2}),
            FRAMES,
            SIZE,
            SIZE,
            16,
            1,
            2,
            16,
            1,
            2,
            1e-5,
            1e-5,
            true,
            false);

    private static Device device;
    private static Student student;

    @BeforeAll
    static void make() {
        device = Device.cpu(2);
        student = student(device);
    }

    @AfterAll
    static void close() {
        student.close();
    }

    private static Student student(Device device) {
        try (Scope scope = Scope.open()) {
            Params params = Params.random(Device.cpu(), DType.F32, 5);
            new VideoMaeClassifier(params, CONFIG, 0).close();
            return Student.of(params.all(), CONFIG, device)
                    .withHead(Head.of(new double[2][16], new double[2], List.of("pour", "stir")));
        }
    }

    private static byte[] clip() {
        byte[] pixels = new byte[CLIP];
        new Random(3).nextBytes(pixels);
        return pixels;
    }

    @Test
    void memoryIsFlatOverManyPasses() {
        try (Student.Session session = student.session(1, Masking.DEFAULT)) {
            session.input().asByteBuffer().put(clip());
            float[] first = session.predict(1);
            session.predict(1); // is recorded, with memory of its own
            Device.MemoryUse before = device.memory();
            for (int i = 0; i < 10_000; i++) {
                session.predict(i);
            }
            assertArrayEquals(first, session.predict(1));
            Device.MemoryUse after = device.memory();
            assertEquals(before.live(), after.live());
            assertEquals(before.liveBuffers(), after.liveBuffers());
            assertEquals(before.peak(), after.peak());
            assertEquals(before.pooled(), after.pooled());
        }
    }

    /** What stays on the Java heap is short-lived and small, and does not depend on the frames: those go straight to the model. */
    @Test
    void aPredictionOfFittingFramesCopiesThemToTheModelAlone() {
        byte[] pixels = clip();
        ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
        try (Predictor predictor = Predictor.of(student, Masking.DEFAULT, 1)) {
            long least = Long.MAX_VALUE;
            for (int i = 0; i < 10_000; i++) {
                long before = threads.getCurrentThreadAllocatedBytes();
                predictor.predict(pixels, FRAMES, SIZE, SIZE);
                least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
            }
            // The objects of a pass take about a clip of this size on their own; a copy of the clip would be a second
            // one.
            assertTrue(least < 2 * CLIP, least + " bytes for a prediction, of a clip of " + CLIP);
        }
    }

    @Test
    void twoStudentsInOneProcessAnswerAsEachDoesAlone() throws Exception {
        byte[] pixels = clip();
        float[] alone = passes(student, pixels);
        List<Future<float[]>> answers = new ArrayList<>();
        try (Student other = student(device);
                ExecutorService both = Executors.newFixedThreadPool(2)) {
            answers.add(both.submit(() -> passes(student, pixels)));
            answers.add(both.submit(() -> passes(other, pixels)));
            for (Future<float[]> answer : answers) {
                assertArrayEquals(alone, answer.get());
            }
        }
    }

    private static float[] passes(Student student, byte[] pixels) {
        try (Student.Session session = student.session(1, Masking.of(0.5, 3))) {
            session.input().asByteBuffer().put(pixels);
            float[] last = {};
            for (int i = 0; i < 200; i++) {
                last = session.features(7);
            }
            return last;
        }
    }
}
