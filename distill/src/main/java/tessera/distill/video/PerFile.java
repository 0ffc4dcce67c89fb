package tessera.distill.video;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * What was found of files, remembered as long as these have the same size and were not written again; of the files that were asked for
 * last. Thread-safe.
 */
final class PerFile<T> {
    private static final int MOST = 256;

    private final Map<Path, Known<T>> known = new LinkedHashMap<>(16, .75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Path, Known<T>> eldest) {
            return size() > MOST;
        }
    };

    private record Look(long size, FileTime written) {}

    private record Known<T>(Look look, T found) {}

    /** What is known of a file as it is now. */
    Optional<T> get(Path file) {
        return look(file).flatMap(look -> {
            synchronized (known) {
                Known<T> last = known.get(file.toAbsolutePath());
                return last != null && last.look.equals(look) ? Optional.of(last.found) : Optional.empty();
            }
        });
    }

    /** Remembers it, unless the file is gone. */
    void put(Path file, T found) {
        look(file).ifPresent(look -> {
            synchronized (known) {
                known.put(file.toAbsolutePath(), new Known<>(look, found));
            }
        });
    }

    private static Optional<Look> look(Path file) {
        try {
            BasicFileAttributes attributes = Files.readAttributes(file, BasicFileAttributes.class);
            return Optional.of(new Look(attributes.size(), attributes.lastModifiedTime()));
        } catch (IOException gone) {
            return Optional.empty();
        }
    }
}
