package tessera.distill.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Checks of where results go, made before the work starts. */
final class Outputs {
    private Outputs() {}

    /**
     * A file to write.
     *
     * @throws IllegalArgumentException if its folder does not exist or cannot be written, or it is itself a folder
     */
    static void requireFile(Path file) {
        Path parent = file.toAbsolutePath().getParent();
        if (parent == null || !Files.isDirectory(parent)) {
            throw new IllegalArgumentException("--out " + file + " lies in " + parent
                    + ", which is no folder; make it first or name another place");
        }
        if (Files.isDirectory(file)) {
            throw new IllegalArgumentException("--out " + file + " is a folder; name a file to write in it");
        }
        requireWritable(file, parent);
    }

    /**
     * A folder to make, with those around it, or to go on in.
     *
     * @throws IllegalArgumentException if it is a file or below one, or cannot be written
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
        requireWritable(folder, existing);
    }

    /** By writing there: what permissions say is not all that may stand in the way. */
    private static void requireWritable(Path wanted, Path folder) {
        try {
            Files.delete(Files.createTempFile(folder, ".tessera", ".tmp"));
        } catch (IOException | SecurityException e) {
            throw new IllegalArgumentException(
                    "--out " + wanted + " lies in " + folder + ", where you may not write; name another place", e);
        }
    }
}
