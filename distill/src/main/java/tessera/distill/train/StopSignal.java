package tessera.distill.train;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** Asks a run to stop after the current step or batch, and tells when it has saved its state. Thread-safe. */
public final class StopSignal implements AutoCloseable {
    private final CountDownLatch saved = new CountDownLatch(1);
    private volatile boolean requested;
    private volatile boolean running;
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

    /** Tells that something is under way that saves its state when it is asked to stop, or that it has ended. */
    void running(boolean value) {
        running = value;
        if (!value && requested) {
            saved.countDown();
        }
    }

    /**
     * Asks the run to stop when the process is asked to end (Ctrl-C), and holds the process until the checkpoint is
     * written; until {@link #close}.
     *
     * @param whenSaved called then, while the process still lives; not called if nothing that saves its state was under way
     */
    public synchronized void onShutdown(Runnable whenSaved) {
        close();
        hook = new Thread(() -> stopAndWait(whenSaved), "tessera-stop");
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

    private void stopAndWait(Runnable whenSaved) {
        request();
        if (running) {
            try {
                boolean done = saved.await(2, TimeUnit.MINUTES);
                if (done) {
                    whenSaved.run();
                } else {
                    System.getLogger("tessera")
                            .log(System.Logger.Level.WARNING, "the run did not stop within two minutes");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** A run stopped because it was asked to; its checkpoint is written. */
    public static final class Stopped extends RuntimeException {
        private static final long serialVersionUID = 1;

        Stopped(String message) {
            super(message);
        }
    }
}
