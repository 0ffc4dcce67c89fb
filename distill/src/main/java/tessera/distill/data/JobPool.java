package tessera.distill.data;

import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/** Threads, of which never more than some work at the same time: each on a job, or helping with a job that has parts. */
final class JobPool implements AutoCloseable {
    private final Semaphore free;
    private final ExecutorService pool = Executors.newCachedThreadPool(
            Thread.ofPlatform().daemon().name("tessera-extract-", 0).factory());

    /** @param threads that may work at the same time, 1 or more */
    JobPool(int threads) {
        this.free = new Semaphore(threads);
    }

    /**
     * Does all jobs, in their order as far as threads are free, and throws what the first of them throws. Where one has failed, none is begun
     * any more: what is missing to it, such as room on the disk, is missing to the others.
     */
    <J> void each(List<J> jobs, Consumer<J> work) {
        List<Future<?>> running = new ArrayList<>();
        AtomicBoolean failed = new AtomicBoolean();
        try {
            for (J job : jobs) {
                free.acquire();
                if (failed.get()) {
                    free.release();
                    break;
                }
                running.add(start(() -> noting(failed, () -> work.accept(job))));
            }
        } catch (InterruptedException e) {
            throw interrupted();
        } finally {
            await(running);
        }
    }

    /** Says so before it throws what a task throws. */
    private static void noting(AtomicBoolean failed, Runnable task) {
        boolean done = false;
        try {
            task.run();
            done = true;
        } finally {
            if (!done) {
                failed.set(true);
            }
        }
    }

    /** Runs what holds a permit already. */
    private Future<?> start(Runnable task) {
        return pool.submit(() -> {
            try {
                task.run();
            } finally {
                free.release();
            }
        });
    }

    /** Waits for all before it throws what one of them threw. */
    private static void await(List<Future<?>> running) {
        Throwable failure = null;
        for (Future<?> each : running) {
            try {
                each.get();
            } catch (InterruptedException e) {
                throw interrupted();
            } catch (ExecutionException e) {
                failure = failure == null ? e.getCause() : failure;
            }
        }
        switch (failure) {
            case null -> {}
            case RuntimeException unchecked -> throw unchecked;
            case Error error -> throw error;
            default -> throw new IllegalStateException("a job failed", failure);
        }
    }

    private static UncheckedIOException interrupted() {
        Thread.currentThread().interrupt();
        return new UncheckedIOException(new InterruptedIOException("extraction was interrupted"));
    }

    /** The parts of one job, for its thread. */
    final class Parts implements AutoCloseable {
        private final List<Future<?>> running = new ArrayList<>();
        private final AtomicBoolean failed = new AtomicBoolean();

        /** Does a part, on another thread where one is free and else at once; none where one has failed, but throws what that threw. */
        void run(Runnable part) {
            if (failed.get()) {
                List<Future<?>> all = List.copyOf(running);
                running.clear(); // told once
                await(all);
            }
            if (free.tryAcquire()) {
                running.add(start(() -> noting(failed, part)));
            } else {
                part.run();
            }
        }

        /** Waits for all parts, and throws what the first of them threw. */
        @Override
        public void close() {
            await(running);
        }
    }

    /** Ends the threads; what they are at is interrupted. */
    @Override
    public void close() {
        pool.shutdownNow();
        pool.close();
    }
}
