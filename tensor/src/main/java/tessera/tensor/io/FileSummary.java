package tessera.tensor.io;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;

/**
 * What a file of arrays holds, without its elements.
 *
 * @param path the file
 * @param format its format, told by its first bytes and not by its name
 * @param metadata text about the file, in the order written; only safetensors has any
 * @param arrays the arrays in the file's order
 * @param unreadable what else the file holds, and why it cannot be read; npy has none
 */
public record FileSummary(
        Path path,
        Format format,
        Map<String, String> metadata,
        List<ArrayInfo> arrays,
        Map<String, String> unreadable) {
    /** The formats of this package. */
    public enum Format {
        SAFETENSORS,
        NPY,
        NPZ
    }

    /** Copies its collections. */
    public FileSummary {
        metadata = Collections.unmodifiableMap(new LinkedHashMap<>(metadata));
        arrays = List.copyOf(arrays);
        unreadable = Collections.unmodifiableMap(new LinkedHashMap<>(unreadable));
    }

    /**
     * Reads the headers of a safetensors, npy or npz file, or of all shards that {@link SafetensorsShards} finds, checking them as opening the file would.
     *
     * @throws TensorFileException if the file cannot be read, is of another format or malformed in any way
     */
    public static FileSummary of(Path path) {
        if (Files.isDirectory(path) || path.toString().endsWith(".json")) {
            try (SafetensorsShards shards = SafetensorsShards.open(path)) {
                return ofSafetensors(path, shards.metadata(), shards.names(), shards::entry, shards.unreadable());
            }
        }
        byte[] start = start(path);
        if (start.length == 0) {
            throw new TensorFileException(path.toString(), "is empty, of 0 bytes", "write or fetch it again");
        }
        if (NpyHeader.startsLikeNpy(start)) {
            return new FileSummary(path, Format.NPY, Map.of(), List.of(Npy.info(path)), Map.of());
        }
        if (start.length >= 2 && start[0] == 'P' && start[1] == 'K') {
            try (NpzFile file = NpzFile.open(path, Long.MAX_VALUE)) {
                return new FileSummary(path, Format.NPZ, Map.of(), file.infos(), file.unreadable());
            }
        }
        // A header length, then JSON.
        if (start.length <= Long.BYTES || start[Long.BYTES] != '{') {
            throw new TensorFileException(
                    path.toString(),
                    "is neither safetensors, npy nor npz" + SafetensorsFile.likelyFormat(start),
                    "check that it is the file you mean, or convert it to one of these");
        }
        try (SafetensorsFile file = Safetensors.open(path)) {
            return ofSafetensors(path, file.metadata(), file.names(), file::entry, file.unreadable());
        }
    }

    private static FileSummary ofSafetensors(
            Path path,
            Map<String, String> metadata,
            Set<String> names,
            Function<String, ArrayData> entry,
            Map<String, String> unreadable) {
        List<ArrayInfo> infos =
                names.stream().map(name -> entry.apply(name).info()).toList();
        return new FileSummary(path, Format.SAFETENSORS, metadata, infos, unreadable);
    }

    private static byte[] start(Path path) {
        try (RandomAccessFile file = Mapping.open(path)) {
            byte[] start = new byte[Long.BYTES + 1];
            int count = Math.max(0, file.read(start));
            return Arrays.copyOf(start, count);
        } catch (IOException failure) {
            throw TensorFileException.unreadable(path, failure);
        }
    }
}
