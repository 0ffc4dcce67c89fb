package tessera.distill.data.annotation;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.stream.IntStream;

/**
 * Comma-separated values with quotes (RFC 4180), in UTF-8 with a byte order mark or without. Lines end as on any system, cells lose the
 * blanks around them, and empty lines are passed over. Where the first line has more semicolons or tabs than commas, as spreadsheets write
 * where commas are decimal points, these part the cells, and numbers may have such commas. Columns are found by their names in any case.
 * Immutable.
 */
public final class CsvTable {
    /** By which a spreadsheet tells another what parts cells. */
    private static final Pattern SEPARATOR = Pattern.compile("(?i)sep=[,;\t]?");

    /** A number of 0 or more, as programs write them: the smallest with an exponent. */
    private static final Pattern PLAIN = Pattern.compile("\\d{1,15}(\\.\\d{0,18})?([eE][+-]?\\d{1,2})?");

    private static final Pattern CLOCK = Pattern.compile("(\\d{1,6}:){1,2}\\d{1,12}(\\.\\d{1,15})?");

    private final Path file;
    private final List<List<String>> rows;
    /** Where each row begins, from 1. */
    private final List<Integer> lines;

    private final boolean decimalCommas;

    private CsvTable(Path file, List<List<String>> rows, List<Integer> lines, boolean decimalCommas) {
        this.file = file;
        this.rows = rows;
        this.lines = lines;
        this.decimalCommas = decimalCommas;
    }

    /**
     * Reads a file.
     *
     * @throws IllegalArgumentException if it cannot be read, is empty, or a quote is not closed
     */
    public static CsvTable read(Path file) {
        String text;
        try {
            text = Files.readString(file)
                    .replace("\uFEFF", "")
                    .replace("\r\n", "\n")
                    .replace('\r', '\n');
        } catch (CharacterCodingException e) {
            throw new IllegalArgumentException(file + " is no text in UTF-8; save it as CSV in UTF-8", e);
        } catch (IOException e) {
            throw new IllegalArgumentException(
                    file + " cannot be read (" + e.getMessage() + "); check that it is there and is text in UTF-8", e);
        }
        List<List<String>> rows = new ArrayList<>();
        List<Integer> lines = new ArrayList<>();
        List<String> row = new ArrayList<>();
        StringBuilder cell = new StringBuilder();
        boolean quoted = false;
        char parting = parting(text);
        int line = 1;
        int began = 1;
        for (int i = 0; i <= text.length(); i++) {
            char c = i < text.length() ? text.charAt(i) : '\n';
            if (quoted && i < text.length()) {
                boolean twice = c == '"' && i + 1 < text.length() && text.charAt(i + 1) == '"';
                if (c != '"' || twice) {
                    cell.append(c);
                }
                i += twice ? 1 : 0;
                quoted = c != '"' || twice;
            } else if (c == '"' && cell.toString().isBlank()) {
                quoted = true;
                cell.setLength(0);
            } else if (c == parting || c == '\n') {
                row.add(cell.toString().strip());
                cell.setLength(0);
            } else {
                cell.append(c);
            }
            if (c == '\n') {
                line++;
                if (!quoted) {
                    boolean told = began == 1
                            && SEPARATOR.matcher(String.join("", row)).matches();
                    if (!told && (row.size() > 1 || !row.getFirst().isEmpty())) {
                        rows.add(List.copyOf(row));
                        lines.add(began);
                    }
                    row.clear();
                    began = line;
                }
            }
        }
        if (quoted) {
            throw new IllegalArgumentException(
                    file + ", line " + began + ", has a quote that is not closed; write a second one behind its cell");
        }
        if (rows.isEmpty()) {
            throw new IllegalArgumentException(file + " is empty; give a table, a row a line, cells parted by commas");
        }
        return new CsvTable(file, rows, lines, parting != ',');
    }

