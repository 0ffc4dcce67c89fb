package tessera.distill.video;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A video or a folder of videos that cannot be served, or no program to decode one with. The message is one line: the
 * file, what is wrong with it, and what to do next.
 */
public final class VideoException extends IllegalArgumentException {
    private static final int LOOKED_AT = 1024;

    /** So many characters make a text. */
    private static final int LEAST_TEXT = 16;

    /** What to do about what is not decoded. */
    static final String CONVERT = "convert it, such as to MP4";

    /** Where a WebP of several parts says what it has, and that it moves. */
    private static final int WEBP_FLAGS = 20;

    private static final int WEBP_MOVES = 2;

    /** The name of the first kind of pictures: CodecID of RFC 9559, section 5.1.4.1.21, in a file that begins as EBML does. */
    private static final Pattern MATROSKA_KIND =
            Pattern.compile("\u001AE\u00DF\u00A3.*?\u0086[\u0080-\u00FF](V_[A-Za-z0-9_/.]+)", Pattern.DOTALL);

    /** What the first part of MP4 and MOV files is called. */
    private static final Set<String> BOXES =
            Set.of("ftyp", "mdat", "moov", "free", "skip", "wide", "pnot", "styp", "moof", "uuid");

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

    /** A file that FFmpeg opened in vain: what it really is, where its first bytes tell. */
    static VideoException undecodable(Path file, String reason) {
        if (file.toFile().length() == 0) {
            return new VideoException(
                    file, "cannot be decoded as a video (it is empty, of 0 bytes)", "record or fetch it again");
        }
        String start = start(file);
        String text = start.replaceFirst("^(\u00EF\u00BB\u00BF)?\\s*", "");
        if (text.startsWith("version https://git-lfs")) {
            return new VideoException(
                    file, "is a Git LFS pointer, not the video itself", "fetch that with git lfs pull");
        }
        if (text.startsWith("<")) {
            return new VideoException(file, "is a web page or other markup, not a video", "fetch the file itself");
        }
        if (text.startsWith("PK\u0003\u0004") || text.startsWith("Rar!") || text.startsWith("\u001F\u008B")) {
            return new VideoException(file, "is an archive, not a video", "unpack it and name the video in it");
        }
        if (!start.isEmpty() && start.chars().allMatch(c -> c == 0)) {
            return new VideoException(
                    file, "begins with nothing but zeros, as where a copy was not finished", "fetch it again");
        }
        boolean index = reason.contains("moov atom not found");
        if ((index || reason.contains("Invalid data found"))
                && start.length() >= LEAST_TEXT
                && start.chars().allMatch(c -> c == '\t' || c == '\n' || c == '\r' || (c >= ' ' && c != 0x7F))
                && start.chars().filter(c -> c < 0x80).count() * 2 > start.length()) {
            return new VideoException(file, "is a text, not a video", "name a file with moving pictures");
        }
        if (index && BOXES.stream().anyMatch(box -> start.startsWith(box, 4))) {
            return new VideoException(
                    file,
                    "cannot be decoded as a video (it has no index, moov, as where a recording or a copy was cut off)",
                    "fetch it again, or mend it by the program that recorded it");
        }
        if (index) {
            return new VideoException(
                    file,
                    "cannot be decoded as a video (it begins as no video does)",
                    "check that it is the file you mean, or fetch it again");
        }
        return new VideoException(
                file,
                "cannot be decoded as a video" + (reason.isEmpty() ? "" : " (" + reason + ")"),
                "check that it is the file you mean and that it plays elsewhere, or fetch it again");
    }

    /**
     * What is wrong with a moving picture that FFmpeg does not decode (WebP), or of which it takes the cover (AVIF); nothing of another
     * file. By its first bytes: RFC 9649, section 2.7, and the brand of image sequences in the AVIF specification.
     */
    static Optional<String> animation(Path file) {
        String start = start(file);
        boolean webp = start.startsWith("RIFF")
                && start.startsWith("WEBPVP8X", 8)
                && start.length() > WEBP_FLAGS
                && (start.charAt(WEBP_FLAGS) & WEBP_MOVES) != 0;
        boolean avif = start.startsWith("ftypavis", 4);
        return webp || avif
                ? Optional.of("is an animated " + (webp ? "WebP" : "AVIF") + ", which is not decoded here")
                : Optional.empty();
    }

    /**
     * A file whose pictures FFmpeg has no name for.
     *
     * @param tag what the file calls their kind, as FFmpeg shows it: {@code [0][0][0][0]} for nothing, as in Matroska, which has names
     */
    static VideoException unknownKind(Path file, String tag) {
        Matcher matroska = MATROSKA_KIND.matcher(start(file));
        String kind = matroska.lookingAt() ? matroska.group(1) : tag;
        boolean named = !kind.isEmpty() && !kind.startsWith("[0]");
        return undecodable(file, "its pictures are of a kind that FFmpeg does not know" + (named ? ", " + kind : ""));
    }

    /** The first bytes, one a character; nothing where they cannot be read. */
    private static String start(Path file) {
        try (InputStream in = Files.newInputStream(file)) {
            return new String(in.readNBytes(LOOKED_AT), StandardCharsets.ISO_8859_1);
        } catch (IOException unreadable) {
            return "";
        }
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
