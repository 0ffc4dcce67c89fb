package tessera.tensor.io;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.SequencedSet;
import java.util.stream.Collectors;

/**
 * An open safetensors file. A tensor of a type that is unknown here hides no other: it is {@link #unreadable}, and refused when it is asked
 * for; only where nothing can be read is the file.
 *
 * <p>The memory belongs to this object and ends with {@link #close()}: a segment used afterwards throws
 * {@link IllegalStateException} and never touches freed memory. It is held by a shared arena, so that any thread may read
 * tensors and any thread may close the file, and so that the mapping ends when asked instead of when a collector runs (a
 * mapped file cannot be replaced on some systems). A file is opened once and read for long, so the shared arena's slower
 * close does not matter. All methods may be called from any thread.
 */
public final class SafetensorsFile implements AutoCloseable {
    private static final ValueLayout.OfLong LITTLE_ENDIAN_LONG =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final Path path;
    private final Arena arena;
    private final RandomAccessFile file;
    private final long mappedBytes;
    private final Map<String, ArrayData> arrays;
    private final Map<String, String> metadata;
    private final Map<String, TensorFileException> unreadable;

    private SafetensorsFile(
            Path path,
            Arena arena,
            RandomAccessFile file,
            long mappedBytes,
            Map<String, ArrayData> arrays,
            SafetensorsHeader header) {
        this.path = path;
        this.arena = arena;
        this.file = file;
        this.mappedBytes = mappedBytes;
        this.arrays = arrays;
        this.metadata = header.metadata();
        this.unreadable = unreadable(header, path.toString());
        if (arrays.isEmpty() && !unreadable.isEmpty()) {
            throw unreadable.values().iterator().next();
        }
    }

    static SafetensorsFile open(Path path, boolean copied) {
        Arena arena = Arena.ofShared();
        try {
            RandomAccessFile file = Mapping.open(path);
            try {
                SafetensorsFile opened = copied ? copy(path, file, arena) : map(path, file, arena);
                if (copied) {
                    file.close();
                }
                return opened;
            } catch (IOException | RuntimeException | Error failure) {
                file.close();
                throw failure;
            }
        } catch (IOException failure) {
            arena.close();
            throw TensorFileException.unreadable(path, failure);
        } catch (InternalError fault) {
            arena.close();
            throw TensorFileException.shortened(path.toString(), fault);
        } catch (RuntimeException | Error failure) {
            arena.close();
            throw failure;
        }
    }

    private static SafetensorsFile map(Path path, RandomAccessFile file, Arena arena) throws IOException {
        MemorySegment mapped = Mapping.map(file, arena);
        SafetensorsHeader header = header(mapped, path.toString());
        return new SafetensorsFile(path, arena, file, mapped.byteSize(), arrays(header, data(mapped)), header);
    }

    private static SafetensorsFile copy(Path path, RandomAccessFile file, Arena arena) throws IOException {
        try (Arena mapping = Arena.ofShared()) {
            MemorySegment mapped = Mapping.map(file, mapping);
            SafetensorsHeader header = header(mapped, path.toString());
            MemorySegment source = data(mapped);
            MemorySegment own = arena.allocate(source.byteSize(), 64).copyFrom(source);
            return new SafetensorsFile(path, arena, file, 0, arrays(header, own), header);
        }
    }

