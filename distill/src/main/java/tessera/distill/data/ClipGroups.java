package tessera.distill.data;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

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
     * The group of each clip by a table: lines {@code name,group}, of which a first line of these two words is passed over. A name is that of
     * the file without its extension, or {@code label/name}.
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
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + " is no text in UTF-8; save lines name,group", e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read; pass the word prefix, or a table with lines name,group", e);
        }
        Map<String, String> groups = new HashMap<>();
        for (int i = 0; i < lines.size(); i++) {
            String[] cells = lines.get(i).strip().split(",", -1);
            if (lines.get(i).isBlank() || (i == 0 && lines.get(i).strip().equals("name,group"))) {
                continue;
            }
            if (cells.length != 2 || cells[0].isBlank() || cells[1].isBlank()) {
                throw new IllegalArgumentException(
                        file + ", line " + (i + 1) + ": '" + lines.get(i) + "' is not name,group; write these two");
            }
            String before = groups.put(cells[0].strip(), cells[1].strip());
            if (before != null) {
                throw new IllegalArgumentException(file + ", line " + (i + 1) + ": clip " + cells[0].strip()
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
