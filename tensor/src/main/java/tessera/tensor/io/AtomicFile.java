package tessera.tensor.io;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemLoopException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Objects;
import java.util.UUID;
import java.util.function.Consumer;
import tessera.natives.Partial;
import tessera.natives.ProcessLock;

/**
 * Files that exist completely or not at all: the bytes go to a hidden name in the same directory, are forced to the disk,
 * and take the target's name in one step. A failure leaves the target as it was and removes the hidden file; that of a process which
 * was killed is removed by the next that writes into the directory.
 */
public final class AtomicFile {
    private static final String PREFIX = ".tessera-";
    private static final String SUFFIX = ".tmp";

    /** As many as Linux follows. */
    private static final int MOST_LINKS = 40;

    private AtomicFile() {}

    /** Writes the content of a file. */
    @FunctionalInterface
    public interface Content {
        /** Writes all bytes; the stream is buffered, and closed by the caller. */
        void writeTo(OutputStream out) throws IOException;
    }

    /**
     * Creates or replaces {@code target}, or the file that it leads to as a symbolic link.
     *
     * @throws TensorFileException if the target is no ordinary file or its directory does not exist
     * @throws UncheckedIOException if writing fails, for example because the disk is full ({@link WriteFailure}); whatever {@code content}
     *     throws passes through
     */
    public static void write(Path target, Content content) {
        try {
            Path absolute = behindLinks(target);
            Path directory = absolute.getParent();
            if (directory == null || (Files.exists(absolute) && !Files.isRegularFile(absolute))) {
                throw new TensorFileException(target.toString(), "is no ordinary file", "name a file to write");
            }
            if (!Files.isDirectory(directory)) {
                throw new TensorFileException(
                        target.toString(), "the directory " + directory + " does not exist", "create it first");
            }
            removeAbandoned(directory);
            boolean written = false;
            while (!written) {
                written = write(hidden(directory), absolute, content);
            }
            forceDirectory(directory);
        } catch (IOException failure) {
            throw WriteFailure.of(target, failure);
        }
    }

    /**
     * Writes files of one folder that belong together: into a hidden folder within, from where they take their names only when all are
     * whole. The last of the names is the file without which nobody reads the others; while these change it is not there.
     *
     * @param folder made where it is missing
     * @param names of the files, of which those are removed that are not written
     * @param content writes the files into the folder that it is given
     * @throws IllegalArgumentException if another run writes into the folder, or there is a folder of one of the names
     * @throws UncheckedIOException if writing fails ({@link WriteFailure}); nothing has changed then
     */
    public static void writeTogether(Path folder, List<String> names, Consumer<Path> content) {
        try (FolderLock held = FolderLock.hold(folder);
                Partial making = Partial.in(held.folder(), "tessera")) {
            for (String name : names) {
                if (Files.isDirectory(folder.resolve(name))) {
                    throw new TensorFileException(
                            folder.resolve(name).toString(), "is a folder", "name another place for the files");
                }
            }
            content.accept(Files.createDirectory(making.path()));
            Files.deleteIfExists(folder.resolve(names.getLast()));
            for (String name : names) {
                Path made = making.path().resolve(name);
                if (Files.exists(made)) {
                    Files.move(made, folder.resolve(name), StandardCopyOption.ATOMIC_MOVE);
                } else {
                    Files.deleteIfExists(folder.resolve(name));
                }
            }
            forceDirectory(folder);
        } catch (UncheckedIOException failure) {
            throw WriteFailure.of(folder, Objects.requireNonNull(failure.getCause()));
        } catch (IOException failure) {
            throw WriteFailure.of(folder, failure);
        }
    }

    /**
     * Tries whether a folder takes new files, by one that does not stay; those that killed processes left are removed first.
     *
     * @throws IOException if it takes none
     */
    public static void requireNewFiles(Path directory) throws IOException {
        removeAbandoned(directory);
        Files.deleteIfExists(Files.createFile(hidden(directory)));
    }

    /** A new name; nothing has it yet. */
    private static Path hidden(Path directory) {
        return directory.resolve(PREFIX + ProcessLock.OWN + "-" + UUID.randomUUID() + SUFFIX);
    }

    /**
     * The file that is written for a target: where it leads as a symbolic link, which may be to nowhere yet.
     *
     * @throws IOException if links lead in a circle, or one cannot be read
     */
    public static Path behindLinks(Path target) throws IOException {
        Path path = target.toAbsolutePath();
        for (int links = 0; Files.isSymbolicLink(path); links++) {
            if (links == MOST_LINKS) {
                throw new FileSystemLoopException(target.toString());
            }
            path = path.resolveSibling(Files.readSymbolicLink(path));
        }
        return path;
    }

    /** Whether the hidden file was still there once it was locked: who removes abandoned files may have taken it for one before. */
    private static boolean write(Path hidden, Path target, Content content) throws IOException {
        // A plain stream, not a channel: a channel would close itself under an interrupted thread.
        try (FileOutputStream file = new FileOutputStream(hidden.toFile())) {
            if (!ProcessLock.hold(file.getChannel()) || !Files.exists(hidden)) {
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
    }

    /** Removes what processes left that were killed while they wrote here: hidden files that nobody holds. */
    private static void removeAbandoned(Path directory) {
        try (DirectoryStream<Path> found = Files.newDirectoryStream(directory, PREFIX + "*" + SUFFIX)) {
            for (Path hidden : found) {
                ProcessLock.removeUnlessHeld(hidden, () -> {});
            }
        } catch (IOException | DirectoryIteratorException notListed) {
            // Whoever may write here but not list the folder leaves them to others.
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
