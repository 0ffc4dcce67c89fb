package tessera.tensor.io;

import java.io.ByteArrayOutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import tools.jackson.core.JsonEncoding;
import tools.jackson.core.JsonGenerator;
import tools.jackson.core.ObjectWriteContext;
import tools.jackson.core.json.JsonFactory;

/**
 * The safetensors format: an 8-byte little-endian header length, a JSON header that gives each tensor's type, shape and
 * byte range, and the tensors' bytes without gaps. Nothing in a file is ever executed.
 *
 * <p>Readers check the whole header before any tensor is handed out: every byte of the file is accounted for, no two
 * tensors overlap, and every size equals shape times type. All methods may be called from any thread.
 */
public final class Safetensors {
    /** The header entry that holds text about the file rather than a tensor. */
    static final String METADATA = "__metadata__";

    /** Longest header accepted, in bytes; the reference implementation has the same bound. */
    static final long MAX_HEADER = 100_000_000;

    private static final JsonFactory JSON = new JsonFactory();

    private Safetensors() {}

    /**
     * Maps a file into memory: opening reads the header alone, and pages come in as they are touched.
     *
     * @throws TensorFileException if the file cannot be read or is malformed in any way
     */
    public static SafetensorsFile open(Path path) {
        return SafetensorsFile.open(path, false);
    }

    /**
     * Reads a file into memory of its own, so that whatever happens to the file afterwards cannot be seen.
     *
     * @throws TensorFileException if the file cannot be read or is malformed in any way
     */
    public static SafetensorsFile read(Path path) {
        return SafetensorsFile.open(path, true);
    }

    /**
     * Writes arrays in the order given; the same input gives the same bytes (metadata is written in the order of its
     * keys). The bytes are streamed, so arrays may be larger than the heap, and the file appears complete or not at all.
     * The data section starts at a multiple of 8; each array follows the one before without a gap, so put the wider types
     * first if every array should be aligned.
     *
     * @param metadata text about the file; empty for none
     * @throws TensorFileException if a name occurs twice, is reserved or is no valid Unicode text, or the target cannot be
     *     a file
     * @throws UncheckedIOException if writing fails
     */
    public static void write(Path path, List<ArrayData> arrays, Map<String, String> metadata) {
        byte[] header = header(path.toString(), arrays, metadata);
        AtomicFile.write(path, out -> {
            out.write(ByteBuffer.allocate(Long.BYTES)
                    .order(ByteOrder.LITTLE_ENDIAN)
                    .putLong(header.length)
                    .array());
            out.write(header);
            for (ArrayData array : arrays) {
                Mapping.write(array.data(), out);
            }
        });
    }

    private static byte[] header(String file, List<ArrayData> arrays, Map<String, String> metadata) {
        ByteArrayOutputStream header = new ByteArrayOutputStream();
        try (JsonGenerator json = JSON.createGenerator(ObjectWriteContext.empty(), header, JsonEncoding.UTF8)) {
            json.writeStartObject();
            if (!metadata.isEmpty()) {
                json.writeName(METADATA);
                json.writeStartObject();
                new TreeMap<>(metadata)
                        .forEach((key, value) -> json.writeStringProperty(text(file, key), text(file, value)));
                json.writeEndObject();
            }
            Set<String> names = new HashSet<>();
            long position = 0;
            for (ArrayData array : arrays) {
                if (array.name().equals(METADATA) || !names.add(array.name())) {
                    throw new TensorFileException(
                            file,
                            "the name " + TensorFileException.quote(array.name())
                                    + (array.name().equals(METADATA) ? " is reserved" : " is given twice"),
                            "give each array a name of its own");
                }
                json.writeName(text(file, array.name()));
                json.writeStartObject();
                json.writeStringProperty("dtype", array.type().name());
                json.writeName("shape");
                json.writeStartArray();
                for (long dimension : array.shape()) {
                    json.writeNumber(dimension);
                }
                json.writeEndArray();
                json.writeName("data_offsets");
                json.writeStartArray();
                json.writeNumber(position);
                position = Math.addExact(position, array.data().byteSize());
                json.writeNumber(position);
                json.writeEndArray();
                json.writeEndObject();
            }
            json.writeEndObject();
        }
        while (header.size() % Long.BYTES != 0) {
            header.write(' ');
        }
        if (header.size() > MAX_HEADER) {
            throw new TensorFileException(
                    file,
                    "the header would take " + header.size() + " bytes, more than the format's " + MAX_HEADER,
                    "write fewer arrays or less metadata into one file");
        }
        return header.toByteArray();
    }

    private static String text(String file, String text) {
        if (!isUnicode(text)) {
            throw new TensorFileException(
                    file,
                    "the name or metadata " + TensorFileException.quote(text) + " has half of a surrogate pair",
                    "pass valid Unicode text");
        }
        return text;
    }

    /** Whether text can be encoded; JSON escapes can smuggle half a surrogate pair past a UTF-8 decoder. */
    static boolean isUnicode(String text) {
        return StandardCharsets.UTF_8.newEncoder().canEncode(text);
    }
}
