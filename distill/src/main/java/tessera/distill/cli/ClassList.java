package tessera.distill.cli;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.annotation.CsvTable;
import tessera.distill.report.Json;

/**
 * Files that name classes, as data sets hand them out: a label a line in the order of the classes; the same with the numbers of the classes,
 * from 0 or 1 on and in any order, before or behind them, with or without a line of columns; a table with a column of numbers and one of
 * names among others, such as EPIC-KITCHENS'; or JSON, a list of labels, an object of labels and their numbers in either direction, a list of
 * objects with {@code id} and {@code name}, or a model's {@code config.json}.
 */
final class ClassList {
    private static final Pattern BEFORE = Pattern.compile("(?<number>\\d{1,9})\\s*[,;\\s]\\s*(?<label>\\S.*)");
    private static final Pattern BEHIND = Pattern.compile("(?<label>\\S.*?)\\s*[,;\\s]\\s*(?<number>\\d{1,9})");

    /** What tables call the numbers of classes, and their names. */
    private static final List<String> NUMBERS =
            List.of("id", "verb_id", "noun_id", "action_id", "class_id", "label_id", "index", "number");

    private static final List<String> NAMES = List.of("name", "key", "class_key", "label", "class", "class_name");
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
                || text.matches("(?s)\\[\\s*[\"{].*")
                || file.toString().endsWith(".json");
        if (json) {
            return ofJson(file, text);
        }
        List<String> columns = Stream.of(text.lines().findFirst().orElse("").split("[,;\t]"))
                .map(column -> column.replace("\"", "").strip().toLowerCase(Locale.ROOT))
                .toList();
        String number = NUMBERS.stream().filter(columns::contains).findFirst().orElse("");
        String name = NAMES.stream().filter(columns::contains).findFirst().orElse("");
        return number.isEmpty() || name.isEmpty() ? ofLines(file, text) : ofTable(file, number, name);
    }

    private static List<String> ofTable(Path file, String number, String name) {
        CsvTable table = CsvTable.read(file);
        List<String> header = table.row(0).stream()
                .map(column -> column.toLowerCase(Locale.ROOT))
                .toList();
        Map<Long, String> byNumber = new LinkedHashMap<>();
        for (int row = 1; row < table.size(); row++) {
            List<String> cells = table.row(row);
            Long found = cells.size() > header.indexOf(number) ? number(cells.get(header.indexOf(number))) : null;
            String label = cells.size() > header.indexOf(name) ? cells.get(header.indexOf(name)) : "";
            if (found == null || label.isEmpty() || byNumber.put(found, label) != null) {
                throw new IllegalArgumentException("--labels " + file + ", line " + table.line(row) + ", has no "
                        + number + " of its own with a " + name + "; mend it");
            }
        }
        return inOrder(byNumber)
                .orElseThrow(() -> new IllegalArgumentException("--labels " + file + ": the column " + number
                        + " has not every number from 0 or 1 on; pass the table of all classes"));
    }

    /** The labels of numbers that are all from 0 or from 1 on. */
    private static Optional<List<String>> inOrder(Map<Long, String> byNumber) {
        long first = byNumber.containsKey(0L) ? 0 : 1;
        List<String> labels = new ArrayList<>();
        for (long number = first; number < first + byNumber.size(); number++) {
            String label = byNumber.get(number);
            if (label == null) {
                return Optional.empty();
            }
            labels.add(label);
        }
        return Optional.of(labels);
    }

    private static List<String> ofLines(Path file, String text) {
        List<String> lines = text.lines().map(String::strip).toList();
        int blank = lines.indexOf("");
        if (blank >= 0) {
            throw new IllegalArgumentException(
                    "--labels " + file + ": line " + (blank + 1) + " is empty; pass a label a line");
        }
        for (Pattern row : List.of(BEFORE, BEHIND)) {
            // The first line may name the columns.
            for (int from = 0; from < Math.min(2, lines.size()); from++) {
                Optional<List<String>> labels = numbered(lines.subList(from, lines.size()), row);
                if (labels.isPresent()) {
                    return labels.get();
                }
            }
        }
        return lines;
    }

    /** The labels beside the numbers of classes; nothing where lines do not look so, or only end as if they did. */
    private static Optional<List<String>> numbered(List<String> lines, Pattern row) {
        Map<Long, String> byNumber = new LinkedHashMap<>();
        for (String line : lines) {
            Matcher parts = row.matcher(line);
            if (!parts.matches()) {
                return Optional.empty();
            }
            Matcher quoted = QUOTED.matcher(parts.group("label"));
            String label =
                    quoted.matches() ? quoted.group(1).replace("\"\"", "\"").strip() : parts.group("label");
            if (byNumber.put(Long.valueOf(parts.group("number")), label) != null) {
                return Optional.empty();
            }
        }
        boolean counted = row.equals(BEHIND) && new HashSet<>(byNumber.values()).size() < byNumber.size();
        return byNumber.size() < 2 || counted ? Optional.empty() : inOrder(byNumber);
    }

    private static List<String> ofJson(Path file, String text) {
        Object root;
        try {
            root = Json.value(text);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("--labels " + file + " is no JSON" + WANTED, e);
        }
        Object named = root instanceof Map<?, ?> members ? members.get("id2label") : null;
        if (named != null) {
            root = named; // of a model's config.json
        }
        if (root instanceof List<?> list && list.stream().allMatch(String.class::isInstance)) {
            return list.stream().map(String::valueOf).toList();
        }
        Map<Long, String> byNumber = new LinkedHashMap<>();
        boolean distinct = root instanceof Map<?, ?> || root instanceof List<?>;
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
        } else if (root instanceof List<?> categories) {
            for (Object each : categories) {
                Long number = each instanceof Map<?, ?> category ? number(category.get("id")) : null;
                Object label = each instanceof Map<?, ?> category ? category.get("name") : null;
                distinct &= number != null && label instanceof String name && byNumber.put(number, name) == null;
            }
        }
        return (distinct ? inOrder(byNumber) : Optional.<List<String>>empty())
                .orElseThrow(() -> new IllegalArgumentException("--labels " + file
                        + " is JSON but neither a list of labels nor labels with numbers from 0 or 1 on" + WANTED));
    }

    private static @Nullable Long number(@Nullable Object value) {
        String text = String.valueOf(value);
        return text.matches("\\d{1,9}") ? Long.valueOf(text) : null;
    }
}
