package tessera.distill.data.annotation;

import java.io.IOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** Annotations in tables. */
final class CsvAnnotations {
    private static final int MECCANO_COLUMNS = 5;

    private static final double MECCANO_RATE = 12;
    /** What the first column is called in tables that pandas wrote with its numbers of rows. */
    private static final Pattern ROW_NUMBERS = Pattern.compile("|Unnamed: 0");

    private static final String FRAME = "\\d{1,9}(\\.(jpg|png))?";
    private static final Set<String> PLAIN = Set.of("path", "start", "end", "label", "split");

    private final Path file;
    private final CsvTable table;
    private final Consumer<String> notes;

    CsvAnnotations(Path file, CsvTable table, Consumer<String> notes) {
        this.file = file;
        this.table = table;
        this.notes = notes;
    }

    /** As {@link AnnotationFormat#CSV} says. */
    List<Annotation> plain() {
        if (!table.has("path")) {
            throw table.wrong(0, "names no column path");
        }
        if (table.has("start") != table.has("end")) {
            throw table.wrong(0, "names only one of start and end");
        }
        List<String> named = table.header()
                .subList(
                        ROW_NUMBERS.matcher(table.header().getFirst()).matches() ? 1 : 0,
                        table.header().size());
        if (new TreeSet<>(named).size() < named.size() || named.contains("")) {
            throw table.wrong(0, "has columns without a name or with the same");
        }
        List<String> heads = named.stream()
                .filter(column -> !PLAIN.contains(column.toLowerCase(Locale.ROOT)))
                .toList();
        return rows().mapToObj(row -> {
                    Segment segment = Segment.WHOLE;
                    if (!table.cell(row, "start").isEmpty()
                            || !table.cell(row, "end").isEmpty()) {
                        segment = seconds(row, "start", "end");
                    }
                    Map<String, String> values = new TreeMap<>();
                    heads.forEach(head -> values.put(head, table.needed(row, head)));
                    return new Annotation(
                                    table.needed(row, "path"),
                                    segment,
                                    table.cell(row, "label"),
                                    values,
                                    table.cell(row, "split"))
                            .toldBy(table.where(row));
                })
                .toList();
    }

    private Segment seconds(int row, String from, String to) {
        double start = table.seconds(row, from);
        double end = table.seconds(row, to);
        if (end < start) {
            throw table.wrong(row, "ends before it starts");
        }
        return Segment.seconds(start, end);
    }

    /** As {@link AnnotationFormat#EPIC} says. */
    List<Annotation> epic() {
        for (String column : List.of("video_id", "start_timestamp", "stop_timestamp")) {
            if (!table.has(column)) {
                throw table.wrong(0, "names no column " + column);
            }
        }
        Map<String, String> verbs = classes("verb");
        Map<String, String> nouns = classes("noun");
        boolean labelled = table.has("verb_class") && table.has("noun_class");
        if (labelled && (verbs.isEmpty() || nouns.isEmpty())) {
            notes.accept("the tables *_verb_classes.csv and *_noun_classes.csv are not beside " + file
                    + ": labels are the narrators' words, of which several mean one class");
        }
        return rows().mapToObj(row -> epic(row, labelled, verbs, nouns).toldBy(table.where(row)))
                .toList();
    }

    private Annotation epic(int row, boolean labelled, Map<String, String> verbs, Map<String, String> nouns) {
        Segment.Span seconds = seconds(row, "start_timestamp", "stop_timestamp").seconds();
        Segment.Span frames = null;
        if (table.has("start_frame") && table.has("stop_frame")) {
            double first = table.number(row, table.place("start_frame"), "start_frame");
            double last = table.number(row, table.place("stop_frame"), "stop_frame");
            frames = new Segment.Span(first, Math.max(first, last));
        }
        Segment segment = new Segment(seconds, frames, 0, 0);
        String video = table.needed(row, "video_id");
        if (!labelled) {
            // EPIC-SOUNDS has one class.
            return new Annotation(video, segment, table.cell(row, "class"), Map.of(), "");
        }
        String verb = name(row, "verb", verbs);
        String noun = name(row, "noun", nouns);
        return new Annotation(video, segment, verb + " " + noun, Map.of("verb", verb, "noun", noun), "");
    }

