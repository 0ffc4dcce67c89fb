package tessera.distill.train;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Prepares the batches of the next step on a thread of its own while a step computes. A batch is a function of its step alone, so
 * it is the same as if it were made when it is needed, and what goes wrong in making it is thrown when it is asked for.
 *
 * <p>The sources are called by that thread alone, one step at a time. Not thread-safe.
 */
final class BatchesAhead implements AutoCloseable {
    private final List<BatchSource> sources;
    private final Device host;
    private final long steps;
    private final ExecutorService thread = Executors.newSingleThreadExecutor(
            Thread.ofPlatform().daemon().name("tessera-batches").factory());
    private @Nullable Ahead ahead;

    private record Ahead(long step, CompletableFuture<List<Batch>> batches) {}

    /**
     * @param host a CPU device, in whose memory batches are made
     * @param steps of the run; nothing is prepared for a step after the last
     */
    BatchesAhead(List<BatchSource> sources, Device host, long steps) {
        this.sources = List.copyOf(sources);
        this.host = host;
        this.steps = steps;
    }

    /** The batches of a step, which belong to the caller, who closes their tensors; begins with those of the step after it. */
    List<Batch> take(long step) {
        Ahead begun = ahead;
        if (begun == null || begun.step != step) {
            drop();
            begun = begin(step);
        }
        ahead = null;
        List<Batch> batches;
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

    private Ahead begin(long step) {
        return new Ahead(step, CompletableFuture.supplyAsync(() -> Scope.outside(() -> make(step)), thread));
    }

    private List<Batch> make(long step) {
        List<Batch> batches = new ArrayList<>();
        sources.forEach(source -> batches.add(source.at(host, step)));
        return batches;
    }

    private static RuntimeException unwrapped(CompletionException e) {
        if (e.getCause() instanceof Error error) {
            throw error;
        }
        return e.getCause() instanceof RuntimeException cause ? cause : e;
    }

    /** Waits for what was begun and frees it; nobody asked for it, so nobody is told if it failed. */
    private void drop() {
        Ahead begun = ahead;
        ahead = null;
        if (begun != null) {
            begun.batches
                    .handle((batches, failure) -> batches == null ? List.<Batch>of() : batches)
                    .join()
                    .forEach(batch -> batch.tensors().forEach(Tensor::close));
        }
    }

    @Override
    public void close() {
        drop();
        thread.shutdown();
    }
}
