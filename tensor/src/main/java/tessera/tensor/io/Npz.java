package tessera.tensor.io;

import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.LocalDateTime;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.zip.CRC32;
import java.util.zip.CheckedOutputStream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * NumPy's npz format: a zip archive of npy arrays, stored as {@code numpy.savez} does or deflated as
 * {@code numpy.savez_compressed} does. All methods may be called from any thread.
 */
public final class Npz {
    /** Every entry carries the earliest time a zip archive can hold, so that equal arrays give equal files. */
    private static final LocalDateTime EPOCH = LocalDateTime.of(1980, 1, 1, 0, 0);

    private Npz() {}

    /**
     * Opens an archive and checks the header of each array. One inflated array may take at most 16 times the archive's
     * size or 1 GiB, whichever is more.
     *
     * @throws TensorFileException if the file is no archive, its directory lies, or none of its arrays can be read
     */
    public static NpzFile open(Path path) {
        return NpzFile.open(path);
    }

    /**
     * As {@link #open(Path)}, with the caller's bound on the bytes of one inflated array.
     *
     * @throws TensorFileException if the file is no archive, its directory lies, or none of its arrays can be read or is as small
     */
    public static NpzFile open(Path path, long maxArrayBytes) {
        return NpzFile.open(path, maxArrayBytes);
    }

    /**
     * Writes arrays without compression, in the order given; the file appears complete or not at all.
     *
     * @throws TensorFileException if a name occurs twice or is no valid entry name, the format has no code for a type
     *     (BF16, F8), or the target cannot be a file
     * @throws UncheckedIOException if writing fails
     */
    public static void write(Path path, List<ArrayData> arrays) {
        write(path, arrays, ZipEntry.STORED);
    }

    /**
     * As {@link #write}, deflating each array.
     *
     * @throws TensorFileException as {@link #write} does
     * @throws UncheckedIOException if writing fails
     */
    public static void writeCompressed(Path path, List<ArrayData> arrays) {
        write(path, arrays, ZipEntry.DEFLATED);
    }

    private static void write(Path path, List<ArrayData> arrays, int method) {
        Set<String> names = new HashSet<>();
        for (ArrayData array : arrays) {
            Npy.checkWritable(path.toString(), array);
            boolean named = !array.name().isEmpty()
                    && array.name().length() <= 4096
                    && Safetensors.isUnicode(array.name())
                    && names.add(array.name());
            if (!named) {
                throw new TensorFileException(
                        path.toString(),
                        "the name " + TensorFileException.quote(array.name())
                                + " is empty, given twice, or no valid text of at most 4096 characters",
                        "give each array a name of its own");
            }
        }
        AtomicFile.write(path, out -> {
            ZipOutputStream zip = new ZipOutputStream(out);
            for (ArrayData array : arrays) {
                zip.putNextEntry(entry(array, method));
                Npy.write(array, zip);
                zip.closeEntry();
            }
            zip.finish();
        });
    }

    private static ZipEntry entry(ArrayData array, int method) throws IOException {
        ZipEntry entry = new ZipEntry(array.name() + Npy.SUFFIX);
        entry.setTimeLocal(EPOCH);
        entry.setMethod(method);
        if (method == ZipEntry.STORED) {
            // A stored entry names its checksum before its bytes.
            CheckedOutputStream checked = new CheckedOutputStream(OutputStream.nullOutputStream(), new CRC32());
            Npy.write(array, checked);
            entry.setCrc(checked.getChecksum().getValue());
            entry.setSize(NpyHeader.format(array.type(), array.shape()).length
                    + array.data().byteSize());
        }
        return entry;
    }
}
