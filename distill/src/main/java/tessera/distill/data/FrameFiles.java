package tessera.distill.data;

import java.io.IOException;
import java.nio.file.DirectoryIteratorException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import tessera.distill.video.ClipFolder;

/**
 * Numbered arrays of a folder, of which some may be missing: what was computed of each frame of a recording, such as {@code
 * frame_0000000001.npy}. Found by their numbers without listing the folder, which may hold a million.
 *
 * @param digits of a number, with zeros in front
 * @param suffix the extension with its dot
 */
record FrameFiles(Path folder, String prefix, int digits, String suffix) {
    private static final Pattern NUMBERED = Pattern.compile("^(.*\\D)?(\\d{1,18})(\\.[nN][pP][yY])$");
    private static final int LOOKED_AT = 32;

    /** The files of a folder, if the first that are found there all are numbered arrays. */
    static Optional<FrameFiles> find(Path folder) {
        FrameFiles found = null;
        int seen = 0;
        try (DirectoryStream<Path> entries = Files.newDirectoryStream(folder)) {
            for (Path entry : entries) {
                String name = String.valueOf(entry.getFileName());
                if (ClipFolder.isPassedOver(entry)) {
                    continue;
                }
                Matcher matcher = NUMBERED.matcher(name);
                if (!matcher.matches()) {
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
}
