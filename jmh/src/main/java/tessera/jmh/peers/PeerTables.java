package tessera.jmh.peers;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;

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
                    .filter(row -> row.isOurs(Precision.F32))
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
        return row.share() > 0 ? Math.round(100 * row.share()) + " %" : "–";
    }

    /** Three digits. */
    static String milliseconds(double value) {
        String format = value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : value >= 1 ? "%.2f" : "%.3f";
        return String.format(Locale.ROOT, format, value);
    }

    /**
     * Tables in Markdown, with what they mean and what is missing.
     *
     * @param only groups that are wanted, without goals, limits and accuracies; empty for all there is
     */
    String markdown(Set<String> only) {
        StringBuilder text = new StringBuilder();
        results.about()
                .forEach((name, value) -> text.append("- ")
                        .append(name)
                        .append(": ")
                        .append(value)
                        .append('\n'));
        text.append("\n"
                + "Medians in milliseconds, taken in turn; in brackets our time over the peer's in the same"
                + " precision, so less than 1 means that we are faster. The last column is our f32's share of the"
                + " best rate of an f32 product (of a copy, where memory limits) in the same run.\n");
        groups().stream().filter(only::contains).forEach(group -> append(text, group, table(group)));
        if (!only.isEmpty()) {
            return text.toString();
        }
        append(text, "goals", goals());
        groups().forEach(group -> append(text, group, table(group)));
        if (!results.accuracies().isEmpty()) {
            append(text, "few-shot accuracy", accuracies());
        }
        if (!results.limits().isEmpty()) {
            append(text, "limits", limits());
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

    private static void append(StringBuilder text, String title, Table table) {
        text.append("\n**").append(title).append("**\n\n").append(line(table.header()));
        text.append("|---".repeat(table.header().size())).append("|\n");
        table.rows().forEach(row -> text.append(line(row)));
    }

    /** What the results are held against. */
    Table goals() {
        return new Table(
                PeerGoals.header(),
                PeerGoals.of(results).stream().map(PeerGoals::line).toList());
    }

    /** What rounding costs, in percent and points. */
    Table accuracies() {
        return new Table(
                List.of("student", "rho", "masks", "shots", "computed in", "accuracy, %", "points lost to f32"),
                results.accuracies().stream().map(PeerTables::line).toList());
    }

    private static List<String> line(FewShotAccuracy.Result result) {
        Double lost = result.lost();
        Double interval = result.lostInterval95();
        return List.of(
                result.student(),
                Double.toString(result.ratio()),
                Integer.toString(result.ensemble()),
                Integer.toString(result.shots()),
                result.precision(),
                percent(result.accuracy(), result.interval95()),
                lost == null || interval == null ? "" : percent(lost, interval));
    }

    private static String percent(double share, double interval) {
        return String.format(Locale.ROOT, "%.2f ± %.2f", 100 * share, 100 * interval);
    }

    /** The limits that count. */
    Table limits() {
        return new Table(
                List.of("limit", "of", "best", "by", "when"),
                Limits.best(results.limits()).stream()
                        .map(limit -> List.of(
                                limit.kind() + " " + limit.precision(),
                                limit.size(),
                                String.format(
                                        Locale.ROOT,
                                        limit.kind().equals(Kind.COPY.text()) ? "%.1f GB/s" : "%.0f GFLOP/s",
                                        limit.p50()),
                                limit.contender(),
                                limit.when()))
                        .toList());
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
