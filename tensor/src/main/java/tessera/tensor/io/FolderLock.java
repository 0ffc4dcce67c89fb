package tessera.tensor.io;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import tessera.natives.ProcessLock;

/**
 * A folder that one run at a time writes into, of whatever process, thread or class loader. It is free again when the lock is closed or the
 * process has ended, however it ends. Where a file system has no locks, only runs on the same machine are told from each other.
 *
 * <p>While it is held, {@code .tessera-run.lock} lies in the folder, which is locked, and an empty file whose name tells the process. Any
 * thread may close it.
 */
public final class FolderLock implements AutoCloseable {
    private static final String LOCK = ".tessera-run.lock";
    private static final String HOLDER = ".tessera-run-";

    private final Path folder;
    private final RandomAccessFile locked;

    private FolderLock(Path folder, RandomAccessFile locked) {
        this.folder = folder;
        this.locked = locked;
    }

    /**
     * Holds a folder.
     *
     * @param folder made where it is missing
     * @throws IllegalArgumentException if another run holds it; the message tells the number of its process
     * @throws UncheckedIOException if nothing can be written there
     */
    public static FolderLock hold(Path folder) {
        try {
            if (!Files.isDirectory(folder)) {
                Files.createDirectories(folder);
            }
            Path real = folder.toRealPath();
            while (true) {
                for (String holder : holders(real)) {
                    if (holder.equals(ProcessLock.OWN)) {
                        throw held(folder, holder);
                    }
                }
                FolderLock lock = lock(folder, real);
                if (lock != null) {
                    return lock;
                }
            }
        } catch (IOException e) {
            throw WriteFailure.of(folder, e);
        }
    }

    /**
     * Refuses a folder that a run holds; one that is not there is free.
     *
     * @throws IllegalArgumentException if a run holds it; the message tells the number of its process
     * @throws UncheckedIOException if nothing can be written there
     */
    public static void requireFree(Path folder) {
        if (Files.isDirectory(folder)) {
            hold(folder).close();
        }
    }

    /** Removes what a killed run left of its lock, where there is any and this process may. */
    public static void removeAbandoned(Path folder) {
        if (Files.exists(folder.resolve(LOCK)) || !holders(folder).isEmpty()) {
            try {
                hold(folder).close();
            } catch (IllegalArgumentException | UncheckedIOException stays) {
                System.getLogger("tessera").log(System.Logger.Level.DEBUG, "left in {0}: {1}", folder, stays);
            }
        }
    }

    /** Null if the file that was locked has lost its name by then, to a holder that was just done. */
    private static @Nullable FolderLock lock(Path folder, Path real) throws IOException {
        Path file = real.resolve(LOCK);
        try {
            Files.createFile(file);
        } catch (FileAlreadyExistsException e) {
            // Held, or left by a process that was killed.
        }
        Object key = key(file);
        // No channel of its own: that would close itself under an interrupted thread.
        RandomAccessFile open = new RandomAccessFile(file.toFile(), "rw");
        boolean kept = false;
        try {
            List<String> holders = holders(real);
            if (!ProcessLock.hold(open.getChannel())) {
                throw held(folder, holders.isEmpty() ? "" : holders.getFirst());
            }
            if (!Files.exists(file) || !Objects.equals(key, key(file))) {
                return null;
            }
            for (String holder : holders(real)) {
                // Without locks the file is anybody's.
                if (ProcessLock.isAlive(holder)) {
                    throw held(folder, holder);
                }
                Files.deleteIfExists(real.resolve(HOLDER + holder));
            }
            Files.createFile(real.resolve(HOLDER + ProcessLock.OWN));
            kept = true;
            return new FolderLock(real, open);
        } finally {
            if (!kept) {
                open.close();
            }
        }
    }

    private static @Nullable Object key(Path file) throws IOException {
        return Files.exists(file)
                ? Files.readAttributes(file, BasicFileAttributes.class).fileKey()
                : null;
    }

    /** Marks of the processes that hold it, or were killed while they did. */
    private static List<String> holders(Path folder) {
        List<String> holders = new ArrayList<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, HOLDER + "*")) {
            found.forEach(each -> holders.add(String.valueOf(each.getFileName()).substring(HOLDER.length())));
        } catch (IOException | DirectoryIteratorException notListed) {
            // Then the lock alone tells.
        }
        return holders;
    }

    private static IllegalArgumentException held(Path folder, String holder) {
        String process = holder.isEmpty() ? "" : " (process " + holder.replaceFirst("-.*", "") + ")";
        return new IllegalArgumentException(
                folder + " is in use by another run" + process + "; wait until it has ended, or name another folder");
    }

    /** The folder, by its real path. */
    public Path folder() {
        return folder;
    }

    /** Lets others in. */
    @Override
    public void close() {
        try (locked) {
            Files.deleteIfExists(folder.resolve(HOLDER + ProcessLock.OWN));
            Files.deleteIfExists(folder.resolve(LOCK));
        } catch (IOException e) {
            // The next run removes what stays.
            System.getLogger("tessera").log(System.Logger.Level.DEBUG, "left in {0}: {1}", folder, e);
        }
    }
}
