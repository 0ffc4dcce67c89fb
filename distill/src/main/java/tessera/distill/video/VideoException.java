package tessera.distill.video;

import java.nio.file.Path;
import java.time.Duration;
import org.jspecify.annotations.Nullable;

/**
 * A video or a folder of videos that cannot be served, or no program to decode one with. The message is one line: the
 * file, what is wrong with it, and what to do next.
 */
public final class VideoException extends IllegalArgumentException {
    private static final long serialVersionUID = 1L;

    private final String problem;

    /**
     * @param file the file or folder that the message starts with
     * @param problem what was found and what was needed
     * @param remedy what the caller can do about it
     */
    public VideoException(Path file, String problem, String remedy) {
        this(file.toString(), problem, remedy, null);
    }

    VideoException(String subject, String problem, String remedy, @Nullable Throwable cause) {
        super(printable(subject) + ": " + printable(problem) + "; " + remedy, cause);
        this.problem = printable(problem);
    }

    /** What is wrong, without the file and what to do about it. */
    String problem() {
        return problem;
    }

    /** A file that FFmpeg opened in vain. */
    static VideoException undecodable(Path file, String reason) {
        return new VideoException(
                file,
                "cannot be decoded as a video" + (reason.isEmpty() ? "" : " (" + reason + ")"),
                "check that it is the file you mean and that it plays elsewhere, or fetch it again");
    }

    /** A file of which nothing came for too long. */
    static VideoException silent(Path file, Duration silence) {
        return new VideoException(
                file,
                "gave no frame within " + silence.toMillis() / 1000.0 + " s",
                "check that the file is on a disk that answers, or allow more time");
    }

    static void require(boolean ok, Path file, String problem, String remedy) {
        if (!ok) {
            throw new VideoException(file, problem, remedy);
        }
    }

    private static String printable(String text) {
        return text.replaceAll("[\\p{Cntrl}\\p{Cs}\\u2028\\u2029]", "\uFFFD");
    }
}
