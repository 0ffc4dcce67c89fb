package tessera.distill.data;

import java.io.InterruptedIOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import java.util.zip.CRC32;

/** Clips that are read from their files when they are looked at, by a bounded number of threads. */
abstract class ReadClips implements ClipStore {
    private static final System.Logger LOGGER = System.getLogger(ReadClips.class.getName());

    final ClipFiles files;
    private final ExecutorService readers;

    /** @param threads that read, 1 or more */
    ReadClips(ClipFiles files, int threads) {
        this.files = files;
        this.readers = Executors.newFixedThreadPool(
                threads, Thread.ofPlatform().daemon().name("tessera-reader-", 0).factory());
    }

    @Override
    public final boolean isRead() {
        return true;
    }

    /** Begins something that nobody waits for; whoever needs what it failed to do does it again and is told. */
    final void begin(Runnable work) {
        readers.execute(() -> {
            try {
                work.run();
            } catch (RuntimeException e) {
                LOGGER.log(System.Logger.Level.DEBUG, "a clip was not read ahead", e);
            }
        });
    }

    /** Reads files; what is wrong with them is thrown as a {@link BrokenClip}, but not what an interrupt leaves. */
    static <T> T reading(Supplier<T> read) {
        try {
            return read.get();
        } catch (IllegalArgumentException e) {
            throw new BrokenClip(e);
        } catch (UncheckedIOException e) {
            if (e.getCause() instanceof InterruptedIOException) {
                throw e;
            }
            throw new BrokenClip(e);
        }
    }

    @Override
    public final void forEach(int places, IntConsumer work) {
        List<Future<?>> all = new ArrayList<>();
        for (int i = 0; i < places; i++) {
            int place = i;
            all.add(readers.submit(() -> work.accept(place)));
        }
        // All of them are waited for, whatever happens: they write into memory that is the caller's.
        Throwable failure = null;
        boolean interrupted = false;
        for (int i = 0; i < places; ) {
            try {
                all.get(i).get();
                i++;
            } catch (ExecutionException e) {
                failure = failure == null ? e.getCause() : failure;
                i++;
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            throw interrupted();
        }
        if (failure instanceof Error error) {
            throw error;
        }
        if (failure != null) {
            throw failure instanceof RuntimeException cause ? cause : new IllegalStateException(failure);
        }
    }

    /** What a thread gets that is interrupted while it waits for clips; the interrupt stays set. */
    static IllegalStateException interrupted() {
        Thread.currentThread().interrupt();
        return new IllegalStateException("reading clips was interrupted");
    }

    @Override
    public String addTo(CRC32 checksum) {
        files.addTo(checksum);
        return "clips by their files";
    }

    /** Ends the readers, and with them what they have begun. */
    @Override
    public void close() {
        readers.shutdownNow();
        boolean interrupted = false;
        while (true) {
            try {
                if (readers.awaitTermination(1, TimeUnit.MINUTES)) {
                    break;
                }
            } catch (InterruptedException again) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