    private static SafetensorsHeader header(MemorySegment mapped, String file) {
        if (mapped.byteSize() < Long.BYTES) {
            throw TensorFileException.malformed(
                    file, "safetensors", "it has " + mapped.byteSize() + " bytes, too few for a header length");
        }
        byte[] start = mapped.asSlice(0, Long.BYTES).toArray(ValueLayout.JAVA_BYTE);
        if (NpyHeader.startsLikeNpy(start)) {
            throw new TensorFileException(
                    file, "is an npy file but safetensors is needed", "check that it is the file you mean");
        }
        long length = mapped.get(LITTLE_ENDIAN_LONG, 0);
        if (length < 2 || length > Safetensors.MAX_HEADER || length > mapped.byteSize() - Long.BYTES) {
            String likely = likelyFormat(start);
            if (!likely.isEmpty()) {
                throw new TensorFileException(
                        file, "is no safetensors file" + likely, "check that it is the file you mean");
            }
            throw TensorFileException.malformed(
                    file,
                    "safetensors",
                    "it claims a header of " + Long.toUnsignedString(length) + " bytes, and 2 to "
                            + Math.min(Safetensors.MAX_HEADER, mapped.byteSize() - Long.BYTES) + " are possible");
        }
        MemorySegment header = mapped.asSlice(Long.BYTES, length);
        if (header.get(ValueLayout.JAVA_BYTE, 0) != '{') {
            throw TensorFileException.malformed(file, "safetensors", "its header does not begin with {");
        }
        return SafetensorsHeader.parse(
                header.toArray(ValueLayout.JAVA_BYTE), mapped.byteSize() - Long.BYTES - length, file);
    }

    /** A hint for the files most often mistaken for safetensors. */
    static String likelyFormat(byte[] start) {
        String text = new String(start, StandardCharsets.ISO_8859_1);
        if (text.startsWith("version ")) {
            return " (it looks like a Git LFS pointer: fetch the real file with git lfs pull)";
        }
        if (text.startsWith("PK")) {
            return " (it looks like a zip archive, perhaps a PyTorch checkpoint: convert it to safetensors)";
        }
        if (text.startsWith("\u0080")) {
            return " (it looks like a Python pickle, which is never read: convert it to safetensors)";
        }
        if (text.startsWith("\u0089HDF") || text.startsWith("GGUF")) {
            return " (it looks like HDF5 or GGUF: convert it to safetensors)";
        }
        if (text.startsWith("\u001f\u008b")) {
            return " (it looks like a gzip archive: unpack it)";
        }
        if (text.startsWith("(\u00b5/\u00fd") || text.startsWith("7z\u00bc\u00af") || text.startsWith("BZh")) {
            return " (it looks like a compressed file, of zstd, 7-Zip or bzip2: unpack it)";
        }
        if (text.startsWith("\b") && text.startsWith("\u0012", 2)) {
            return " (it looks like an ONNX model: pass the checkpoint that it was exported from, as safetensors)";
        }
        if (text.startsWith("ftyp", 4) || text.startsWith("\u001aE\u00df\u00a3") || text.startsWith("RIFF")) {
            return " (it looks like a video or sound: extract makes arrays of videos, learn and predict take them as they"
                    + " are)";
        }
        if (text.startsWith("\u0089PNG") || text.startsWith("\u00ff\u00d8\u00ff") || text.startsWith("%PDF")) {
            return " (it looks like a picture or a document)";
        }
        if (text.startsWith("<")) {
            return " (it looks like a web page: fetch the file itself)";
        }
        if (text.stripLeading().startsWith("{")) {
            return " (it looks like JSON, perhaps an index of shards: pass it to import, or join the shards)";
        }
        if (text.length() >= Long.BYTES
                && text.chars().allMatch(c -> (c >= ' ' && c < 0x7F) || (c >= '\t' && c <= '\r'))) {
            return " (it looks like a text)";
        }
        return "";
    }

    private static MemorySegment data(MemorySegment mapped) {
        return mapped.asSlice(Long.BYTES + mapped.get(LITTLE_ENDIAN_LONG, 0));
    }

    private static Map<String, ArrayData> arrays(SafetensorsHeader header, MemorySegment data) {
        MemorySegment readOnly = data.asReadOnly();
        Map<String, ArrayData> arrays = new LinkedHashMap<>();
        for (SafetensorsHeader.Span span : header.spans()) {
            ArrayInfo info = span.info();
            if (info != null) {
                MemorySegment slice = readOnly.asSlice(span.begin(), span.end() - span.begin());
                arrays.put(info.name(), new ArrayData(info.name(), info.type(), info.shape(), slice));
            }
        }
        return Collections.unmodifiableMap(arrays);
    }

