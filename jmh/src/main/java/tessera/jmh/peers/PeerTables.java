package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/** Results as tables: a row for each {@link Work}, a column for each contender. */
final class PeerTables {
    /** A table: the names of its columns, and as many cells in every row. */
    record Table(List<String> header, List<List<String>> rows) {}

    private final PeerResults results;

    PeerTables(PeerResults results) {
        this.results = results;
    }

    List<String> groups() {
        return results.rows().stream().map(Row::group).distinct().toList();
    }

    /**
     * One group: medians in milliseconds, behind a peer's in brackets our time over it in the same precision, at the end the share of the
     * limit that our f32 reaches. A result that does not agree with ours is marked.
     */
    Table table(String group) {
        List<Row> rows =
                results.rows().stream().filter(row -> row.group().equals(group)).toList();
        List<String> contenders = rows.stream().map(Row::contender).distinct().toList();
        List<String> header = new ArrayList<>(List.of("ms"));
        header.addAll(contenders);
        header.add("of the limit");
        List<List<String>> lines = new ArrayList<>();
        for (String work : rows.stream().map(Row::work).distinct().toList()) {
            List<Row> here =
                    rows.stream().filter(row -> row.work().equals(work)).toList();
            List<String> line = new ArrayList<>(List.of(work));
            for (String contender : contenders) {
                line.add(here.stream()
                        .filter(row -> row.contender().equals(contender))
                        .map(PeerTables::cell)
                        .findFirst()
                        .orElse("–"));
            }
            line.add(here.stream()
                    .filter(row -> row.library().equals(OwnPeer.NAME)
                            && row.precision().equals(Precision.F32.text()))
                    .map(PeerTables::share)
                    .findFirst()
                    .orElse("–"));
            lines.add(line);
        }
        return new Table(header, lines);
    }

    private static String cell(Row row) {
        Double ours = row.ours();
        return milliseconds(row.p50Ms())
                + (ours == null ? "" : String.format(Locale.ROOT, " (%.2f)", ours))
                + (row.agrees() ? "" : " wrong");
    }

    private static String share(Row row) {
        double share = row.gbs() > 0 ? row.copyShare() : row.matmulShare();
        return share > 0 ? Math.round(100 * share) + " %" : "–";
    }

    /** Three digits. */
    static String milliseconds(double value) {
        String format = value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : value >= 1 ? "%.2f" : "%.3f";
        return String.format(Locale.ROOT, format, value);
    }

    /** All tables in Markdown, with what they mean and what is missing. */
    String markdown() {
        StringBuilder text = new StringBuilder();
        results.about()
                .forEach((name, value) -> text.append("- ")
                        .append(name)
                        .append(": ")
                        .append(value)
                        .append('\n'));
        text.append(
                "\nMedians in milliseconds, taken in turn; in brackets our time over the peer's in the same precision, so less than 1"
                        + " means that we are faster. The last column is our f32's share of a large f32 product's rate (of a copy's, where"
                        + " memory limits) in the same rounds.\n");
        for (String group : groups()) {
            Table table = table(group);
            text.append("\n**").append(group).append("**\n\n").append(line(table.header()));
            text.append("|---".repeat(table.header().size())).append("|\n");
            table.rows().forEach(row -> text.append(line(row)));
        }
        List<PeerResults.Absence> whole = results.absences().stream()
                .filter(absence -> absence.work().equals(PeerBenchmark.ALL))
                .toList();
        if (!whole.isEmpty()) {
            text.append("\nNot measured:\n\n");
            whole.forEach(absence -> text.append("- ")
                    .append(absence.contender())
                    .append(": ")
                    .append(absence.reason())
                    .append('\n'));
        }
        return text.toString();
    }

    private static String line(List<String> cells) {
        return "| "
                + String.join(
                        " | ",
                        cells.stream()
                                .map(cell -> Objects.requireNonNull(cell).replace("|", "\\|"))
                                .toList())
                + " |\n";
    }
}
