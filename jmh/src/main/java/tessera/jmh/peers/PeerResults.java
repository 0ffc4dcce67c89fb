package tessera.jmh.peers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.tensor.io.AtomicFile;

/**
 * What was measured where, as JSON and as a table in CSV; each file is written whole and moved into place. Not thread-safe.
 */
final class PeerResults {
    /**
     * Something that was not measured.
     *
     * @param work what, or {@code all}
     * @param contender whose
     * @param reason why not
     */
    public record Absence(String work, String contender, String reason) {}

    private final Map<String, String> about = new LinkedHashMap<>();
    private final List<Row> rows = new ArrayList<>();
    private final List<Absence> absences = new ArrayList<>();

    /** Says something about the whole: the machine, a version, a setting. */
    void about(String name, Object value) {
        about.put(name, value.toString());
    }

    void add(Row row) {
        rows.add(row);
    }

    void absent(String work, String contender, String reason) {
        absences.add(new Absence(work, contender, reason));
    }

    Map<String, String> about() {
        return about;
    }

    List<Row> rows() {
        return rows;
    }

    List<Absence> absences() {
        return absences;
    }

    /** Rows whose results are not those of our f32. */
    List<Row> disagreeing() {
        return rows.stream().filter(row -> !row.agrees()).toList();
    }

    /** Writes {@code file} and beside it a table of the same name that ends in {@code .csv}. */
    void write(Path file) {
        try {
            Path folder = file.toAbsolutePath().getParent();
            if (folder != null) {
                Files.createDirectories(folder);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot make the folder of " + file, e);
        }
        text(file, json());
        text(sibling(file, ".csv"), csv());
    }

    /** A file of the same name that ends otherwise. */
    static Path sibling(Path file, String ending) {
        String name = String.valueOf(file.getFileName());
        return file.resolveSibling(name.replaceFirst("\\.json$", "") + ending);
    }

    private static void text(Path file, String text) {
        AtomicFile.write(file, out -> out.write(text.getBytes(StandardCharsets.UTF_8)));
    }

    /** One row a line, so that changes are seen. */
    String json() {
        StringBuilder text = new StringBuilder("{\"about\":" + Json.text(about) + ",\n\"absences\":[");
        lines(text, absences);
        text.append("],\n\"rows\":[");
        lines(text, rows);
        return text.append("]}\n").toString();
    }

    private static void lines(StringBuilder text, List<? extends Record> entries) {
        String before = "\n";
        for (Record entry : entries) {
            text.append(before).append(Json.text(entry));
            before = ",\n";
        }
    }

    /** A header and the rows, RFC 4180. */
    String csv() {
        StringBuilder text = new StringBuilder(String.join(",", Row.columns())).append('\n');
        rows.forEach(row -> text.append(String.join(
                        ",",
                        row.cells().values().stream().map(PeerResults::quoted).toList()))
                .append('\n'));
        return text.toString();
    }

    private static String quoted(String cell) {
        return cell.matches("[^\",\n\r]*") ? cell : "\"" + cell.replace("\"", "\"\"") + "\"";
    }

    /**
     * Reads what {@link #write} wrote.
     *
     * @throws IllegalArgumentException if the file is not there or is no such file
     */
    static PeerResults read(Path file) {
        String text;
        try {
            text = Files.readString(file);
        } catch (IOException e) {
            throw new IllegalArgumentException("cannot read " + file + "; pass a file that bench --peers wrote", e);
        }
        PeerResults results = new PeerResults();
        try {
            Map<String, @Nullable Object> root = Json.object(text);
            if (root.get("about") instanceof Map<?, ?> about) {
                about.forEach((name, value) -> results.about(String.valueOf(name), String.valueOf(value)));
            }
            for (Map<String, @Nullable Object> members : objects(root, "absences")) {
                results.absent(
                        String.valueOf(members.get("work")),
                        String.valueOf(members.get("contender")),
                        String.valueOf(members.get("reason")));
            }
            objects(root, "rows").forEach(members -> results.add(Row.of(members)));
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(file + ": " + e.getMessage(), e);
        }
        return results;
    }

    @SuppressWarnings("unchecked")
    private static List<Map<String, @Nullable Object>> objects(Map<String, @Nullable Object> root, String name) {
        if (root.get(name) instanceof List<?> items && items.stream().allMatch(Map.class::isInstance)) {
            return (List<Map<String, @Nullable Object>>) items;
        }
        throw new IllegalArgumentException("there is no list " + name + "; pass a file that bench --peers wrote");
    }
}
