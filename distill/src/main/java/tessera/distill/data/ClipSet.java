package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.NavigableSet;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import org.jspecify.annotations.Nullable;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;

/**
 * Clips of one split in memory, aligned across modalities, with their labels.
 *
 * <p>Thousands of clips fit, because {@link SampleLayout.Values} keeps them small. Filled once, then read-only and safe to share
 * between threads. The memory is off-heap and freed by {@link #close()}.
 */
public final class ClipSet implements AutoCloseable {
    /** The head of the clips' own classes, which every set has. */
    public static final String ACTION = "action";

    private static final long CHECKED_AT_ONCE = 1L << 30;

    private final Geometry geometry;
    private final Heads heads;
    private final Arena arena = Arena.ofShared();
    private final SortedMap<Modality, MemorySegment> data = new TreeMap<>();
    private final NavigableSet<String> leftOut;
    private List<String> names;
    private int[] labels;

    private ClipSet(Geometry geometry, Heads heads, Listing listing, Set<Modality> modalities) {
        this.geometry = geometry;
        this.heads = heads;
        this.leftOut = new TreeSet<>(listing.missing);
        this.names = listing.names;
        this.labels = listing.labels.clone();
        for (Modality modality : modalities) {
            data.put(modality, arena.allocate(Math.multiplyExact(bytes(modality), (long) labels.length), 64));
        }
    }

    private long bytes(Modality modality) {
        return geometry.length(modality) * modality.layout().values().kept().bytes();
    }

    /** Delivers clip i of a set that is being filled; called from several threads. */
    public interface Source {
        /**
         * Heap or native memory with the clip's samples of every modality of the set, in the type that their layout gives; or null
         * to leave the clip out of the set.
         */
        @Nullable
        Map<Modality, MemorySegment> clip(int index);
    }

    /**
     * Which clips a set is made of. A clip is called as its class, a slash, and what no other clip of the class is called.
     *
     * @param names of the clips to load
     * @param labels class of each of them
     * @param missing names of further clips, which are known to be broken
     */
    public record Listing(List<String> names, int[] labels, Set<String> missing) {
        public Listing {
            names = List.copyOf(names);
            missing = Set.copyOf(missing);
            if (names.size() != labels.length) {
                throw new IllegalArgumentException(
                        names.size() + " names and " + labels.length + " labels of clips; pass one of each for each");
            }
        }

        /** Clips that are called by their place in their class, from 0. */
        static Listing numbered(List<String> classes, int[] labels) {
            int[] places = new int[classes.size()];
            return new Listing(
                    IntStream.of(labels)
                            .mapToObj(label -> classes.get(label) + "/" + places[label]++)
                            .toList(),
                    labels,
                    Set.of());
        }
    }

    /**
     * Loads clips with labels of the head {@link #ACTION} alone, in parallel. They are called by their place in their class.
     *
     * @param labels class of each clip
     * @param modalities what the source's clips hold and the set keeps
     * @param progress told after each clip how many are done
     */
    public static ClipSet load(
            Geometry geometry,
            List<String> classes,
            int[] labels,
            Set<Modality> modalities,
            Source source,
            IntConsumer progress) {
        return load(geometry, classes, Map.of(), labels, modalities, source, progress);
    }

    /** As {@link #load(Geometry, List, Map, Listing, Set, Source, IntConsumer)}, of clips called by their place in their class. */
    public static ClipSet load(
            Geometry geometry,
            List<String> classes,
            Map<String, List<String>> heads,
            int[] labels,
            Set<Modality> modalities,
            Source source,
            IntConsumer progress) {
        return load(geometry, classes, heads, Listing.numbered(classes, labels), modalities, source, progress);
    }

