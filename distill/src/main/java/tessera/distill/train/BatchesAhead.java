package tessera.distill.train;

import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.function.LongFunction;
import org.jspecify.annotations.Nullable;
import tessera.tensor.Scope;

/**
 * Prepares the batches of the next step on a thread of its own while a step computes. A batch is a function of its step alone, so
 * it is the same as if it were made when it is needed, and what goes wrong in making it is thrown when it is asked for.
 *
 * <p>They are made by that thread alone, one step at a time. Not thread-safe.
 *
 * @param <T> what is known of a step's batches; it owns nothing
 */
final class BatchesAhead<T> implements AutoCloseable {
    private final LongFunction<T> make;
    private final long steps;
    private final ExecutorService thread = Executors.newSingleThreadExecutor(
            Thread.ofPlatform().daemon().name("tessera-batches").factory());
    private @Nullable Ahead<T> ahead;

    private record Ahead<T>(long step, CompletableFuture<T> batches) {}

    /**
     * @param make prepares the batches of a step
     * @param steps of the run; nothing is prepared for a step after the last
     */
    BatchesAhead(LongFunction<T> make, long steps) {
        this.make = make;
        this.steps = steps;
    }

    /** The batches of a step; begins with those of the step after it. */
    T take(long step) {
        Ahead<T> begun = ahead;
        if (begun == null || begun.step != step) {
            drop();
            begun = begin(step);
        }
        ahead = null;
        T batches;
        try {
            batches = begun.batches.join();
        } catch (CompletionException e) {
            throw unwrapped(e);
        }
        if (step + 1 < steps) {
            ahead = begin(step + 1);
        }
        return batches;
    }

    private Ahead<T> begin(long step) {
        return new Ahead<>(step, CompletableFuture.supplyAsync(() -> Scope.outside(() -> make.apply(step)), thread));
    }

    private static RuntimeException unwrapped(CompletionException e) {
        if (e.getCause() instanceof Error error) {
            throw error;
        }
        return e.getCause() instanceof RuntimeException cause ? cause : e;
    }

    /** Waits for what was begun; nobody asked for it, so nobody is told if it failed. */
    private void drop() {
        Ahead<T> begun = ahead;
        ahead = null;
        if (begun != null) {
            begun.batches.handle((batches, failure) -> true).join();
        }
    }

    @Override
    public void close() {
        drop();
        thread.shutdown();
    }
}
