package tessera.nn.inference;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import tessera.kernels.Device;
import tessera.nn.MaskStrategy;
import tessera.nn.Pooling;
import tessera.tensor.Tensor;

/** Calls that come too late, or from two threads at once: each is one clear exception, and nothing is lost by it. */
@Timeout(120)
class MisusedStudentTest {
    @TempDir
    private Path folder;

    private Student student() {
        return Student.load(Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 1), Device.cpu());
    }

    private static Tensor clip() {
        return Tensor.of(new byte[4 * 16 * 16 * 3], 1, 4, 16, 16, 3);
    }

    private static void refused(String part, Runnable call) {
        IllegalStateException e = assertThrows(IllegalStateException.class, call::run);
        assertTrue(requireNonNull(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
    }

    /** Masks that are drawn when they may. */
    private record Waiting(CountDownLatch begun, CountDownLatch go) {
        Waiting() {
            this(new CountDownLatch(1), new CountDownLatch(1));
        }

        Masking masking() {
            MaskStrategy tubes = MaskStrategy.tubes();
            return Masking.of(.5, 1).withStrategy(context -> {
                begun.countDown();
                try {
                    go.await();
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
                return tubes.draw(context);
            });
        }
    }

    @Test
    void whatIsClosedIsUsedNoMore() {
        Tensor clip = clip();
        Student student = student();
        Student classifier = student.withHead(Toy.head(1, "a", "b"));
        Student.Session session = classifier.session(1, Masking.of(.5, 1));
        session.predict(1);
        Student pooled = student.pooled(Pooling.MEAN);
        pooled.close();
        pooled.close();
        refused("the student is closed; load it again", () -> pooled.features(clip, Masking.none(), 1));
        session.predict(1);
        student.close();
        student.close();
        for (Student each : List.of(student, classifier, pooled)) {
            refused("the student is closed; load it again", () -> each.features(clip, Masking.none(), 1));
        }
        refused("close the session before it", () -> session.predict(1));
        session.close();
        session.close();
        clip.close();
    }

    @Test
    void aStudentInUseIsNotClosed() throws InterruptedException {
        Tensor clip = clip();
        try (Student student = student()) {
            Student classifier = student.withHead(Toy.head(1, "a", "b"));
            Waiting waiting = new Waiting();
            CompletableFuture<float[]> running = CompletableFuture.supplyAsync(() -> {
                try (Tensor given = classifier.predict(clip, waiting.masking(), 1)) {
                    return given.toFloats();
                }
            });
            waiting.begun.await();
            refused("in use by another thread", student::close);
            refused("in use by another thread", classifier::close);
            student.pooled(Pooling.MEAN).close();
            waiting.go.countDown();
            float[] during = running.join();
            try (Tensor after = classifier.predict(clip, waiting.masking(), 1)) {
                assertArrayEquals(after.toFloats(), during);
            }
        }
        clip.close();
    }

    @Test
    void aSessionIsOneThreadsAtATime() throws InterruptedException {
        try (Student loaded = student();
                Student student = loaded.withHead(Toy.head(1, "a", "b"))) {
            Waiting waiting = new Waiting();
            Student.Session session = student.session(1, waiting.masking());
            CompletableFuture<float[]> running = CompletableFuture.supplyAsync(() -> session.predict(1));
            waiting.begun.await();
            refused("give each thread a session of its own", () -> session.predict(1));
            refused("give each thread a session of its own", () -> session.features(1, new float[24]));
            refused("when its call has ended", session::close);
            waiting.go.countDown();
            float[] during = running.join();
            assertArrayEquals(session.predict(1), during);
            session.close();
        }
    }

    /** Files are mapped through channels, which close themselves under an interrupted thread. */
    @Test
    void anInterruptedThreadReadsAndWritesFiles() {
        Path file = Toy.student(folder.resolve("student.safetensors"), Toy.CONFIG, 1);
        Thread.currentThread().interrupt();
        try (Student student = Student.load(file, Device.cpu())) {
            student.save(folder.resolve("copy.safetensors"));
            try (Student copy = Student.load(folder.resolve("copy.safetensors"), Device.cpu())) {
                assertEquals(student.checksum(), copy.checksum());
            }
        } finally {
            assertTrue(Thread.interrupted(), "the interrupt stays set");
        }
    }
}
