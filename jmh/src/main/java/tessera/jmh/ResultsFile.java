package tessera.jmh;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneId;
import java.util.List;
import java.util.Map;
import tessera.distill.demo.Machine;
import tessera.distill.report.Json;
import tessera.tensor.io.AtomicFile;

/** Results of a benchmark as JSON: what they are of, then lists of records, one record a line so that changes are seen. */
public final class ResultsFile {
    private final StringBuilder text;

    /** Begins with what is said about the whole. */
    public ResultsFile(Map<String, String> about) {
        text = new StringBuilder("{\"about\":" + Json.text(about));
    }

    /** Adds a list. */
    public ResultsFile list(String name, List<? extends Record> entries) {
        text.append(",\n\"").append(name).append("\":[");
        String before = "\n";
        for (Record entry : entries) {
            text.append(before).append(Json.text(entry));
            before = ",\n";
        }
        text.append(']');
        return this;
    }

    /** The whole. */
    public String json() {
        return text + "}\n";
    }

    /** Writes it whole and moves it into place; makes its folder. */
    public void write(Path file) {
        try {
            Path folder = file.toAbsolutePath().getParent();
            if (folder != null) {
                Files.createDirectories(folder);
            }
        } catch (IOException e) {
            throw new UncheckedIOException("cannot make the folder of " + file, e);
        }
        AtomicFile.write(file, out -> out.write(json().getBytes(StandardCharsets.UTF_8)));
    }

    /** Today, as results say it. */
    public static String today() {
        return LocalDate.now(ZoneId.systemDefault()).toString();
    }

    /** {@code jmh/results/DATE-PROCESSOR.json} in the folder in which Java was started, with a hyphen and a word behind where there is one. */
    public static Path named(String word) {
        String name = today() + "-" + Host.word(Machine.here().processor()) + (word.isEmpty() ? "" : "-" + word);
        return Path.of("jmh", "results", name + ".json");
    }
}
