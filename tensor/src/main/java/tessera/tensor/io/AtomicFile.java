package tessera.tensor.io;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Files that exist completely or not at all: the bytes go to a hidden name in the same directory, are forced to the disk,
 * and take the target's name in one step. A failure leaves the target as it was and removes the hidden file; that of a process which
 * was killed is removed by the next that writes into the directory.
 */
public final class AtomicFile {
    private static final String PREFIX = ".tessera-";
    private static final String SUFFIX = ".tmp";

    /** Names of the hidden files that this process is writing. */
    private static final Set<String> WRITING = ConcurrentHashMap.newKeySet();

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
        removeAbandoned(directory);
        try {
            boolean written = false;
            while (!written) {
                written = write(directory.resolve(PREFIX + UUID.randomUUID() + SUFFIX), absolute, content);
            }
        } catch (IOException failure) {
            throw new UncheckedIOException(
                    target + ": could not be written (" + failure.getMessage()
                            + "); check the disk's free space and permissions",
                    failure);
        }
        forceDirectory(directory);
    }

    /** Whether the hidden file was still there once it was locked: who removes abandoned files may have taken it for one before. */
    private static boolean write(Path hidden, Path target, Content content) throws IOException {
        String name = hidden.getFileName().toString();
        WRITING.add(name);
        try {
            // A plain stream, not a channel: a channel would close itself under an interrupted thread.
            try (FileOutputStream file = new FileOutputStream(hidden.toFile())) {
                if (!lock(file.getChannel()) || !Files.exists(hidden)) {
                    return false;
                }
                OutputStream out = new BufferedOutputStream(file, 1 << 16);
                content.writeTo(out);
                out.flush();
                file.getFD().sync();
                Files.move(hidden, target, StandardCopyOption.ATOMIC_MOVE);
                return true;
            } finally {
                Files.deleteIfExists(hidden);
            }
        } finally {
            WRITING.remove(name);
        }
    }

    /** Holds a file until it is closed, which a process that is killed does too. False if another process looks at it just now. */
    private static boolean lock(FileChannel file) {
        try {
            return file.tryLock() != null;
        } catch (IOException noLocksHere) {
            return true;
        }
    }

    /** Removes what processes left that were killed while they wrote here: hidden files that nobody holds. */
    private static void removeAbandoned(Path directory) {
        try (DirectoryStream<Path> found = Files.newDirectoryStream(directory, PREFIX + "*" + SUFFIX)) {
            for (Path hidden : found) {
                // Of this process's own files not even a look is taken: closing it would end their locks.
                if (!WRITING.contains(hidden.getFileName().toString())) {
                    removeUnlessHeld(hidden);
                }
            }
        } catch (IOException | DirectoryIteratorException notListed) {
            // Whoever may write here but not list the folder leaves them to others.
        }
    }

    private static void removeUnlessHeld(Path hidden) {
        try (FileChannel file = FileChannel.open(hidden, StandardOpenOption.WRITE)) {
            if (file.tryLock() != null) {
                Files.deleteIfExists(hidden);
            }
        } catch (IOException | OverlappingFileLockException held) {
            // Gone by now, another user's, or on a file system without locks, where nobody can tell.
        }
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
