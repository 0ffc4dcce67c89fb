package tessera.distill.data;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Numbered files of a folder, of which some may be missing: such as {@code frame_0000000001.jpg} the frames of a recording, or what was
 * computed of each. Found by their numbers without listing the folder, which may hold a million.
 *
 * @param digits of a number, with zeros in front
 * @param suffix the extension with its dot
 */
record FrameFiles(Path folder, String prefix, int digits, String suffix) {
    static final Set<String> PICTURES = Set.of("jpg", "jpeg", "png");
    static final Set<String> ARRAYS = Set.of("npy");

    private static final Pattern NUMBERED = Pattern.compile("^(.*\\D)?(\\d{1,18})(\\.(\\w+))$");
    private static final int LOOKED_AT = 32;

    /**
     * The files of a folder, if the first that are found there all are numbered ones of a kind.
     *
     * @param extensions in lower case
     */
    static Optional<FrameFiles> find(Path folder, Set<String> extensions) {
        FrameFiles found = null;
        int seen = 0;
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
            for (Path entry : entries) {
                String name = String.valueOf(entry.getFileName());
                if (name.startsWith(".") || name.equalsIgnoreCase("Thumbs.db")) {
                    continue;
                }
                Matcher matcher = NUMBERED.matcher(name);
                if (!matcher.matches() || !extensions.contains(matcher.group(4).toLowerCase(Locale.ROOT))) {
                    return Optional.empty();
                }
                String prefix = matcher.group(1) == null ? "" : matcher.group(1);
                found = new FrameFiles(folder, prefix, matcher.group(2).length(), matcher.group(3));
                if (++seen == LOOKED_AT) {
                    break;
                }
            }
        } catch (IOException | DirectoryIteratorException notListed) {
            return Optional.empty();
        }
        return Optional.ofNullable(found);
    }

    /** The file of a number, if it is there. */
    Optional<Path> file(long number) {
        Path full = folder.resolve(prefix + padded(number) + suffix);
        if (Files.exists(full)) {
            return Optional.of(full);
        }
        Path plain = folder.resolve(prefix + number + suffix);
        return Files.exists(plain) ? Optional.of(plain) : Optional.empty();
    }

    /** What the file of a number is called, whether it is there or not. */
    Path name(long number) {
        return folder.resolve(prefix + padded(number) + suffix);
    }

    private String padded(long number) {
        return String.format(Locale.ROOT, "%0" + digits + "d", number);
    }

    /** The least number, and one more than the largest, by listing the folder. */
    long[] range() {
        long least = Long.MAX_VALUE;
        long largest = -1;
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder, "*" + suffix)) {
            for (Path entry : entries) {
                Matcher matcher = NUMBERED.matcher(String.valueOf(entry.getFileName()));
                if (matcher.matches()) {
                    long number = Long.parseLong(matcher.group(2));
                    least = Math.min(least, number);
                    largest = Math.max(largest, number);
                }
            }
        } catch (IOException | DirectoryIteratorException e) {
            throw new IllegalArgumentException(
                    folder + " cannot be listed (" + e.getMessage() + "); check its permissions", e);
        }
        if (largest < 0) {
            throw new IllegalArgumentException(folder + " holds no frames; put them there or remove the folder");
        }
        return new long[] {least, largest + 1};
    }
}
