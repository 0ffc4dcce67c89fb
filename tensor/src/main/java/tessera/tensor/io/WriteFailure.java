package tessera.tensor.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** What is told where a result cannot be written: which, why, how much room there is, and what to do. */
public final class WriteFailure {
    /** What systems say of a file beyond the limit of its user, or of the file system. */
    private static final String TOO_LARGE = "File too large";

    private WriteFailure() {}

    /**
     * The exception to throw.
     *
     * @param path a file or folder that was being written
     */
    public static UncheckedIOException of(Path path, IOException failure) {
        String reason = reason(path, failure);
        boolean limited = reason.contains(TOO_LARGE);
        return new UncheckedIOException(
                path + ": could not be written (" + reason + (limited ? "" : room(path)) + "); "
                        + (limited ? "raise the limit on the size of files (ulimit -f)" : "make room there")
                        + " or name another place, and run it again",
                failure);
    }

    private static String reason(Path path, IOException failure) {
        String said = failure.getMessage();
        if (failure instanceof FileSystemException about) {
            String kind = failure.getClass().getSimpleName().replaceFirst("Exception$", "");
            String why = about.getReason() == null ? kind : about.getReason();
            String file = String.valueOf(about.getFile());
            return file.equals(path.toString()) ? why : file + ": " + why;
        }
        return said == null ? failure.getClass().getSimpleName() : said;
    }

    /** Empty where nobody can tell. */
    private static String room(Path path) {
        Path existing = path.toAbsolutePath();
        while (!Files.exists(existing)) {
            Path parent = existing.getParent();
            if (parent == null) {
                return "";
            }
            existing = parent;
        }
        try {
            double free = Files.getFileStore(existing).getUsableSpace() / 1e6;
            return String.format(Locale.ROOT, "; %.1f MB are free in %s", free, existing);
        } catch (IOException e) {
            return "";
        }
    }
}
