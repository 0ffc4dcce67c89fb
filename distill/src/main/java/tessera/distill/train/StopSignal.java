package tessera.distill.train;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/** Asks a run to stop after the current step or batch, and tells when it has saved its state. Thread-safe. */
public final class StopSignal implements AutoCloseable {
    private final CountDownLatch ended = new CountDownLatch(1);
    private volatile boolean requested;
    private volatile boolean running;
    /** Whether the process ends, so that only its hook still tells anything. */
    private volatile boolean ending;

    private volatile @Nullable Throwable failure;
    private @Nullable Thread hook;

    /** A signal that has asked for nothing yet. */
    public StopSignal() {}

    /** Asks the run to stop. */
    public void request() {
        requested = true;
    }

    boolean isRequested() {
        return requested;
    }

    /** What ends with its result saved, or with its state when it is asked to stop, and throws {@link Stopped} then. */
    @FunctionalInterface
    interface Resumable<E extends Exception> {
        void run() throws E;
    }

    /**
     * Does what saves its state. A process that is asked to end meanwhile waits for it.
     *
     * @throws Stopped also in the place of a failure while the process ends, which the hook tells
     */
    <E extends Exception> void during(Resumable<E> work) throws E {
        running = true;
        try {
            work.run();
        } catch (Stopped saved) {
            throw saved;
        } catch (Throwable e) {
            if (ending) {
                failure = e;
                throw new Stopped("the run failed while the process ended", e);
            }
            throw e;
        } finally {
            running = false;
            if (requested) {
                ended.countDown();
            }
        }
    }

    /**
     * Asks the run to stop when the process is asked to end (Ctrl-C), and holds the process until the checkpoint is
     * written; until {@link #close}.
     *
     * @param whenSaved called then, while the process still lives; not called if nothing that saves its state was under way
     * @param whenFailed called in its place with what went wrong, such as a checkpoint for which the disk has no room
     */
    public synchronized void onShutdown(Runnable whenSaved, Consumer<Throwable> whenFailed) {
        close();
        hook = new Thread(() -> stopAndWait(whenSaved, whenFailed), "tessera-stop");
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** Leaves the process's end alone again: an application that lives on need not keep what it has run. */
    @Override
    public synchronized void close() {
        Thread asked = hook;
        hook = null;
        if (asked != null) {
            try {
                Runtime.getRuntime().removeShutdownHook(asked);
            } catch (IllegalStateException ending) {
                // Then the hook runs already.
            }
        }
    }

    /** What the hook does. */
    void stopAndWait(Runnable whenSaved, Consumer<Throwable> whenFailed) {
        ending = true;
        request();
        boolean waited = running;
        try {
            if (waited && !ended.await(2, TimeUnit.MINUTES)) {
                System.getLogger("tessera").log(System.Logger.Level.WARNING, "the run did not stop within two minutes");
                return;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return;
        }
        Throwable failed = failure;
        if (failed != null) {
            whenFailed.accept(failed);
        } else if (waited) {
            whenSaved.run();
        }
    }

    /** A run stopped because it was asked to; its checkpoint is written. */
    public static final class Stopped extends RuntimeException {
        private static final long serialVersionUID = 1;

        Stopped(String message) {
            super(message);
        }

        private Stopped(String message, Throwable cause) {
            super(message, cause);
        }
    }
}
