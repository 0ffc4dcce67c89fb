package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import tessera.kernels.DType;
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
    private static final long CHECKED_AT_ONCE = 1L << 30;

    private final Geometry geometry;
    private final List<String> classes;
    private final int[] labels;
    private final Arena arena = Arena.ofShared();
    private final SortedMap<Modality, MemorySegment> data = new TreeMap<>();

    private ClipSet(Geometry geometry, List<String> classes, int[] labels, Set<Modality> modalities) {
        this.geometry = geometry;
        this.classes = List.copyOf(classes);
        this.labels = labels;
        for (Modality modality : modalities) {
            long bytes = geometry.length(modality)
                    * modality.layout().values().kept().bytes();
            data.put(modality, arena.allocate(Math.multiplyExact(bytes, (long) labels.length), 64));
        }
    }

    /** Delivers clip i of a set that is being filled; called from several threads. */
    public interface Source {
        /** Heap or native memory with the clip's samples of every modality of the set, in the type that their layout gives. */
        Map<Modality, MemorySegment> clip(int index);
    }

    /**
     * Loads clips in parallel.
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
        ClipSet set = new ClipSet(geometry, classes, labels.clone(), modalities);
        try {
            AtomicInteger done = new AtomicInteger();
            IntStream.range(0, labels.length).parallel().forEach(i -> {
                set.store(i, source.clip(i));
                progress.accept(done.incrementAndGet());
            });
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

    private void store(int index, Map<Modality, MemorySegment> clip) {
        data.forEach((modality, segment) -> {
            MemorySegment samples = Objects.requireNonNull(clip.get(modality), modality::id);
            long length = geometry.length(modality);
            switch (modality.layout().values()) {
                case BYTE -> MemorySegment.copy(samples, 0, segment, index * length, length);
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
        return classes;
    }

    public Geometry geometry() {
        return geometry;
    }

    /** A checksum of the clips and their labels: equal for equal sets. */
    public String checksum() {
        CRC32 checksum = new CRC32();
        for (int label : labels) {
            checksum.update(label);
        }
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
     * A batch of one modality, {@code [B, T, H, W, C]} in the type that its layout gives. It belongs to the innermost open
     * scope.
     *
     * @throws IllegalArgumentException if the set was loaded without the modality
     */
    public Tensor batch(Device device, Modality modality, int[] indices) {
        MemorySegment segment = data.get(modality);
        if (segment == null) {
            throw new IllegalArgumentException("the clips were loaded without " + modality
                    + "; load them with every modality that training needs");
        }
        int side = geometry.side(modality);
        DType type = modality.layout().values().kept();
        long bytes = geometry.length(modality) * type.bytes();
        Shape shape = Shape.of(
                indices.length, geometry.frames(), side, side, modality.layout().channels());
        try (Scope scope = Scope.open()) {
            Tensor stored = Tensor.empty(device.isHost() ? device : Device.cpu(), type, shape);
            for (int i = 0; i < indices.length; i++) {
                MemorySegment.copy(segment, indices[i] * bytes, stored.segment(), i * bytes, bytes);
            }
            return scope.keep(stored.to(modality.layout().values().batched()).to(device));
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
