package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** Who ends a process hears that all is saved only if it is, and else why it is not, once. */
class StopSignalTest {
    private final StopSignal signal = new StopSignal();
    private final List<String> told = Collections.synchronizedList(new ArrayList<>());

    private void end() {
        signal.stopAndWait(() -> told.add("saved"), failure -> told.add("failed: " + failure.getMessage()));
    }

    /** Ends the process while a run is under way, and gives what the run threw. */
    private @Nullable Throwable endDuring(Runnable lastStep) throws Exception {
        CountDownLatch begun = new CountDownLatch(1);
        try (ExecutorService pool = Executors.newSingleThreadExecutor()) {
            Future<@Nullable Throwable> run = pool.submit(() -> {
                try {
                    signal.during(() -> {
                        begun.countDown();
                        while (!signal.isRequested()) {
                            Thread.onSpinWait();
                        }
                        lastStep.run();
                    });
                    return null;
                } catch (RuntimeException e) {
                    return e;
                }
            });
            begun.await();
            end();
            return run.get();
        }
    }

    @Test
    void aRunThatHasSavedItsState() throws Exception {
        StopSignal.Stopped stopped = new StopSignal.Stopped("stopped after step 3 of 9");
        assertSame(stopped, endDuring(() -> {
            throw stopped;
        }));
        assertEquals(List.of("saved"), told);
    }

    @Test
    void aRunThatWasInItsLastStep() throws Exception {
        assertEquals(null, endDuring(() -> told.add("exported")));
        assertEquals(List.of("exported", "saved"), told, "the result is whole before the process may end");
    }

    @Test
    void aCheckpointForWhichThereIsNoRoom() throws Exception {
        Throwable thrown = endDuring(() -> {
            throw new IllegalStateException("no room");
        });
        assertEquals(List.of("failed: no room"), told);
        assertSame(StopSignal.Stopped.class, thrown == null ? null : thrown.getClass(), "which nobody tells again");
    }

    @Test
    void aFailureBeforeIsNoneOfTheEnds() {
        IllegalStateException diverged = new IllegalStateException("diverged");
        assertSame(
                diverged,
                assertThrows(
                        IllegalStateException.class,
                        () -> signal.during(() -> {
                            throw diverged;
                        })));
        end();
        assertEquals(List.of(), told);
    }
}