    private String name(int row, String head, Map<String, String> classes) {
        if (classes.isEmpty()) {
            return table.needed(row, head);
        }
        // As whole numbers are written that were kept as fractions.
        String number = table.needed(row, head + "_class").replaceFirst("\\.0+$", "");
        String name = classes.get(number);
        if (name == null) {
            throw table.wrong(row, "has the " + head + "_class " + number + ", which the table of classes lacks");
        }
        return name;
    }

    /** Names of classes by their numbers, from the table beside the file; empty if there is none. */
    private Map<String, String> classes(String head) {
        Map<String, String> names = new HashMap<>();
        Path folder = file.toAbsolutePath().getParent();
        if (folder == null || !Files.isDirectory(folder)) {
            return names;
        }
        List<Path> tables = new ArrayList<>();
        try (DirectoryStream<Path> found = Files.newDirectoryStream(folder, "*" + head + "_classes.csv")) {
            found.forEach(tables::add);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    folder + " cannot be listed (" + e.getMessage() + "); check its permissions", e);
        }
        for (Path classes : ofDataSet(tables, head)) {
            CsvTable known = CsvTable.read(classes);
            String column = known.has("key") ? "key" : "class_key";
            for (int row = 1; row < known.size(); row++) {
                names.put(known.cell(row, 0), known.needed(row, column));
            }
        }
        return names;
    }

    /**
     * Of several tables, as where the data set's two editions lie together, that whose name begins as the file's: {@code EPIC_100_} or
     * {@code EPIC_}. The same number is another class in each.
     */
    private List<Path> ofDataSet(List<Path> tables, String head) {
        if (tables.size() < 2) {
            return tables;
        }
        String name = String.valueOf(file.getFileName());
        Comparator<Path> shared = Comparator.comparingInt(table -> {
            String before = String.valueOf(table.getFileName()).replace(head + "_classes.csv", "");
            return name.startsWith(before) ? before.length() : -1;
        });
        Path nearest = Collections.max(tables, shared);
        if (tables.stream().filter(table -> shared.compare(table, nearest) == 0).count() > 1) {
            throw new IllegalArgumentException(file + " has several tables of classes beside it, "
                    + tables.stream()
                            .map(table -> String.valueOf(table.getFileName()))
                            .sorted()
                            .collect(Collectors.joining(" and "))
                    + "; move away those of other data sets");
        }
        return List.of(nearest);
    }

    /** As {@link AnnotationFormat#MECCANO} says; a first line of names is passed over, and frames may be called as their pictures. */
    List<Annotation> meccano() {
        List<Annotation> found = new ArrayList<>();
        boolean named = !table.cell(0, 1).matches("\\d+");
        for (int row = named ? 1 : 0; row < table.size(); row++) {
            if (table.cell(row, MECCANO_COLUMNS - 1).isEmpty()) {
                throw table.wrong(row, "has fewer than " + MECCANO_COLUMNS + " columns");
            }
            double first = frame(row, 3);
            double last = frame(row, 4);
            if (last < first) {
                throw table.wrong(row, "ends before it starts");
            }
            Segment frames = Segment.frames(first, last, MECCANO_RATE);
            found.add(new Annotation(table.cell(row, 0), frames, table.cell(row, 2), Map.of(), "")
                    .toldBy(table.where(row)));
        }
        return found;
    }

    /** Whether a table looks so: as many columns, of which the last two are frames. */
    static boolean isMeccano(CsvTable table) {
        int row = table.size() - 1;
        return table.header().size() == MECCANO_COLUMNS
                && table.cell(row, 3).matches(FRAME)
                && table.cell(row, 4).matches(FRAME);
    }

    private double frame(int row, int column) {
        String cell = table.cell(row, column);
        if (!cell.matches(FRAME)) {
            throw table.wrong(row, "gives '" + cell + "' as a frame");
        }
        return Double.parseDouble(cell.replaceFirst("\\..*", ""));
    }

    /** All rows but that of the columns' names, of which none may have more cells than there are columns. */
    private IntStream rows() {
        return IntStream.range(1, table.size()).peek(table::requireNoSurplus);
    }
}