    private static Map<String, TensorFileException> unreadable(SafetensorsHeader header, String file) {
        Map<String, TensorFileException> unreadable = new LinkedHashMap<>();
        for (SafetensorsHeader.Span span : header.spans()) {
            if (span.info() == null) {
                unreadable.put(
                        span.name(),
                        new TensorFileException(
                                file,
                                "tensor " + TensorFileException.quote(span.name()) + " has the unsupported dtype "
                                        + TensorFileException.quote(span.dtype()) + " (supported: "
                                        + Arrays.toString(StoredType.values()) + ")",
                                "convert the file to a supported dtype"));
            }
        }
        return unreadable;
    }

    /** Where the file was found. */
    public Path path() {
        return path;
    }

    /** Names of the tensors that can be read, in the order of their bytes, which is the order to read them in. */
    public SequencedSet<String> names() {
        return Collections.unmodifiableSequencedSet(new LinkedHashSet<>(arrays.keySet()));
    }

    /** Names of the tensors whose types are unknown here, in the order of their bytes, with the reason. */
    public Map<String, String> unreadable() {
        Map<String, String> reasons = new LinkedHashMap<>();
        unreadable.forEach((name, refused) -> reasons.put(name, String.valueOf(refused.getMessage())));
        return Collections.unmodifiableMap(reasons);
    }

    /** Text about the file, in the order written; empty if there is none. */
    public Map<String, String> metadata() {
        return metadata;
    }

    /**
     * The tensor called {@code name}; its memory lives until {@link #close()}.
     *
     * @throws TensorFileException if there is none, it is {@link #unreadable}, or a mapped file has become shorter since it was opened
     * @throws IllegalStateException if the file is closed
     */
    public ArrayData entry(String name) {
        if (!arena.scope().isAlive()) {
            throw new IllegalStateException(path + ": is closed; read tensors before closing the file");
        }
        ArrayData array = arrays.get(name);
        TensorFileException refused = unreadable.get(name);
        if (refused != null) {
            throw new TensorFileException(String.valueOf(refused.getMessage()), refused);
        }
        if (array == null) {
            String some = arrays.keySet().stream()
                    .limit(5)
                    .map(TensorFileException::quote)
                    .collect(Collectors.joining(", "));
            throw new TensorFileException(
                    path.toString(),
                    "has no tensor " + TensorFileException.quote(name) + " (it holds " + arrays.size() + ": " + some
                            + (arrays.size() > 5 ? ", …" : "") + ")",
                    "ask for one of names()");
        }
        checkLength();
        return array;
    }

    /**
     * The elements of a tensor as floats; see {@link ArrayData#floats()} for the types accepted.
     *
     * @throws TensorFileException as {@link #entry} does, and if the conversion could lose anything
     */
    public float[] floats(String name) {
        return entry(name).floats(label(name));
    }

    /**
     * The elements of a tensor as doubles; see {@link ArrayData#doubles()} for the types accepted.
     *
     * @throws TensorFileException as {@link #entry} does, and if the conversion could lose anything
     */
    public double[] doubles(String name) {
        return entry(name).doubles(label(name));
    }

    /**
     * The elements of a tensor as ints; see {@link ArrayData#ints()} for the types accepted.
     *
     * @throws TensorFileException as {@link #entry} does, and if the conversion could lose anything
     */
    public int[] ints(String name) {
        return entry(name).ints(label(name));
    }

    private String label(String name) {
        return path + " (" + TensorFileException.quote(name) + ")";
    }

    /** Touching a mapped page beyond the file's end is a fault, in native code even a fatal one: look before. */
    private void checkLength() {
        if (mappedBytes == 0) {
            return;
        }
        try {
            if (file.length() < mappedBytes) {
                throw TensorFileException.shortened(path.toString(), null);
            }
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        }
    }

    /**
     * Ends the memory of every tensor. Closing twice is allowed.
     *
     * @throws IllegalStateException if native code is reading a tensor at this moment; the file then stays open
     */
    @Override
    public synchronized void close() {
        if (!arena.scope().isAlive()) {
            return;
        }
        arena.close();
        try {
            file.close();
        } catch (IOException failure) {
            throw new UncheckedIOException(path + ": could not be closed (" + failure.getMessage() + ")", failure);
        }
    }
}
