package tessera.jmh.peers;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;
import tessera.jmh.ResultsFile;
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

    /** What may differ between the parts of a run. */
    private static final String DATE = "date";

    private final Map<String, String> about = new LinkedHashMap<>();
    private final List<Row> rows = new ArrayList<>();
    private final Set<Absence> absences = new LinkedHashSet<>();
    private final List<Limits.Limit> limits = new ArrayList<>();
    private final List<FewShotAccuracy.Result> accuracies = new ArrayList<>();

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

    void addLimits(List<Limits.Limit> measured) {
        limits.addAll(measured);
    }

    /** Adds accuracies, in place of older ones of the same students. */
    void addAccuracies(List<FewShotAccuracy.Result> measured) {
        accuracies.removeIf(
                old -> measured.stream().anyMatch(one -> one.student().equals(old.student())));
        accuracies.addAll(measured);
    }

    Map<String, String> about() {
        return about;
    }

    /** All rows, with the share of the limits that are known so far. */
    List<Row> rows() {
        return rows.stream()
                .map(row -> row.withShare(Limits.share(limits, row)))
                .toList();
    }

    List<Absence> absences() {
        return List.copyOf(absences);
    }

    List<Limits.Limit> limits() {
        return limits;
    }

    List<FewShotAccuracy.Result> accuracies() {
        return accuracies;
    }

    /**
     * Takes what an earlier run measured, to go on with it.
     *
     * @throws IllegalArgumentException if that was of another machine, other sources or other settings, or beside a library that is
     *     not there now
     */
    void goOn(PeerResults earlier) {
        about.forEach((name, now) -> {
            String was = earlier.about.get(name);
            if (was != null && !was.equals(now) && !name.equals(DATE)) {
                throw new IllegalArgumentException("--resume: " + name + " was '" + was + "' and is '" + now
                        + "'; results of both cannot be one table: leave --resume away or name another --out");
            }
        });
        earlier.about.forEach((name, was) -> {
            if (!about.containsKey(name) && earlier.isOfALibrary(name)) {
                throw new IllegalArgumentException("--resume: the file has results beside " + name + " " + was
                        + ", which is not here now; build and call it as then (--python names PyTorch's Python), leave --resume away or"
                        + " name another --out");
            }
        });
        rows.addAll(earlier.rows);
        absences.addAll(earlier.absences);
        limits.addAll(earlier.limits);
        accuracies.addAll(earlier.accuracies);
    }

    /** Whether something said about the whole is a version of a library that has results. */
    private boolean isOfALibrary(String name) {
        return rows.stream().anyMatch(row -> name.startsWith(row.library() + " "));
    }

    /** Whether a work's rows are there. */
    boolean has(Work work) {
        return rows.stream().anyMatch(row -> row.work().equals(work.name()));
    }

    /** Rows whose results are not those of our f32. */
    List<Row> disagreeing() {
        return rows().stream().filter(row -> !row.agrees()).toList();
    }

    /** Whether a result of ours may be wrong: one in bytes or bf16 is, or a peer's in f32 is another than ours. */
    boolean failed() {
        return disagreeing().stream()
                .anyMatch(row ->
                        row.library().equals(OwnPeer.NAME) || row.precision().equals(Precision.F32.text()));
    }

    /** Writes {@code file} and beside it a table of the same name that ends in {@code .csv}. */
    void write(Path file) {
        file().write(file);
        AtomicFile.write(sibling(file, ".csv"), out -> out.write(csv().getBytes(StandardCharsets.UTF_8)));
    }

    /** A file of the same name that ends otherwise. */
    static Path sibling(Path file, String ending) {
        String name = String.valueOf(file.getFileName());
        return file.resolveSibling(name.replaceFirst("\\.json$", "") + ending);
    }

    /** One row a line, so that changes are seen. */
    String json() {
        return file().json();
    }

    private ResultsFile file() {
        return new ResultsFile(about)
                .list("goals", PeerGoals.of(this))
                .list("absences", absences())
                .list("limits", limits)
                .list("accuracies", accuracies)
                .list("rows", rows());
    }

    /** A header and the rows, each with what is said about the whole, so that tables of several machines can be joined; RFC 4180. */
    String csv() {
        StringBuilder text = new StringBuilder(line(Row.columns(), about.keySet()));
        rows().forEach(row -> text.append(line(row.cells().values(), about.values())));
        return text.toString();
    }

    private static String line(Collection<String> cells, Collection<String> about) {
        return Stream.concat(cells.stream(), about.stream())
                .map(PeerResults::quoted)
                .collect(Collectors.joining(",", "", "\n"));
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
            if (root.containsKey("limits")) {
                objects(root, "limits").forEach(members -> results.limits.add(Limits.Limit.of(members)));
            }
            if (root.containsKey("accuracies")) {
                objects(root, "accuracies")
                        .forEach(members -> results.accuracies.add(FewShotAccuracy.Result.of(members)));
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
