package tessera.distill.cli;

import java.nio.file.Files;
import java.nio.file.Path;

/** Checks of where results go, made before the work starts. */
final class Outputs {
    private Outputs() {}

    /**
     * A file to write.
     *
     * @throws IllegalArgumentException if its folder does not exist or is not writable, or it is itself a folder
     */
    static void requireFile(Path file) {
        requireParent(file);
        if (Files.isDirectory(file)) {
            throw new IllegalArgumentException("--out " + file + " is a folder; name a file to write in it");
        }
    }

    /**
     * A folder to make, with those around it, or to go on in.
     *
     * @throws IllegalArgumentException if it is a file or below one, or may not be written
     */
    static void requireFolder(Path folder) {
        Path existing = folder.toAbsolutePath();
        while (existing.getParent() != null && !Files.exists(existing)) {
            existing = existing.getParent();
        }
        if (!Files.isDirectory(existing)) {
            throw new IllegalArgumentException("--out " + folder + " cannot be a folder, because " + existing
                    + " is a file; name a folder for the run");
        }
        if (!Files.isWritable(existing)) {
            throw new IllegalArgumentException(
                    "--out " + folder + " lies in " + existing + ", where you may not write; name another place");
        }
    }

    private static void requireParent(Path path) {
        Path parent = path.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw new IllegalArgumentException("--out " + path + " lies in " + parent
                    + ", which is no folder; make it first" + " or name another place");
        }
        if (!Files.isWritable(parent)) {
            throw new IllegalArgumentException(
                    "--out " + path + " lies in " + parent + ", where you may not write; name another place");
        }
    }
}