    /** What parts cells, by the first line; what is in quotes parts nothing. */
    private static char parting(String text) {
        String first = text.lines().findFirst().orElse("");
        if (SEPARATOR.matcher(first).matches() && !first.endsWith("=")) {
            return first.charAt(first.length() - 1);
        }
        String bare = first.replaceAll("\"[^\"]*\"", "");
        char most = ',';
        for (char each : new char[] {';', '\t'}) {
            most = count(bare, each) > count(bare, most) ? each : most;
        }
        return most;
    }

    private static long count(String text, char wanted) {
        return text.chars().filter(c -> c == wanted).count();
    }

    /** The first row. */
    List<String> header() {
        return rows.getFirst();
    }

    /** The cells of a row, as many as it has. */
    public List<String> row(int row) {
        return rows.get(row);
    }

    /** Where a row begins in the file, from 1. */
    public int line(int row) {
        return lines.get(row);
    }

    /** Number of rows with the first, 1 or more. */
    public int size() {
        return rows.size();
    }

    /** Whether the first row names a column. */
    boolean has(String column) {
        return place(column) >= 0;
    }

    /** A cell by its place; empty beyond the end of its row. */
    String cell(int row, int column) {
        List<String> cells = rows.get(row);
        return column >= 0 && column < cells.size() ? cells.get(column) : "";
    }

    /** A cell by the name of its column; empty where there is no such column. */
    String cell(int row, String column) {
        return cell(row, place(column));
    }

    /** Where a column is, in just this case or in any; -1 where there is none. */
    int place(String column) {
        int exact = header().indexOf(column);
        return exact >= 0
                ? exact
                : IntStream.range(0, header().size())
                        .filter(i -> header().get(i).equalsIgnoreCase(column))
                        .findFirst()
                        .orElse(-1);
    }

    /**
     * Refuses a row with cells behind its last column: one before them holds what parts cells.
     *
     * @throws IllegalArgumentException if it has some that are not empty
     */
    void requireNoSurplus(int row) {
        int columns = header().size();
        List<String> cells = rows.get(row);
        if (cells.stream().skip(columns).anyMatch(cell -> !cell.isEmpty())) {
            throw wrong(
                    row,
                    "has " + cells.size() + " cells but there are " + columns
                            + " columns (a cell with what parts cells in it needs quotes)");
        }
    }

    /** A cell with a decimal point. */
    private String digits(int row, int column) {
        String cell = cell(row, column);
        return decimalCommas ? cell.replace(',', '.') : cell;
    }

    /**
     * A cell that must hold something.
     *
     * @throws IllegalArgumentException if it does not
     */
    String needed(int row, String column) {
        String cell = cell(row, column);
        if (cell.isEmpty()) {
            throw wrong(row, "has no " + column);
        }
        return cell;
    }

    /**
     * A number of 0 or more.
     *
     * @throws IllegalArgumentException if it is none
     */
    double number(int row, int column, String what) {
        String cell = digits(row, column);
        if (!PLAIN.matcher(cell).matches()) {
            throw wrong(row, "gives '" + cell + "' as " + what);
        }
        return Double.parseDouble(cell);
    }

    /**
     * Seconds, or hours:minutes:seconds.
     *
     * @throws IllegalArgumentException if it is neither
     */
    double seconds(int row, String column) {
        String cell = digits(row, place(column));
        if (PLAIN.matcher(cell).matches()) {
            return Double.parseDouble(cell);
        }
        if (!CLOCK.matcher(cell).matches()) {
            throw wrong(row, "gives '" + cell + "' as " + column);
        }
        double seconds = 0;
        for (String part : cell.split(":", -1)) {
            seconds = 60 * seconds + Double.parseDouble(part);
        }
        return seconds;
    }

    /** A row for messages. */
    String where(int row) {
        return file + ", line " + line(row);
    }

    IllegalArgumentException wrong(int row, String what) {
        return new IllegalArgumentException(where(row) + ", " + what + (row == 0 ? "; mend it" : "; mend row " + row)
                + ", or name another --format");
    }
}
