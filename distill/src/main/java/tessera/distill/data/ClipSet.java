package tessera.distill.data;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
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
 * Clips of one split, aligned across modalities, with their labels.
 *
 * <p>All of them are in memory, where thousands fit, because {@link SampleLayout.Values} keeps them small; or they are read from their
 * files when a batch needs them, and as many are kept as a bound of memory allows ({@link ModalityFolders#forTraining} and {@link
 * ModalityFolders#forEvaluation}). Both give the same
 * batches. Safe to share between threads. The memory is off-heap and freed by {@link #close()}, during which nothing may be taken.
 */
public final class ClipSet implements AutoCloseable {
    /** The head of the clips' own classes, which every set has. */
    public static final String ACTION = "action";

    private final Geometry geometry;
    private final Heads heads;
    private final Set<Modality> modalities;
    private final ClipStore store;
    private final BrokenClips broken;
    private final NavigableSet<String> leftOut;
    private final List<String> names;
    private final int[] labels;

    private ClipSet(
            Geometry geometry,
            Heads heads,
            Set<Modality> modalities,
            ClipStore store,
            BrokenClips broken,
            Listing listing) {
        this.geometry = geometry;
        this.heads = heads;
        this.modalities = Set.copyOf(modalities);
        this.store = store;
        this.broken = broken;
        this.leftOut = new TreeSet<>(listing.missing);
        this.names = listing.names;
        this.labels = listing.labels.clone();
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

        /** Those that were found whole; the others are missing. */
        Listing without(boolean[] whole) {
            int[] clips = IntStream.range(0, whole.length).filter(i -> whole[i]).toArray();
            if (clips.length == whole.length) {
                return this;
            }
            Set<String> all = new TreeSet<>(missing);
            all.addAll(names);
            List<String> left = IntStream.of(clips).mapToObj(names::get).toList();
            left.forEach(all::remove);
            return new Listing(left, IntStream.of(clips).map(i -> labels[i]).toArray(), all);
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
        Heads known = new Heads(classes, heads);
        ClipMemory memory = new ClipMemory(geometry, modalities, listing.names.size());
        boolean[] kept = new boolean[listing.names.size()];
        try {
            AtomicInteger done = new AtomicInteger();
            ClipMemory.inParallel(kept.length, i -> {
                Map<Modality, MemorySegment> clip = source.clip(i);
                if (clip != null) {
                    memory.store(i, clip);
                    kept[i] = true;
                }
                progress.accept(done.incrementAndGet());
            });
            Listing whole = listing.without(kept);
            if (whole.names.size() < kept.length) {
                memory.keepOnly(
                        IntStream.range(0, kept.length).filter(i -> kept[i]).toArray());
            }
            BrokenClips none = new BrokenClips(whole.names, false, 0, 0, note -> {});
            return new ClipSet(geometry, known, modalities, memory, none, whole);
        } catch (RuntimeException | Error e) {
            memory.close();
            throw e;
        }
    }

    /**
     * Clips that are read when they are looked at.
     *
     * @param listing all of them
     * @param store closed with the set
     */
    static ClipSet read(
            Geometry geometry,
            Heads heads,
            Listing listing,
            Set<Modality> modalities,
            ClipStore store,
            BrokenClips broken) {
        return new ClipSet(geometry, heads, modalities, store, broken, listing);
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

    /**
     * A checksum of the clips and their labels, whatever they are called: equal for equal sets. Of clips that are read when they are looked at
     * it is one of their names and of what their files look like from outside.
     */
    public String checksum() {
        CRC32 checksum = new CRC32();
        for (int label : labels) {
            Heads.update(checksum, label);
        }
        heads.addTo(checksum);
        String what = store.addTo(checksum);
        return "%s %s %08x".formatted(labels.length, what, checksum.getValue());
    }

    /** The modalities that were loaded. */
    public Set<Modality> modalities() {
        return modalities;
    }

    /** Bytes of memory that are held for clips. */
    public long heldBytes() {
        return store.heldBytes();
    }

    /**
     * Whether every look cuts its clip anew out of all that its files have, so that views are drawn from the {@link Extent} of each clip
     * instead of the {@link #geometry}.
     */
    public boolean isLive() {
        return store instanceof LiveClips;
    }

    /** By which views {@link #isLive live} clips are cut in training that has none of its own; null for others. */
    public @Nullable Views cut() {
        return store instanceof LiveClips live ? live.cut() : null;
    }

    /** Whether clips are read when they are looked at, so that it is worth while to {@link #expect} them. */
    public boolean isRead() {
        return store.isRead();
    }

    /** Says that clips will be taken soon, in this order; they are read ahead as far as memory allows. */
    public void expect(int... clips) {
        store.expect(clips);
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
        return one(modality, show(device, Set.of(modality), indices, null, geometry, null));
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
        if (views.size() != indices.length || views.isEmpty()) {
            throw new IllegalArgumentException(
                    views.size() + " views of " + indices.length + " clips; pass one for each of 1 clip or more");
        }
        Geometry seen = views.getFirst().seen();
        views.forEach(view -> view.requireOf(geometry.frames(), seen));
        return one(modality, show(device, Set.of(modality), indices, null, seen, (place, stored) -> views.get(place)));
    }

    private static Tensor one(Modality modality, Taken taken) {
        return Objects.requireNonNull(taken.samples().get(modality), modality::id);
    }

    /**
     * A batch for training.
     *
     * @param clips which it holds: those asked for, but for others that stand in for broken ones
     * @param samples {@code [B, T, rows, columns, C]} of each modality, in the type that its layout gives
     */
    public record Taken(int[] clips, SortedMap<Modality, Tensor> samples) {}

    /**
     * Clips in several modalities at once, each in its own view. It belongs to the innermost open scope.
     *
     * @param indices which clips
     * @param among the clips, ascending, that may stand in for one of {@code indices} that is found broken when it is read: the next whole
     *     one of these does, so that the same always stands in for the same
     * @param seen sizes of what the views show; the set's own without views
     * @param views gives each clip its view, or null for clips as they are kept
     * @throws IllegalArgumentException if the set was loaded without a modality, a clip has no such view, or too many clips are broken
     */
    public Taken take(
            Device device, Set<Modality> wanted, int[] indices, int[] among, Geometry seen, @Nullable ViewOf views) {
        return show(device, wanted, indices, among, seen, views);
    }

    private Taken show(
            Device device,
            Set<Modality> wanted,
            int[] indices,
            int @Nullable [] among,
            Geometry seen,
            @Nullable ViewOf views) {
        wanted.forEach(this::require);
        int[] clips = indices.clone();
        try (Scope scope = Scope.open()) {
            SortedMap<Modality, Tensor> samples = new TreeMap<>();
            for (Modality modality : wanted) {
                SampleLayout.Values values = modality.layout().values();
                samples.put(
                        modality,
                        Tensor.empty(
                                host(device),
                                views == null ? values.kept() : values.batched(),
                                shape(indices.length, seen, modality)));
            }
            Map<Modality, MemorySegment> memory = new TreeMap<>();
            samples.forEach((modality, tensor) -> memory.put(modality, tensor.segment()));
            store.forEach(indices.length, place -> {
                Map<Modality, MemorySegment> to = new TreeMap<>();
                memory.forEach((modality, segment) -> {
                    long bytes = segment.byteSize() / indices.length;
                    to.put(modality, segment.asSlice(place * bytes, bytes));
                });
                clips[place] = among == null
                        ? shown(clips[place], place, views, to)
                        : shownOrAnother(clips[place], among, place, views, to);
            });
            broken.requireFew();
            samples.replaceAll((modality, tensor) ->
                    scope.keep(tensor.to(modality.layout().values().batched()).to(device)));
            return new Taken(clips, samples);
        }
    }

    private int shown(int clip, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to) {
        try {
            store.show(clip, place, views, to);
            return clip;
        } catch (BrokenClip e) {
            throw e.why();
        }
    }

    private int shownOrAnother(
            int clip, int[] among, int place, @Nullable ViewOf views, Map<Modality, MemorySegment> to) {
        int first = Math.max(0, Arrays.binarySearch(among, clip));
        for (int i = 0; i < among.length; i++) {
            int another = among[(first + i) % among.length];
            if (!broken.isKnown(another)) {
                try {
                    store.show(another, place, views, to);
                    return another;
                } catch (BrokenClip e) {
                    broken.add(another, e.why());
                }
            }
        }
        broken.requireFew();
        throw new IllegalArgumentException(
                "all " + among.length + " clips that are trained on are broken; mend them, or train on others");
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

    private void require(Modality modality) {
        if (!modalities.contains(modality)) {
            throw new IllegalArgumentException("the clips were loaded without " + modality
                    + "; load them with every modality that training needs");
        }
    }

    @Override
    public void close() {
        store.close();
    }
}
