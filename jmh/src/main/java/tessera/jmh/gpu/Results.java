package tessera.jmh.gpu;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.report.Json;

/**
 * What was measured so far, in a JSON file that is complete after every entry: it is written beside and moved into place. Not
 * thread-safe.
 */
final class Results {
    private final Path file;
    private final Map<String, Object> root = new LinkedHashMap<>();

    /** Results in a file, which is overwritten by the first entry. */
    Results(Path file) {
        this.file = file;
    }

    /** Sets a member. */
    void put(String name, Object value) {
        root.put(name, value);
        write();
    }

    /** Adds an entry to a list. */
    void add(String list, Map<String, ?> entry) {
        @SuppressWarnings("unchecked")
        List<Object> entries = (List<Object>) root.computeIfAbsent(list, name -> new ArrayList<>());
        entries.add(new LinkedHashMap<>(entry));
        write();
    }

    private void write() {
        Path folder = file.toAbsolutePath().getParent();
        Path fresh = file.resolveSibling(file.getFileName() + ".part");
        try {
            if (folder != null) {
                Files.createDirectories(folder);
            }
            Files.writeString(fresh, Json.text(root) + "\n");
            Files.move(fresh, file, StandardCopyOption.REPLACE_EXISTING, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException e) {
            throw new UncheckedIOException("cannot write " + file, e);
        }
    }
}
