package tessera.jmh.peers;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/** What the machine gives at most, measured in the same rounds: the rate of a copy. That of a product is measured as any other. */
final class Limits {
    private Limits() {}

    /** Copies memory with some threads, each its part. */
    static final class Copy extends Contender {
        private final Arena arena = Arena.ofShared();
        private final ExecutorService pool;
        private final List<Callable<Void>> parts = new ArrayList<>();

        Copy(long bytes, int threads) {
            MemorySegment from = arena.allocate(bytes, 64);
            MemorySegment to = arena.allocate(bytes, 64);
            pool = Executors.newFixedThreadPool(
                    threads, Thread.ofPlatform().daemon().factory());
            long part = bytes / threads;
            for (int i = 0; i < threads; i++) {
                long begin = i * part;
                long length = i == threads - 1 ? bytes - begin : part;
                parts.add(() -> {
                    MemorySegment.copy(from, begin, to, begin, length);
                    return null;
                });
            }
        }

        @Override
        public float[] output() {
            return new float[] {0};
        }

        @Override
        protected void call() {
            try {
                for (var part : pool.invokeAll(parts)) {
                    part.get();
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException("interrupted while copying", e);
            } catch (ExecutionException e) {
                throw new IllegalStateException(e);
            }
        }

        @Override
        public void close() {
            pool.shutdownNow();
            pool.close();
            arena.close();
        }
    }
}
