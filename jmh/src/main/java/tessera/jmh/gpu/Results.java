package tessera.jmh.gpu;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.report.Json;

/**
 * What was measured so far, and which goals that meets, in a JSON file that is complete after every entry: it is written beside
 * and moved into place. Not thread-safe.
 */
final class Results {
    private final Path file;
    private final Map<String, Object> root = new LinkedHashMap<>();

    /** Results in a file, which is overwritten by the first entry. */
    Results(Path file) {
        this.file = file;
    }

    /** A file beside the results. */
    Path beside(String name) {
        return file.resolveSibling(name);
    }

    /** Sets a member. */
    void put(String name, Object value) {
        root.put(name, value);
        save();
    }

    /** Adds an entry to a list; after a later change to the entry, {@link #save} writes that too. */
    void add(String list, Map<String, Object> entry) {
        @SuppressWarnings("unchecked")
        List<Object> entries = (List<Object>) root.computeIfAbsent(list, name -> new ArrayList<>());
        entries.add(entry);
        save();
    }

    /** All of it; a view. */
    Map<String, Object> root() {
        return Collections.unmodifiableMap(root);
    }

    /** The goals, as far as they are measured. */
    List<Goals.Goal> goals() {
        return Goals.of(this);
    }

    /** The entries of a list. */
    List<Map<String, Object>> list(String name) {
        @SuppressWarnings("unchecked")
        List<Map<String, Object>> entries = (List<Map<String, Object>>) root.get(name);
        return entries == null ? List.of() : entries;
    }

    /** Writes the file. */
    void save() {
        root.put("goals", goals());
        Path folder = file.toAbsolutePath().getParent();
        Path fresh = beside(file.getFileName() + ".part");
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