    /**
     * Loads clips in parallel.
     *
     * @param heads further heads by name: the value of each class, such as {@code verb -> [open, open, cut]}
     * @param listing the clips
     * @param modalities what the source's clips hold and the set keeps
     * @param progress told after each clip how many are done
     * @throws IllegalArgumentException if a head has not one value for every class, or is called {@link #ACTION}
     */
    public static ClipSet load(
            Geometry geometry,
            List<String> classes,
            Map<String, List<String>> heads,
            Listing listing,
            Set<Modality> modalities,
            Source source,
            IntConsumer progress) {
        ClipSet set = new ClipSet(geometry, new Heads(classes, heads), listing, modalities);
        boolean[] kept = new boolean[set.size()];
        try {
            AtomicInteger done = new AtomicInteger();
            IntStream.range(0, kept.length).parallel().forEach(i -> {
                Map<Modality, MemorySegment> clip = source.clip(i);
                if (clip != null) {
                    set.store(i, clip);
                    kept[i] = true;
                }
                progress.accept(done.incrementAndGet());
            });
            set.keepOnly(kept);
            return set;
        } catch (RuntimeException | Error e) {
            set.close();
            // A parallel stream wraps what another thread threw in an exception of the same class.
            if (e.getCause() instanceof RuntimeException original && original.getClass() == e.getClass()) {
                throw original;
            }
            throw e;
        }
    }

    /** Closes the gaps of clips that were left out. */
    private void keepOnly(boolean[] kept) {
        int[] clips = IntStream.range(0, kept.length).filter(i -> kept[i]).toArray();
        if (clips.length < kept.length) {
            data.replaceAll((modality, segment) -> {
                long bytes = bytes(modality);
                for (int i = 0; i < clips.length; i++) {
                    MemorySegment.copy(segment, clips[i] * bytes, segment, i * bytes, bytes);
                }
                return segment.asSlice(0, clips.length * bytes);
            });
            leftOut.addAll(names);
            names = IntStream.of(clips).mapToObj(names::get).toList();
            names.forEach(leftOut::remove);
            labels = IntStream.of(clips).map(i -> labels[i]).toArray();
        }
    }

