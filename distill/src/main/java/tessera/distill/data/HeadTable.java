package tessera.distill.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import tessera.distill.data.annotation.CsvTable;

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
        CsvTable table = CsvTable.read(file);
        List<String> header = table.row(0);
        if (header.size() < 2
                || !header.getFirst().equalsIgnoreCase("label")
                || header.contains("")
                || header.stream().distinct().count() < header.size()) {
            throw new IllegalArgumentException(file + " begins with '" + String.join(",", header)
                    + "'; its first line must be label and the names of heads, for example label,verb,noun");
        }
        Map<String, List<String>> rows = new HashMap<>();
        for (int i = 1; i < table.size(); i++) {
            List<String> row = table.row(i);
            if (row.size() != header.size() || row.contains("")) {
                throw new IllegalArgumentException(file + " has '" + String.join(",", row) + "' in line "
                        + table.line(i) + "; give " + header.size() + " words parted by commas, in quotes what has a"
                        + " comma in it: " + String.join(",", header));
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
}
