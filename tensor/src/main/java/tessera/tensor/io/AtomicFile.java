package tessera.tensor.io;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.UUID;

/**
 * Files that exist completely or not at all: the bytes go to a hidden name in the same directory, are forced to the disk,
 * and take the target's name in one step. A failure leaves the target as it was and removes the hidden file.
 */
public final class AtomicFile {
    private AtomicFile() {}

    /** Writes the content of a file. */
    @FunctionalInterface
    public interface Content {
        /** Writes all bytes; the stream is buffered, and closed by the caller. */
        void writeTo(OutputStream out) throws IOException;
    }

    /**
     * Creates or replaces {@code target}.
     *
     * @throws TensorFileException if the target is no ordinary file or its directory does not exist
     * @throws UncheckedIOException if writing fails, for example because the disk is full; whatever {@code content}
     *     throws passes through
     */
    public static void write(Path target, Content content) {
        Path absolute = target.toAbsolutePath();
        Path directory = absolute.getParent();
        if (directory == null || (Files.exists(absolute) && !Files.isRegularFile(absolute))) {
            throw new TensorFileException(target.toString(), "is no ordinary file", "name a file to write");
        }
        if (!Files.isDirectory(directory)) {
            throw new TensorFileException(
                    target.toString(), "the directory " + directory + " does not exist", "create it first");
        }
        Path hidden = directory.resolve(".tessera-" + UUID.randomUUID() + ".tmp");
        try {
            try {
                Files.createFile(hidden);
                // A plain stream, not a channel: a channel would close itself under an interrupted thread.
                try (FileOutputStream file = new FileOutputStream(hidden.toFile())) {
                    OutputStream out = new BufferedOutputStream(file, 1 << 16);
                    content.writeTo(out);
                    out.flush();
                    file.getFD().sync();
                }
                Files.move(hidden, absolute, StandardCopyOption.ATOMIC_MOVE);
            } finally {
                Files.deleteIfExists(hidden);
            }
        } catch (IOException failure) {
            throw new UncheckedIOException(
                    target + ": could not be written (" + failure.getMessage()
                            + "); check the disk's free space and permissions",
                    failure);
        }
        forceDirectory(directory);
    }

    /** Makes the new name itself durable, where the system lets a directory be opened for that. */
    private static void forceDirectory(Path directory) {
        try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
            channel.force(true);
        } catch (IOException unsupported) {
            // The file is complete under its name either way; only its survival of a power cut is then up to the
            // system.
        }
    }
}
