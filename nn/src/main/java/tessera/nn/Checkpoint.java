package tessera.nn;

import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.io.ArrayData;
import tessera.tensor.io.Safetensors;
import tessera.tensor.io.SafetensorsShards;
import tessera.tensor.io.StoredType;
import tessera.tensor.io.TensorFileException;

/**
 * Named tensors with text metadata, as a safetensors file holds them.
 *
 * <p>Weights that a file has in bytes ({@link Int8Layers}) are the f32 tensors that they stand for.
 *
 * @param tensors CPU tensors by name, which belong to whoever made the checkpoint
 * @param metadata text entries
 * @param unread arrays of the file that no tensor can hold exactly, such as counters beyond i32 or eight-bit floats, and those of unknown types: why, by name
 */
public record Checkpoint(Map<String, Tensor> tensors, Map<String, String> metadata, Map<String, String> unread)
        implements AutoCloseable {

    /**
     * Reads a safetensors file, or shards as {@link SafetensorsShards} finds them. Half floats become f32, integers of types that tensors do not have i32; what cannot is {@link #unread}, so
     * that it harms only who asks for it.
     *
     * @throws tessera.tensor.io.TensorFileException if the file is missing or malformed
     */
    public static Checkpoint read(Path path) {
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        Map<String, String> unread = new LinkedHashMap<>();
        try (SafetensorsShards file = SafetensorsShards.open(path)) {
            Set<String> scales = Int8Layers.isInt8(file.metadata()) ? scales(file) : Set.of();
            for (String name : file.names()) {
                if (scales.contains(name)) {
                    continue;
                }
                ArrayData data = file.entry(name);
                DType stored = data.type().dtype();
                Shape shape = Shape.of(data.shape());
                if (scales.contains(Int8Layers.scaleOf(name))) {
                    float[] scale = file.entry(Int8Layers.scaleOf(name)).floats();
                    tensors.put(name, Int8Layers.decode(name, shape, data.data(), scale));
                } else if (stored == null) {
                    try {
                        tensors.put(name, converted(data));
                    } catch (TensorFileException notExact) {
                        unread.put(name, String.valueOf(notExact.getMessage()));
                    }
                } else {
                    Tensor tensor = Tensor.empty(Device.cpu(), stored, shape);
                    MemorySegment.copy(
                            data.data(), 0, tensor.segment(), 0, data.data().byteSize());
                    tensors.put(name, tensor);
                }
            }
            unread.putAll(file.unreadable());
            return new Checkpoint(tensors, file.metadata(), unread);
        } catch (RuntimeException e) {
            tensors.values().forEach(Tensor::close);
            throw e;
        }
    }

    /** Names of the scales of the weights in bytes. */
    private static Set<String> scales(SafetensorsShards file) {
        Set<String> scales = new HashSet<>();
        for (String name : file.names()) {
            if (file.entry(name).type() == StoredType.I8) {
                String scale = Int8Layers.scaleOf(name);
                if (!file.names().contains(scale)) {
                    throw new CheckpointException(
                            name + " is int8 but " + scale + " is missing; use the file as it was written");
                }
                scales.add(scale);
            }
        }
        return scales;
    }

    private static Tensor converted(ArrayData data) {
        Tensor flat = switch (data.type()) {
            case I8, I16, U16, U32, I64, U64 -> Tensor.of(data.ints());
            default -> Tensor.of(data.floats());
        };
        return flat.reshape(data.shape());
    }

    /** Writes a safetensors file: to a temporary name, then moved. */
    public static void write(Path path, Map<String, Tensor> tensors, Map<String, String> metadata) {
        write(path, tensors, metadata, Set.of());
    }

    /**
     * As {@link #write(Path, Map, Map)}, with weights in bytes.
     *
     * @param int8 names of weights that {@link Int8Layers} have rounded
     */
    public static void write(Path path, Map<String, Tensor> tensors, Map<String, String> metadata, Set<String> int8) {
        try (Scope scope = Scope.open()) {
            List<ArrayData> arrays = new ArrayList<>();
            // In the order of their names, so that equal tensors give equal bytes in whatever map they come.
            new TreeMap<>(tensors).forEach((name, tensor) -> {
                Tensor contiguous = tensor.detach().contiguous().to(Device.cpu());
                long[] shape = tensor.shape().toArray();
                if (int8.contains(name)) {
                    byte[] bytes = new byte[Math.toIntExact(tensor.shape().count())];
                    float[] scales = Int8Layers.encode(name, contiguous, bytes);
                    arrays.add(new ArrayData(name, StoredType.I8, shape, MemorySegment.ofArray(bytes)));
                    arrays.add(ArrayData.of(Int8Layers.scaleOf(name), scales, scales.length));
                } else {
                    arrays.add(new ArrayData(name, StoredType.of(tensor.dtype()), shape, contiguous.segment()));
                }
            });
            Safetensors.write(path, arrays, metadata);
        }
    }

    /**
     * Makes something of the tensors; where that is refused, the refusal also says what the file holds that could not be read, since
     * that may be what is missing.
     */
    public <T> T explaining(Supplier<T> made) {
        try {
            return made.get();
        } catch (CheckpointException e) {
            if (unread.isEmpty()) {
                throw e;
            }
            String some = unread.values().stream().limit(3).collect(Collectors.joining("; "));
            String more = unread.size() > 3 ? "; and " + (unread.size() - 3) + " more" : "";
            throw new CheckpointException(e.getMessage() + "; not read: " + some + more);
        }
    }

    /** The entries whose names pass, under their names. */
    public Map<String, Tensor> select(Predicate<String> names) {
        Map<String, Tensor> selected = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> {
            if (names.test(name)) {
                selected.put(name, tensor);
            }
        });
        return selected;
    }

    /** The entries below a prefix, without it. */
    public Map<String, Tensor> below(String prefix) {
        Map<String, Tensor> selected = new LinkedHashMap<>();
        tensors.forEach((name, tensor) -> {
            if (name.startsWith(prefix)) {
                selected.put(name.substring(prefix.length()), tensor);
            }
        });
        return selected;
    }

    @Override
    public void close() {
        tensors.values().forEach(Tensor::close);
    }
}
