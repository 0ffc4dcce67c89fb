package tessera.distill.cli;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Checks of where results go, made before the work starts. */
final class Outputs {
    private Outputs() {}

    /**
     * Checks by trying that a file or folder can be written, made or replaced, with the folders around it that are missing.
     * Nothing is changed, and nothing stays.
     *
     * @throws IllegalArgumentException if it lies below a file, or in a folder that takes no new files, or is a file that
     *     takes no writing
     */
    static void requireWritable(Path path) {
        requireWritable("--out", path);
    }

    private static void requireWritable(String option, Path path) {
        Path existing = nearest(path);
        if (Files.isDirectory(existing)) {
            requireNewFiles(option, path, existing);
        } else if (existing.equals(path.toAbsolutePath())) {
            requireOpens(option, path);
            // Results appear under their names by a move from beside them.
            requireNewFiles(option, path, existing.resolveSibling(""));
        } else {
            throw new IllegalArgumentException(option + " " + path + " cannot be written, because " + existing
                    + " is a file and no folder; name another place");
        }
    }

    /**
     * A file to write.
     *
     * @throws IllegalArgumentException if its folder does not exist or cannot be written, or it is itself a folder
     */
    static void requireFile(Path file) {
        requireFile("--out", file);
    }

    /** As {@link #requireFile(Path)}, of another option. */
    static void requireFile(String option, Path file) {
        Path parent = file.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw new IllegalArgumentException(option + " " + file + " lies in " + parent
                    + ", which is no folder; make it first or name another place");
        }
        if (Files.isDirectory(file)) {
            throw new IllegalArgumentException(option + " " + file + " is a folder; name a file to write in it");
        }
        requireWritable(option, file);
    }

    /**
     * A result is not to take the place of what it is made of.
     *
     * @param option that names the result
     * @param source that names the input
     * @param input a file, or a folder in which every file is an input
     * @throws IllegalArgumentException if they are the same, by whatever path
     */
    static void requireOther(String option, Path result, String source, Path input) {
        try {
            if (!Files.exists(result) || !Files.exists(input)) {
                return;
            }
            if (Files.isSameFile(result, input)) {
                throw new IllegalArgumentException(
                        option + " " + result + " is the input of " + source + "; name another file");
            }
            if (result.toRealPath().startsWith(input.toRealPath())) {
                throw new IllegalArgumentException(option + " " + result + " is one of the inputs in " + source + " "
                        + input + "; name another file");
            }
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + result + " cannot be looked at" + reason(e) + "; name another place", e);
        }
    }

    /**
     * A folder to make, with those around it, or to go on in.
     *
     * @throws IllegalArgumentException if it is a file or below one, or cannot be written
     */
    static void requireFolder(Path folder) {
        Path existing = nearest(folder);
        if (!Files.isDirectory(existing)) {
            throw new IllegalArgumentException("--out " + folder + " cannot be a folder, because " + existing
                    + " is a file; name a folder for the run");
        }
        requireWritable(folder);
    }

    /** The path itself, or what exists of the folders around it. */
    private static Path nearest(Path path) {
        Path existing = path.toAbsolutePath();
        while (existing.getParent() != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        return existing;
    }

    /** Permissions do not tell all: a file system may be read-only, full, or one that takes no files at all. */
    private static void requireNewFiles(String option, Path path, Path folder) {
        try {
            Files.delete(Files.createTempFile(folder, ".tessera", ".tmp"));
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + path + " lies in " + folder + ", where you may not write" + reason(e)
                            + "; name another place",
                    e);
        }
    }

    private static void requireOpens(String option, Path file) {
        try {
            FileChannel.open(file, StandardOpenOption.WRITE).close();
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    option + " " + file + " cannot be written" + reason(e) + "; name another place", e);
        }
    }

    private static String reason(IOException e) {
        String said = e instanceof FileSystemException failure ? failure.getReason() : e.getMessage();
        return said == null ? "" : " (" + said + ")";
    }
}
