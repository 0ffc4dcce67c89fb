package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.HashMap;
import java.util.Map;
import java.util.Objects;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;

/**
 * Clips that are read from their files when they are looked at, and kept in memory of a bounded size.
 *
 * <p>What comes first stays: training looks at every clip once in an epoch, in another order each time, so that no choice of clips is
 * looked at more often than another, and one that changed would only be read more often. The rest passes through some places that
 * are used again and again, also by clips that are read ahead.
 */
final class ClipCache extends ReadClips {
    /** Of so many places one is for clips that pass. */
    private static final int STAYING_OF = 4;

    private static final int MOST_PASSING = 64;
    private static final long ALIGNMENT = 64;

    private final Extent extent;
    /** Where the samples of each modality begin in a place. */
    private final SortedMap<Modality, Long> offsets = new TreeMap<>();

    private final long placeBytes;
    private final int places;
    private final int staying;
    private final Arena arena = Arena.ofShared();

    private final Map<Integer, Entry> entries = new HashMap<>();
    /** Clips that pass, the longest there first. */
    private final Deque<Entry> passing = new ArrayDeque<>();

    private final Deque<Place> free = new ArrayDeque<>();
    private int made;

    /** @param stays whether the clip that gets it keeps it */
    private record Place(MemorySegment memory, boolean stays) {}

    /** A clip in its place; fields that change are the cache's, under its lock. */
    private static final class Entry {
        private final int clip;
        private final Place place;
        private final CompletableFuture<Boolean> read = new CompletableFuture<>();
        private int users;
        private boolean begun;
        private boolean failed;
        /** Whether it was read ahead, and nobody has looked at it yet. */
        private boolean expected;

        private Entry(int clip, Place place) {
            this.clip = clip;
            this.place = place;
        }
    }

    /**
     * An empty cache.
     *
     * @param memory most bytes to hold
     * @param threads that read, 1 or more
     * @throws IllegalArgumentException if that is not enough for a clip
     */
    ClipCache(ClipFiles files, long memory, int threads) {
        super(files, threads);
        this.extent = Extent.of(files.geometry());
        long at = 0;
        for (Modality modality : files.modalities()) {
            offsets.put(modality, at);
            long bytes = Samples.bytes(modality, files.geometry());
            at += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        }
        this.placeBytes = at;
        if (memory < placeBytes) {
            super.close();
            throw new IllegalArgumentException("memory of " + memory + " bytes for clips is less than one of them, "
                    + placeBytes + " bytes; allow more, or load smaller clips");
        }
        this.places = (int) Math.min(files.size(), memory / placeBytes);
        this.staying = places - Math.clamp(places / STAYING_OF, 1, MOST_PASSING);
    }

    @Override
    public void show(int clip, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to) {
        View view = views == null ? null : views.at(place, extent);
        use(
                clip,
                kept -> to.forEach((modality, target) -> {
                    MemorySegment samples = samples(kept, modality);
                    if (view == null) {
                        target.copyFrom(samples);
                    } else {
                        view.show(modality, files.geometry(), samples, target);
                    }
                }));
    }

    private MemorySegment samples(MemorySegment place, Modality modality) {
        long from = Objects.requireNonNull(offsets.get(modality), modality::id);
        return place.asSlice(from, Samples.bytes(modality, files.geometry()));
    }

    private void use(int clip, Consumer<MemorySegment> work) {
        Entry entry = Objects.requireNonNull(acquire(clip, false));
        try {
            readOnce(entry);
            try {
                entry.read.join();
            } catch (CompletionException e) {
                if (e.getCause() instanceof RuntimeException cause) {
                    throw cause;
                }
                throw e;
            }
            work.accept(entry.place.memory);
        } finally {
            release(entry);
        }
    }

    @Override
    public void expect(int[] clips) {
        for (int clip : clips) {
            begin(() -> {
                Entry entry = acquire(clip, true);
                if (entry != null) {
                    try {
                        readOnce(entry);
                    } finally {
                        release(entry);
                    }
                }
            });
        }
    }

    /**
     * A clip's place, which it keeps until it is released. Whoever waits here holds no other place, so that somebody always goes on.
     *
     * @param ahead whether nobody looks at it yet: then a clip that is there, or finds no place, is null
     */
    private synchronized @Nullable Entry acquire(int clip, boolean ahead) {
        while (true) {
            Entry entry = entries.get(clip);
            if (entry != null) {
                if (ahead) {
                    return null;
                }
                entry.expected = false;
                entry.users++;
                return entry;
            }
            Place place = place(ahead);
            if (place != null) {
                entry = new Entry(clip, place);
                entry.expected = ahead;
                entry.users = 1;
                entries.put(clip, entry);
                if (!place.stays) {
                    passing.add(entry);
                }
                return entry;
            }
            if (ahead) {
                return null;
            }
            try {
                wait();
            } catch (InterruptedException e) {
                throw interrupted();
            }
        }
    }

    /** A free place, a new one, or that of a clip that passed; null if there is none now. */
    private @Nullable Place place(boolean ahead) {
        if (!free.isEmpty()) {
            return free.remove();
        }
        if (made < places) {
            Place place = new Place(arena.allocate(placeBytes, ALIGNMENT), made < staying);
            made++;
            return place;
        }
        Entry passed = passing.stream()
                .filter(entry -> entry.users == 0 && !entry.expected)
                .findFirst()
                .orElse(null);
        if (passed == null && !ahead) {
            // Who reads ahead takes no place from what was read ahead before and will be needed sooner; who looks now
            // does.
            passed = passing.stream()
                    .filter(entry -> entry.users == 0)
                    .findFirst()
                    .orElse(null);
        }
        if (passed == null) {
            return null;
        }
        passing.remove(passed);
        entries.remove(passed.clip);
        return passed.place;
    }

    /** Reads a clip unless somebody else does. */
    private void readOnce(Entry entry) {
        synchronized (this) {
            if (entry.begun) {
                return;
            }
            entry.begun = true;
        }
        try {
            Map<Modality, MemorySegment> given = reading(() -> files.read(entry.clip));
            offsets.keySet()
                    .forEach(modality -> Samples.keep(
                            modality,
                            Objects.requireNonNull(given.get(modality), modality::id),
                            files.geometry().length(modality),
                            samples(entry.place.memory, modality)));
            entry.read.complete(true);
        } catch (RuntimeException | Error e) {
            synchronized (this) {
                entry.failed = true;
                entries.remove(entry.clip, entry);
                passing.remove(entry);
            }
            entry.read.completeExceptionally(e);
        }
    }

    private synchronized void release(Entry entry) {
        entry.users--;
        if (entry.users == 0) {
            if (entry.failed) {
                free.add(entry.place);
            }
            notifyAll();
        }
    }

    @Override
    public synchronized long heldBytes() {
        return made * placeBytes;
    }

    @Override
    public void close() {
        super.close();
        arena.close();
    }
}
