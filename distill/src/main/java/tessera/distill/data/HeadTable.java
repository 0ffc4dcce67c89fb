package tessera.distill.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Further heads of labels as text: a line {@code label,verb,noun}, then one for each label; commas part, there are no quotes. */
final class HeadTable {
    private HeadTable() {}

    /**
     * Reads a file.
     *
     * @param labels those that are needed
     * @return by the name of the head, the value of each label
     * @throws IllegalArgumentException if it cannot be read, is not so, or lacks a label
     */
    static Map<String, List<String>> read(Path file, List<String> labels) {
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is text in UTF-8", e);
        }
        List<String> header = lines.isEmpty() ? List.of() : cells(lines.getFirst());
        if (header.size() < 2
                || !header.getFirst().equals("label")
                || header.contains("")
                || header.stream().distinct().count() < header.size()) {
            throw new IllegalArgumentException(file + " begins with '" + (lines.isEmpty() ? "" : lines.getFirst())
                    + "'; its first line must be label and the names of heads, for example label,verb,noun");
        }
        Map<String, List<String>> rows = new HashMap<>();
        for (int i = 1; i < lines.size(); i++) {
            List<String> row = cells(lines.get(i));
            if (lines.get(i).isBlank()) {
                continue;
            }
            if (row.size() != header.size() || row.contains("") || lines.get(i).contains("\"")) {
                throw new IllegalArgumentException(file + " has '" + lines.get(i) + "' in line " + (i + 1) + "; give "
                        + header.size() + " words parted by commas, without quotes: " + String.join(",", header));
            }
            if (rows.put(row.getFirst(), row) != null) {
                throw new IllegalArgumentException(
                        file + " has two lines for the label '" + row.getFirst() + "'; keep one of them");
            }
        }
        Map<String, List<String>> heads = new TreeMap<>();
        for (int head = 1; head < header.size(); head++) {
            List<String> values = new ArrayList<>();
            for (String label : labels) {
                List<String> row = rows.get(label);
                if (row == null) {
                    throw new IllegalArgumentException(
                            file + " has no line for the label '" + label + "'; add one, or remove the file");
                }
                values.add(row.get(head));
            }
            heads.put(header.get(head), values);
        }
        return heads;
    }

    private static List<String> cells(String line) {
        List<String> cells = new ArrayList<>();
        for (String cell : line.replace("\uFEFF", "").split(",", -1)) {
            cells.add(cell.strip());
        }
        return cells;
    }
}
