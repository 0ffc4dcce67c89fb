package tessera.distill.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Where a disk is full, hundreds of recordings are not decoded only to tell so at the end. */
class JobPoolTest {
    private static IllegalStateException full() {
        return new IllegalStateException("the disk is full");
    }

    @Test
    void noJobIsBegunBehindOneThatFailed() {
        List<Integer> begun = Collections.synchronizedList(new ArrayList<>());
        try (JobPool pool = new JobPool(1)) {
            IllegalStateException told = assertThrows(
                    IllegalStateException.class,
                    () -> pool.each(List.of(0, 1, 2, 3), job -> {
                        begun.add(job);
                        if (job == 1) {
                            throw full();
                        }
                    }));
            assertEquals("the disk is full", told.getMessage());
            assertEquals(List.of(0, 1), begun);
            pool.each(List.of(4), begun::add);
            assertEquals(List.of(0, 1, 4), begun, "the pool itself is as good as before");
        }
    }

    /** The parts of a recording of a day are many more than fit in memory at a time. */
    @Test
    @Timeout(60)
    void noPartIsBegunBehindOneThatFailed() {
        AtomicInteger ended = new AtomicInteger();
        try (JobPool pool = new JobPool(2)) {
            IllegalStateException told = assertThrows(
                    IllegalStateException.class,
                    () -> pool.each(List.of(0), job -> {
                        try (JobPool.Parts parts = pool.new Parts()) {
                            parts.run(() -> {
                                throw full();
                            });
                            // Without an end of its own: that the other thread has failed must end it.
                            while (true) {
                                parts.run(() -> {});
                            }
                        } finally {
                            ended.incrementAndGet();
                        }
                    }));
            assertEquals("the disk is full", told.getMessage());
            assertEquals(0, told.getSuppressed().length, "told once");
            assertEquals(1, ended.get());
        }
    }
}
