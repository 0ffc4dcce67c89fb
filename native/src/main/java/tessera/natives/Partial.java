package tessera.natives;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Comparator;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * A hidden name for a file or folder of a cache while it is made, which is moved to its own name when it is whole. What is still
 * there is removed by {@link #close()}; what a process left that was killed meanwhile, by the next that makes one beside it.
 *
 * <p>Beside it lies a file of the same name with {@value #LOCK} behind it, which the process that makes it holds locked.
 */
public final class Partial implements AutoCloseable {
    private static final String LOCK = ".part";

    private final Path path;
    private final Path lock;
    private final FileChannel channel;

    private Partial(Path path, Path lock, FileChannel channel) {
        this.path = path;
        this.lock = lock;
        this.channel = channel;
    }

    /**
     * A new hidden name; nothing has it yet.
     *
     * @param folder of the cache, made where it is missing
     * @param name which the hidden one begins with, behind a dot: what one maker calls everything that it makes there
     */
    public static Partial in(Path folder, String name) throws IOException {
        Files.createDirectories(folder);
        removeAbandoned(folder, "." + name);
        while (true) {
            Path path = folder.resolve("." + name + "-" + ProcessLock.OWN + "-" + UUID.randomUUID());
            Path lock = folder.resolve(path.getFileName() + LOCK);
            FileChannel channel = FileChannel.open(lock, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
            // Another process may look at it just now, and take it for one that was left.
            if (ProcessLock.hold(channel) && Files.exists(lock)) {
                return new Partial(path, lock, channel);
            }
            channel.close();
            Files.deleteIfExists(lock);
        }
    }

    private static void removeAbandoned(Path folder, String name) {
        try (DirectoryStream<Path> locks =
                Files.newDirectoryStream(folder, entry -> isLock(String.valueOf(entry.getFileName()), name))) {
            for (Path lock : locks) {
                String hidden = String.valueOf(lock.getFileName());
                String made = hidden.substring(0, hidden.length() - LOCK.length());
                ProcessLock.removeUnlessHeld(lock, () -> remove(lock.resolveSibling(made)));
            }
        } catch (IOException | DirectoryIteratorException notListed) {
            // Whoever may write here but not list the folder leaves them to others.
        }
    }

    private static boolean isLock(String entry, String name) {
        return entry.startsWith(name) && entry.endsWith(LOCK);
    }

    /** Removes a file, or a folder with everything in it; nothing is nothing to remove. */
    public static void remove(Path path) throws IOException {
        if (!Files.exists(path)) {
            return;
        }
        try (Stream<Path> filesFirst = Files.walk(path).sorted(Comparator.reverseOrder())) {
            for (Path each : filesFirst.toList()) {
                Files.deleteIfExists(each);
            }
        }
    }

    /** The hidden name. */
    public Path path() {
        return path;
    }

    /** Removes what has not been moved away. */
    @Override
    public void close() throws IOException {
        try {
            remove(path);
        } finally {
            channel.close();
            Files.deleteIfExists(lock);
        }
    }
}
