package tessera.jmh.peers;

import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.function.ToDoubleFunction;
import tessera.distill.report.Axis;
import tessera.distill.report.BarChart;
import tessera.distill.report.HtmlReport;
import tessera.distill.report.LineChart;

/** Results as one page with charts. */
final class PeerPage {
    private final PeerResults results;
    private final PeerTables tables;

    PeerPage(PeerResults results) {
        this.results = results;
        this.tables = new PeerTables(results);
    }

    /** The page. */
    HtmlReport page() {
        HtmlReport page = new HtmlReport("Tessera beside its peers on the CPU");
        page.paragraph(
                "All contenders ran in turn, round after round, on the same weights, inputs and number of threads, and each"
                        + " result was compared with ours in f32. Times are medians; a ratio is our time over the peer's in the"
                        + " same precision, the median over the rounds, so that less than 1 means that we are faster.");
        page.table(
                List.of("what", "value"),
                results.about().entrySet().stream()
                        .map(entry -> List.of(entry.getKey(), entry.getValue()))
                        .toList(),
                "");
        page.heading("goals");
        table(page, tables.goals(), "A target is a bound; without one a value is told beside the others.");
        for (String group : tables.groups()) {
            page.heading(group);
            PeerTables.Table table = tables.table(group);
            table(
                    page,
                    table,
                    "Median milliseconds; in brackets our time over the peer's. Of the limit: the share of the best rate of an f32"
                            + " product (of a copy, where memory limits) that our f32 reaches.");
            charts(page, group);
        }
        if (!results.accuracies().isEmpty()) {
            page.heading("few-shot accuracy");
            table(
                    page,
                    tables.accuracies(),
                    "5-way episodes of EgoSim's test classes, the same for each precision, with 95 % intervals; those of what is lost"
                            + " are of the differences episode by episode.");
        }
        if (!results.limits().isEmpty()) {
            page.heading("limits");
            table(page, tables.limits(), "The best median rates of the run.");
        }
        if (!results.absences().isEmpty()) {
            page.heading("not measured");
            page.table(
                    List.of("what", "contender", "reason"),
                    results.absences().stream()
                            .map(absence -> List.of(absence.work(), absence.contender(), absence.reason()))
                            .toList(),
                    "");
        }
        return page;
    }

    private static void table(HtmlReport page, PeerTables.Table table, String caption) {
        page.table(table.header(), table.rows(), caption);
    }

    private void charts(HtmlReport page, String group) {
        List<Row> rows =
                results.rows().stream().filter(row -> row.group().equals(group)).toList();
        List<String> works = rows.stream().map(Row::work).distinct().toList();
        page.figure(
                bars(group + ": time", "ms", rows, works, Row::p50Ms, false).svg(),
                "Median time of one call, less is better.");
        List<Row> peers = rows.stream().filter(row -> row.ours() != null).toList();
        if (!peers.isEmpty()) {
            page.figure(
                    bars(
                                    group + ": ratio",
                                    "our time / the peer's",
                                    peers,
                                    works,
                                    row -> Objects.requireNonNull(row.ours()),
                                    true)
                            .svg(),
                    "Our time over each peer's in the same precision: below the line we are faster.");
        }
        List<Row> counted = rows.stream().filter(row -> row.share() > 0).toList();
        if (!counted.isEmpty()) {
            page.figure(
                    bars(group + ": share", "% of the limit", counted, works, row -> 100 * row.share(), false)
                            .reference(100, "limit")
                            .svg(),
                    "Operations over time as a share of the best product's rate in the same precision, or bytes over time as a share"
                            + " of the best copy's.");
        }
        if (group.equals(Kind.FORWARD.group())) {
            rows.stream().map(Row::batch).distinct().forEach(batch -> overRatio(page, rows, batch));
        }
    }

    private static BarChart bars(
            String title, String unit, List<Row> rows, List<String> works, ToDoubleFunction<Row> value, boolean one) {
        BarChart chart = new BarChart(title, Axis.linear(unit), works);
        for (String contender : rows.stream().map(Row::contender).distinct().toList()) {
            double[] values = works.stream()
                    .mapToDouble(work -> rows.stream()
                            .filter(row -> row.contender().equals(contender)
                                    && row.work().equals(work))
                            .mapToDouble(value)
                            .findFirst()
                            .orElse(Double.NaN))
                    .toArray();
            chart.series(contender, values, new double[values.length]);
        }
        return one ? chart.reference(1, "equal") : chart;
    }

    /** Time over the share of hidden tokens, and what the operations would take at the speed of seeing them all. */
    private static void overRatio(HtmlReport page, List<Row> all, int batch) {
        List<Row> rows = all.stream()
                .filter(row -> row.kind().equals(Kind.FORWARD.text()) && row.batch() == batch)
                .toList();
        if (rows.stream().map(Row::ratio).distinct().count() < 2) {
            return;
        }
        LineChart chart = new LineChart(
                "time over rho, B " + batch, Axis.linear("share of hidden tokens"), Axis.log("ms, logarithmic"));
        for (String contender : rows.stream().map(Row::contender).distinct().toList()) {
            Row[] sorted = rows.stream()
                    .filter(row -> row.contender().equals(contender))
                    .sorted(java.util.Comparator.comparingDouble(Row::ratio))
                    .toArray(Row[]::new);
            double[] x = Arrays.stream(sorted).mapToDouble(Row::ratio).toArray();
            chart.series(
                    contender, x, Arrays.stream(sorted).mapToDouble(Row::p50Ms).toArray());
            if (contender.equals(OwnPeer.NAME + " " + Precision.F32.text())) {
                double rate = sorted[0].gflops() / 1e3;
                chart.series(
                        "FLOPs at our rate at rho " + sorted[0].ratio(),
                        x,
                        Arrays.stream(sorted)
                                .mapToDouble(row -> row.gflops() * row.p50Ms() / 1e3 / rate)
                                .toArray());
            }
        }
        page.figure(chart.svg(), "Time of one call over the share of hidden tokens, " + batch + " clips.");
    }
}
