package tessera.distill.cli;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import tessera.distill.report.Json;

/**
 * Files that name classes, as data sets hand them out: a label a line in the order of the classes; the same with the numbers of the classes
 * before them, from 0 or 1 on, with or without a line of columns ({@code id,name}); or JSON, a list of labels or an object of labels and
 * their numbers in either direction.
 */
final class ClassList {
    private static final Pattern NUMBERED = Pattern.compile("(\\d{1,9})\\s*[,;\\s]\\s*(\\S.*)");
    private static final Pattern QUOTED = Pattern.compile("\"((?:[^\"]|\"\")*)\"");
    private static final String WANTED = "; pass a text file with a label a line";

    private ClassList() {}

    /**
     * The labels in the order of their classes.
     *
     * @throws IllegalArgumentException if the file cannot be read or is none of these
     */
    static List<String> read(Path file) {
        String text;
        try {
            text = Files.readString(file).replaceFirst("^\uFEFF", "").stripTrailing();
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException("--labels " + file + " is no text in UTF-8" + WANTED, e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    "--labels " + file + " cannot be read (" + e.getMessage() + ")" + WANTED, e);
        }
        boolean json = text.startsWith("{")
                || text.matches("(?s)\\[\\s*\".*")
                || file.toString().endsWith(".json");
        return json ? ofJson(file, text) : ofLines(file, text);
    }

    private static List<String> ofLines(Path file, String text) {
        List<String> lines = text.lines().map(String::strip).toList();
        int blank = lines.indexOf("");
        if (blank >= 0) {
            throw new IllegalArgumentException(
                    "--labels " + file + ": line " + (blank + 1) + " is empty; pass a label a line");
        }
        List<String> numbered = numbered(lines);
        return numbered.isEmpty() && !lines.isEmpty() ? numbered(lines.subList(1, lines.size()), lines) : numbered;
    }

    /** Of lines below one of columns, or else all lines as they are. */
    private static List<String> numbered(List<String> rows, List<String> lines) {
        List<String> numbered = numbered(rows);
        return numbered.isEmpty() ? lines : numbered;
    }

    /** The labels behind numbers that count from 0 or 1 on; empty where lines do not begin so. */
    private static List<String> numbered(List<String> lines) {
        List<String> labels = new ArrayList<>();
        long first = -1;
        for (String line : lines) {
            Matcher row = NUMBERED.matcher(line);
            if (!row.matches()) {
                return List.of();
            }
            long number = Long.parseLong(row.group(1));
            first = labels.isEmpty() ? number : first;
            if (first > 1 || number != first + labels.size()) {
                return List.of();
            }
            Matcher quoted = QUOTED.matcher(row.group(2));
            labels.add(quoted.matches() ? quoted.group(1).replace("\"\"", "\"").strip() : row.group(2));
        }
        return labels.size() < 2 ? List.of() : labels;
    }

    private static List<String> ofJson(Path file, String text) {
        Object root;
        try {
            root = Json.value(text);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("--labels " + file + " is no JSON" + WANTED, e);
        }
        if (root instanceof List<?> list && list.stream().allMatch(String.class::isInstance)) {
            return list.stream().map(String::valueOf).toList();
        }
        Map<Long, String> byNumber = new LinkedHashMap<>();
        boolean distinct = root instanceof Map<?, ?>;
        if (root instanceof Map<?, ?> entries) {
            for (Map.Entry<?, ?> entry : entries.entrySet()) {
                Long before = number(entry.getKey());
                Long behind = number(entry.getValue());
                Long number = before != null && entry.getValue() instanceof String ? before : behind;
                Object label = number != null && number.equals(before) && entry.getValue() instanceof String
                        ? entry.getValue()
                        : entry.getKey();
                distinct &= number != null && byNumber.put(number, String.valueOf(label)) == null;
            }
        }
        long first = byNumber.containsKey(0L) ? 0 : 1;
        int count = byNumber.size();
        if (!distinct || !IntStream.range(0, count).allMatch(i -> byNumber.containsKey(first + i))) {
            throw new IllegalArgumentException("--labels " + file
                    + " is JSON but neither a list of labels nor labels with numbers from 0 or 1 on" + WANTED);
        }
        return IntStream.range(0, count)
                .mapToObj(i -> String.valueOf(byNumber.get(first + i)))
                .toList();
    }

    private static @Nullable Long number(@Nullable Object value) {
        String text = String.valueOf(value);
        return text.matches("\\d{1,9}") ? Long.valueOf(text) : null;
    }
}
