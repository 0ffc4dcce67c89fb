package tessera.distill.data;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntConsumer;
import java.util.stream.IntStream;
import java.util.zip.CRC32;
import tessera.distill.egosim.Clip;
import tessera.distill.egosim.Geometry;
import tessera.distill.egosim.Modality;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * Clips of one split in memory, aligned across modalities, with their labels.
 *
 * <p>To hold thousands of clips, flow is stored as bf16 and heat maps as u8 (255 times their value). Filled once, then
 * read-only and safe to share between threads. The memory is off-heap and freed by {@link #close()}.
 */
public final class ClipSet implements AutoCloseable {
    private static final long CHECKED_AT_ONCE = 1L << 30;

    private final Geometry geometry;
    private final List<String> classes;
    private final int[] labels;
    private final Arena arena = Arena.ofShared();
    private final Map<Modality, MemorySegment> data = new EnumMap<>(Modality.class);

    private ClipSet(Geometry geometry, List<String> classes, int[] labels, Set<Modality> modalities) {
        this.geometry = geometry;
        this.classes = List.copyOf(classes);
        this.labels = labels;
        for (Modality modality : modalities) {
            long bytes = clipLength(geometry, modality) * storedType(modality).bytes();
            data.put(modality, arena.allocate(Math.multiplyExact(bytes, (long) labels.length), 64));
        }
    }

    /** Delivers clip i of a set that is being filled; called from several threads. */
    public interface Source {
        Clip clip(int index);
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
        } catch (RuntimeException e) {
            set.close();
            // A parallel stream wraps what another thread threw in an exception of the same class.
            throw e.getCause() instanceof RuntimeException original && original.getClass() == e.getClass()
                    ? original
                    : e;
        } catch (Error e) {
            set.close();
            throw e;
        }
    }

    private void store(int index, Clip clip) {
        data.forEach((modality, segment) -> {
            long length = clipLength(geometry, modality);
            switch (modality) {
                case RGB ->
                    MemorySegment.copy(
                            clip.rgb(), 0, segment, ValueLayout.JAVA_BYTE, index * length, clip.rgb().length);
                case FLOW -> storeFlow(segment, index * length, clip.flow());
                case POSE -> storePose(segment, index * length, clip.pose());
            }
        });
    }

    private static void storeFlow(MemorySegment segment, long at, float[] flow) {
        for (int i = 0; i < flow.length; i++) {
            int bits = Float.floatToIntBits(flow[i]);
            int rounded = (bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16;
            segment.setAtIndex(ValueLayout.JAVA_SHORT, at + i, (short) rounded);
        }
    }

    private static void storePose(MemorySegment segment, long at, float[] pose) {
        for (int i = 0; i < pose.length; i++) {
            segment.setAtIndex(ValueLayout.JAVA_BYTE, at + i, (byte) Math.round(255 * Math.clamp(pose[i], 0f, 1f)));
        }
    }

    private static DType storedType(Modality modality) {
        return modality == Modality.FLOW ? DType.BF16 : DType.U8;
    }

    private static long clipLength(Geometry geometry, Modality modality) {
        int size = modality == Modality.POSE ? geometry.poseSize() : geometry.size();
        return (long) geometry.frames() * size * size * channels(modality);
    }

    static int channels(Modality modality) {
        return switch (modality) {
            case RGB -> 3;
            case FLOW -> 2;
            case POSE -> 21;
        };
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
     * A batch of one modality, {@code [B, T, H, W, C]}: u8 for pictures and heat maps, f32 for flow. It belongs to the
     * innermost open scope.
     *
     * @throws IllegalArgumentException if the set was loaded without the modality
     */
    public Tensor batch(Device device, Modality modality, int[] indices) {
        if (!device.isHost()) {
            try (Scope scope = Scope.open()) {
                return scope.keep(batch(Device.cpu(), modality, indices).to(device));
            }
        }
        MemorySegment segment = data.get(modality);
        if (segment == null) {
            throw new IllegalArgumentException("the clips were loaded without " + modality
                    + "; load them with every modality that training needs");
        }
        int size = modality == Modality.POSE ? geometry.poseSize() : geometry.size();
        DType type = storedType(modality);
        long bytes = clipLength(geometry, modality) * type.bytes();
        tessera.tensor.Shape shape =
                tessera.tensor.Shape.of(indices.length, geometry.frames(), size, size, channels(modality));
        if (type == DType.U8) {
            Tensor batch = Tensor.empty(device, type, shape);
            copy(segment, indices, bytes, batch);
            return batch;
        }
        try (Scope scope = Scope.open()) {
            Tensor stored = Tensor.empty(device, type, shape);
            copy(segment, indices, bytes, stored);
            return scope.keep(stored.to(DType.F32));
        }
    }

    private static void copy(MemorySegment from, int[] indices, long bytes, Tensor to) {
        MemorySegment target = to.segment();
        for (int i = 0; i < indices.length; i++) {
            MemorySegment.copy(from, indices[i] * bytes, target, i * bytes, bytes);
        }
    }

    @Override
    public void close() {
        arena.close();
    }
}