    private void store(int index, Map<Modality, MemorySegment> clip) {
        data.forEach((modality, segment) -> {
            MemorySegment samples = Objects.requireNonNull(clip.get(modality), modality::id);
            long length = geometry.length(modality);
            switch (modality.layout().values()) {
                case BYTE -> MemorySegment.copy(samples, 0, segment, index * length, length);
                case EXACT ->
                    MemorySegment.copy(
                            samples,
                            ValueLayout.JAVA_FLOAT_UNALIGNED,
                            0,
                            segment,
                            ValueLayout.JAVA_FLOAT,
                            index * length * Float.BYTES,
                            length);
                case REAL -> {
                    for (long i = 0; i < length; i++) {
                        int bits = Float.floatToIntBits(samples.getAtIndex(ValueLayout.JAVA_FLOAT, i));
                        int rounded = (bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16;
                        segment.setAtIndex(ValueLayout.JAVA_SHORT, index * length + i, (short) rounded);
                    }
                }
                case SHARE -> {
                    for (long i = 0; i < length; i++) {
                        float share = Math.clamp(samples.getAtIndex(ValueLayout.JAVA_FLOAT, i), 0f, 1f);
                        segment.setAtIndex(ValueLayout.JAVA_BYTE, index * length + i, (byte) Math.round(255 * share));
                    }
                }
            }
        });
    }

    /** Number of clips. */
    public int size() {
        return labels.length;
    }

    /** What each clip is called, such as {@code open door/17}; see {@link Listing}. */
    public List<String> names() {
        return names;
    }

    /** Names of the clips that should be in the set but are broken. */
    public Set<String> leftOut() {
        return Collections.unmodifiableSet(leftOut);
    }

    /** Class of a clip. */
    public int label(int index) {
        return labels[index];
    }

    /** Class of every clip. */
    public int[] labels() {
        return labels.clone();
    }

    /** Names of the classes. */
    public List<String> classes() {
        return heads.classes(ACTION);
    }

    /** Names of the heads that the clips have labels for, {@link #ACTION} first. */
    public List<String> heads() {
        return heads.names();
    }

    /**
     * The clips' labels for a head.
     *
     * @throws IllegalArgumentException if there are none
     */
    public HeadLabels head(String name) {
        int[] ofClass = heads.ofClass(name);
        return new HeadLabels(
                heads.classes(name),
                IntStream.of(labels).map(label -> ofClass[label]).toArray());
    }

    public Geometry geometry() {
        return geometry;
    }

    /** A checksum of the clips and their labels, whatever they are called: equal for equal sets. */
    public String checksum() {
        CRC32 checksum = new CRC32();
        for (int label : labels) {
            Heads.update(checksum, label);
        }
        heads.addTo(checksum);
        data.forEach((modality, segment) -> {
            for (long from = 0; from < segment.byteSize(); from += CHECKED_AT_ONCE) {
                long bytes = Math.min(CHECKED_AT_ONCE, segment.byteSize() - from);
                checksum.update(segment.asSlice(from, bytes).asByteBuffer());
            }
        });
        return "%s clips %08x".formatted(labels.length, checksum.getValue());
    }

    /** The modalities that were loaded. */
    public Set<Modality> modalities() {
        return Set.copyOf(data.keySet());
    }

    /** As {@link #batch(Device, Modality, int[])}, on the CPU. */
    public Tensor batch(Modality modality, int[] indices) {
        return batch(Device.cpu(), modality, indices);
    }

    /**
     * A batch of one modality as it was loaded, {@code [B, T, rows, columns, C]} in the type that its layout gives. It belongs to
     * the innermost open scope.
     *
     * @throws IllegalArgumentException if the set was loaded without the modality
     */
    public Tensor batch(Device device, Modality modality, int[] indices) {
        MemorySegment segment = segment(modality);
        SampleLayout.Values values = modality.layout().values();
        long bytes = bytes(modality);
        try (Scope scope = Scope.open()) {
            Tensor stored = Tensor.empty(host(device), values.kept(), shape(indices.length, geometry, modality));
            for (int i = 0; i < indices.length; i++) {
                MemorySegment.copy(segment, indices[i] * bytes, stored.segment(), i * bytes, bytes);
            }
            return scope.keep(stored.to(values.batched()).to(device));
        }
    }

    /** As {@link #view(Device, Modality, int[], List)}, every clip in the same view. */
    public Tensor view(Device device, Modality modality, int[] indices, View view) {
        return view(device, modality, indices, Collections.nCopies(indices.length, view));
    }

    /**
     * A batch of one modality, each clip in a view: {@code [B, T, rows, columns, C]} of the views' geometry, in the type that the
     * modality's layout gives. It belongs to the innermost open scope.
     *
     * @param views one for each clip, made for sets of this geometry
     * @throws IllegalArgumentException if the set was loaded without the modality, or a view is none of this set
     */
    public Tensor view(Device device, Modality modality, int[] indices, List<View> views) {
        MemorySegment segment = segment(modality);
        if (views.size() != indices.length || views.isEmpty()) {
            throw new IllegalArgumentException(
                    views.size() + " views of " + indices.length + " clips; pass one for each of 1 clip or more");
        }
        Geometry seen = views.getFirst().seen();
        views.forEach(view -> view.requireOf(geometry, seen));
        SampleLayout.Values values = modality.layout().values();
        try (Scope scope = Scope.open()) {
            Tensor shown = Tensor.empty(host(device), values.batched(), shape(indices.length, seen, modality));
            long from = bytes(modality);
            long to = seen.length(modality) * values.batched().bytes();
            MemorySegment target = shown.segment();
            IntStream.range(0, indices.length)
                    .parallel()
                    .forEach(i -> views.get(i)
                            .show(
                                    modality,
                                    geometry,
                                    segment.asSlice(indices[i] * from, from),
                                    target.asSlice(i * to, to)));
            return scope.keep(shown.to(device));
        }
    }

    private static Device host(Device device) {
        return device.isHost() ? device : Device.cpu();
    }

    private static Shape shape(int clips, Geometry geometry, Modality modality) {
        return Shape.of(
                clips,
                geometry.frames(),
                geometry.rows(modality),
                geometry.columns(modality),
                modality.layout().channels());
    }

    private MemorySegment segment(Modality modality) {
        MemorySegment segment = data.get(modality);
        if (segment == null) {
            throw new IllegalArgumentException("the clips were loaded without " + modality
                    + "; load them with every modality that training needs");
        }
        return segment;
    }

    @Override
    public void close() {
        arena.close();
    }
}
