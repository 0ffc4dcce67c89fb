package tessera.jmh.peers;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import tessera.tensor.Tensor;

/** Copies memory as Java does, each thread a part, the calling one too. */
final class JavaCopy extends Contender {
    private final Arena arena = Arena.ofShared();
    private final ExecutorService pool;
    private final List<Callable<Void>> parts = new ArrayList<>();
    private final MemorySegment to;

    /**
     * Makes the copy's target.
     *
     * @param from on the host, contiguous; stays the caller's
     */
    JavaCopy(Tensor from, int threads) {
        MemorySegment values = from.segment();
        long bytes = values.byteSize();
        to = arena.allocate(bytes, 64);
        pool = Executors.newFixedThreadPool(
                Math.max(1, threads - 1), Thread.ofPlatform().daemon().factory());
        long part = bytes / threads;
        for (int i = 0; i < threads; i++) {
            long begin = i * part;
            long length = i == threads - 1 ? bytes - begin : part;
            parts.add(() -> {
                MemorySegment.copy(values, begin, to, begin, length);
                return null;
            });
        }
    }

    @Override
    public float[] output() {
        call();
        return to.toArray(ValueLayout.JAVA_FLOAT);
    }

    @Override
    protected void call() {
        try {
            var others =
                    parts.subList(1, parts.size()).stream().map(pool::submit).toList();
            parts.getFirst().call();
            for (var other : others) {
                other.get();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while copying", e);
        } catch (ExecutionException e) {
            throw new IllegalStateException(e);
        } catch (Exception e) {
            throw new IllegalStateException("cannot copy", e);
        }
    }

    @Override
    public void close() {
        pool.shutdownNow();
        pool.close();
        arena.close();
    }
}
