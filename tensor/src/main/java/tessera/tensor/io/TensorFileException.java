package tessera.tensor.io;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A tensor file, or a request made of one, that cannot be served. The message is one line: the file, what is wrong with
 * it, and what to do next.
 */
public final class TensorFileException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    private static final int QUOTED_LENGTH = 100;

    /**
     * @param file the file, or the array within it, that the message starts with
     * @param problem what was found and what was needed
     * @param remedy what the caller can do about it
     */
    public TensorFileException(String file, String problem, String remedy) {
        this(file, problem, remedy, null);
    }

    /** As {@link #TensorFileException(String, String, String)}, keeping the failure that was the reason. */
    public TensorFileException(String file, String problem, String remedy, @Nullable Throwable cause) {
        super(file + ": " + problem + "; " + remedy, cause);
    }

    /** An earlier refusal, told again to another caller. */
    TensorFileException(String message, TensorFileException earlier) {
        super(message, earlier);
    }

    /** A file whose bytes break the rules of its format. */
    static TensorFileException malformed(String file, String format, String problem) {
        return malformed(file, format, problem, null);
    }

    static TensorFileException malformed(String file, String format, String problem, @Nullable Throwable cause) {
        return new TensorFileException(
                file,
                "not a valid " + format + " file: " + problem,
                "fetch or write the file again, or check that it is the file you mean",
                cause);
    }

    /** A file the operating system would not let us read. */
    static TensorFileException unreadable(Path file, Throwable cause) {
        String reason = cause.getMessage() == null ? cause.getClass().getSimpleName() : quote(cause.getMessage());
        return new TensorFileException(
                file.toString(), "cannot be read (" + reason + ")", "check the path and its permissions", cause);
    }

    /** A mapped file that lost bytes while its pages were being read. */
    static TensorFileException shortened(String file, @Nullable Throwable cause) {
        return new TensorFileException(
                file,
                "was shortened by someone else after it was opened",
                "open it again once it is complete, or load it with read(), which keeps its own copy",
                cause);
    }

    /** Text from a file made fit for a one-line message: quoted, shortened, without control characters. */
    static String quote(String text) {
        String shown = text.length() <= QUOTED_LENGTH ? text : text.substring(0, QUOTED_LENGTH) + "…";
        return "'" + shown.replaceAll("[\\p{Cntrl}\\p{Cs}\\u2028\\u2029]", "\uFFFD") + "'";
    }
}
