package tessera.distill.data;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import tessera.distill.data.annotation.CsvTable;

/** Which clips belong together, such as those of one place or one recording. */
public final class ClipGroups {
    private ClipGroups() {}

    /**
     * The group of each clip by its name: what stands before the first {@code _}.
     *
     * @param names {@code label/name}
     * @return numbers from 0, in the order in which groups first occur
     * @throws IllegalArgumentException if a name has no {@code _} after its first character
     */
    public static int[] ofPrefix(List<String> names) {
        return numbered(names.stream()
                .map(name -> {
                    String own = name.substring(name.indexOf('/') + 1);
                    int end = own.indexOf('_');
                    if (end < 1) {
                        throw new IllegalArgumentException("clip " + name + " names no group: it has no _ after a first"
                                + " part; rename it to GROUP_" + own + ", or pass a table of groups");
                    }
                    return own.substring(0, end);
                })
                .toList());
    }

    /**
     * The group of each clip by a table ({@link CsvTable}): lines {@code name,group}, of which a first line of these two words is passed
     * over. A name is that of the file without its extension, or {@code label/name}.
     *
     * @param names {@code label/name}
     * @return numbers from 0, in the order in which groups first occur
     * @throws IllegalArgumentException if the file is no such table or lacks a clip
     */
    public static int[] ofTable(Path file, List<String> names) {
        Map<String, String> groups = read(file);
        return numbered(names.stream()
                .map(name -> {
                    String group = groups.getOrDefault(name, groups.get(name.substring(name.indexOf('/') + 1)));
                    if (group == null) {
                        throw new IllegalArgumentException(
                                file + " names no group of clip " + name + "; add a line " + name + ",GROUP");
                    }
                    return group;
                })
                .toList());
    }

    private static Map<String, String> read(Path file) {
        if (!Files.isRegularFile(file)) {
            throw new IllegalArgumentException(
                    "'" + file + "' cannot be read; pass the word prefix, or a table with lines name,group");
        }
        CsvTable table = CsvTable.read(file);
        Map<String, String> groups = new HashMap<>();
        for (int row = table.row(0).equals(List.of("name", "group")) ? 1 : 0; row < table.size(); row++) {
            List<String> cells = table.row(row);
            if (cells.size() != 2 || cells.contains("")) {
                throw new IllegalArgumentException(file + ", line " + table.line(row) + ": '" + String.join(",", cells)
                        + "' is not name,group; write these two, in quotes what has a comma in it");
            }
            if (groups.put(cells.get(0), cells.get(1)) != null) {
                throw new IllegalArgumentException(file + ", line " + table.line(row) + ": clip " + cells.get(0)
                        + " is named twice; keep one line of it, or tell clips of one name apart as label/name");
            }
        }
        return groups;
    }

    private static int[] numbered(List<String> groups) {
        Map<String, Integer> numbers = new HashMap<>();
        return groups.stream()
                .mapToInt(group -> numbers.computeIfAbsent(group, g -> numbers.size()))
                .toArray();
    }
}
