package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;

/** All clips in memory. Filled once, then only read. */
final class ClipMemory implements ClipStore {
    private static final long CHECKED_AT_ONCE = 1L << 30;

    private final Geometry geometry;
    private final Extent extent;
    private final Arena arena = Arena.ofShared();
    private final SortedMap<Modality, MemorySegment> data = new TreeMap<>();

    /** Memory for a number of clips. */
    ClipMemory(Geometry geometry, Set<Modality> modalities, int clips) {
        this.geometry = geometry;
        this.extent = Extent.of(geometry);
        for (Modality modality : modalities) {
            data.put(modality, arena.allocate(Math.multiplyExact(Samples.bytes(modality, geometry), (long) clips), 64));
        }
    }

    /** Fills in a clip, given in the types of the layouts. */
    void store(int clip, Map<Modality, MemorySegment> samples) {
        data.forEach((modality, segment) -> Samples.keep(
                modality,
                Objects.requireNonNull(samples.get(modality), modality::id),
                geometry.length(modality),
                of(clip, modality, segment)));
    }

    private MemorySegment of(int clip, Modality modality, MemorySegment segment) {
        long bytes = Samples.bytes(modality, geometry);
        return segment.asSlice(clip * bytes, bytes);
    }

    /** Closes the gaps between the clips that stay, which are given in ascending order. */
    void keepOnly(int[] clips) {
        data.replaceAll((modality, segment) -> {
            long bytes = Samples.bytes(modality, geometry);
            for (int i = 0; i < clips.length; i++) {
                MemorySegment.copy(segment, clips[i] * bytes, segment, i * bytes, bytes);
            }
            return segment.asSlice(0, clips.length * bytes);
        });
    }

    @Override
    public void show(int clip, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to) {
        View view = views == null ? null : views.at(place, extent);
        to.forEach((modality, target) -> {
            MemorySegment kept = of(clip, modality, Objects.requireNonNull(data.get(modality), modality::id));
            if (view == null) {
                target.copyFrom(kept);
            } else {
                view.show(modality, geometry, kept, target);
            }
        });
    }

    /** Does something for each number on the common threads; what is thrown is what one of them threw. */
    static void inParallel(int count, IntConsumer work) {
        try {
            IntStream.range(0, count).parallel().forEach(work);
        } catch (RuntimeException e) {
            // A parallel stream wraps what another thread threw in an exception of the same class.
            if (e.getCause() instanceof RuntimeException original && original.getClass() == e.getClass()) {
                throw original;
            }
            throw e;
        }
    }

    @Override
    public void forEach(int places, IntConsumer work) {
        inParallel(places, work);
    }

    @Override
    public long heldBytes() {
        return data.values().stream().mapToLong(MemorySegment::byteSize).sum();
    }

    @Override
    public String addTo(CRC32 checksum) {
        data.values().forEach(segment -> {
            for (long from = 0; from < segment.byteSize(); from += CHECKED_AT_ONCE) {
                long bytes = Math.min(CHECKED_AT_ONCE, segment.byteSize() - from);
                checksum.update(segment.asSlice(from, bytes).asByteBuffer());
            }
        });
        return "clips";
    }

    @Override
    public void close() {
        arena.close();
    }
}
