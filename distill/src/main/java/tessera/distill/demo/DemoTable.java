package tessera.distill.demo;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.Summary;
import tessera.distill.demo.DemoResult.Training;
import tessera.distill.egosim.Domain;

/**
 * A table of a demo's results.
 *
 * @param kind what it shows
 * @param title the same in one line
 * @param header names of the columns
 * @param rows one cell for each column
 */
public record DemoTable(Kind kind, String title, List<String> header, List<List<String>> rows) {

    /** What a table shows. */
    public enum Kind {
        ACCURACY,
        DIFFERENCES,
        TRAINING,
        COST
    }

    /** All tables of a result, in reading order. */
    public static List<DemoTable> of(DemoResult result) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        List<DemoTable> tables = new ArrayList<>();
        for (Split split : result.plan().judged()) {
            for (int shots : how.shots()) {
                tables.add(scores(result, split, shots));
            }
        }
        if (!how.differences().isEmpty()) {
            tables.add(differences(result));
        }
        if (!result.trainings().isEmpty()) {
            tables.add(trainings(result));
        }
        if (!result.costs().isEmpty()) {
            tables.add(costs(result));
        }
        return tables;
    }

    /** What stands behind ± in the first column of a domain. */
    static String interval(DemoResult result) {
        int seeds = result.seeds().size();
        return seeds == 1 ? "± 95 % interval over episodes" : "± 95 % t-interval over " + seeds + " seeds";
    }

    private static DemoTable scores(DemoResult result, Split split, int shots) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        List<String> header = new ArrayList<>(List.of("model", "ρ", "P"));
        for (Domain domain : result.plan().targets()) {
            header.add(DemoPlan.word(domain) + ": " + interval(result));
            header.add(DemoPlan.word(domain) + ": ± SD of episodes");
        }
        List<List<String>> rows = new ArrayList<>();
        for (DemoPlan.Line line : how.lines()) {
            if (line.split() == split) {
                List<String> row = new ArrayList<>(
                        List.of(line.label(), number(line.maskRatio()), Integer.toString(line.ensemble())));
                for (Domain domain : result.plan().targets()) {
                    Summary summary = result.summary(line.label(), domain, shots);
                    row.add(summary.overSeeds().toString());
                    row.add(decimals(2, 100 * summary.pooled().mean()) + " ± "
                            + decimals(2, 100 * summary.pooled().std()));
                }
                rows.add(row);
            }
        }
        boolean tuned = how.lines().stream().anyMatch(line -> line.head().equals(DemoPlan.FINE_TUNED));
        return new DemoTable(
                Kind.ACCURACY,
                "%d-way %d-shot accuracy in %% on %s classes (%d queries per class, %d episodes per seed%s)"
                        .formatted(
                                how.ways(),
                                shots,
                                DemoPlan.word(split),
                                how.queries(),
                                how.episodes(),
                                tuned
                                        ? ", " + Math.min(Judging.TUNED, how.episodes()) + " where students are tuned"
                                        : ""),
                header,
                rows);
    }

    private static DemoTable differences(DemoResult result) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        List<String> header = new ArrayList<>(List.of("difference"));
        for (Domain domain : result.plan().targets()) {
            header.add(DemoPlan.word(domain) + ": " + interval(result));
        }
        List<List<String>> rows = new ArrayList<>();
        for (int shots : how.shots()) {
            for (DemoPlan.Difference difference : how.differences()) {
                List<String> row = new ArrayList<>(List.of(difference.label() + ", " + shots + "-shot"));
                for (Domain domain : result.plan().targets()) {
                    row.add(result.difference(difference.label(), domain, shots)
                            .overSeeds()
                            .toString());
                }
                rows.add(row);
            }
        }
        return new DemoTable(Kind.DIFFERENCES, "Differences in points, of the same episodes", header, rows);
    }

    private static DemoTable trainings(DemoResult result) {
        List<List<String>> rows = new ArrayList<>();
        for (Training training : result.trainings()) {
            rows.add(List.of(
                    training.model(),
                    Long.toString(training.seed()),
                    decimals(3, training.reconstruction()),
                    decimals(3, training.trivial()),
                    decimals(2, training.crossEntropy())));
        }
        return new DemoTable(
                Kind.TRAINING,
                "Losses of the first stage, means over the last tenth of the steps; the trivial predictor says each patch's mean,"
                        + " and each clip's where clips are normalised",
                List.of("model", "seed", "reconstruction", "trivial predictor", "cross-entropy"),
                rows);
    }

    private static DemoTable costs(DemoResult result) {
        List<List<String>> rows = new ArrayList<>();
        for (Cost cost : result.costs()) {
            rows.add(List.of(
                    number(cost.maskRatio()),
                    Integer.toString(cost.ensemble()),
                    decimals(2, cost.milliseconds()),
                    decimals(2, cost.speedup()) + " ×",
                    decimals(3, cost.gflops()),
                    decimals(3, cost.gflopsWithoutAttention())));
        }
        return new DemoTable(
                Kind.COST,
                "Cost of one clip: median latency with a batch of one, speed against the first row, and GFLOPs of all"
                        + " matrix products or of those outside attention",
                List.of("ρ", "P", "ms", "speed", "GFLOPs", "GFLOPs without attention"),
                rows);
    }

    /** A ratio without needless zeros: 0, .5, .75. */
    static String number(double ratio) {
        return ratio == 0 ? "0" : Double.toString(ratio).replaceFirst("^0", "");
    }

    private static String decimals(int digits, double value) {
        return String.format(Locale.ROOT, "%." + digits + "f", value);
    }

    /** The table in Markdown, with columns of even width for readers of the plain text. */
    public String markdown() {
        int[] widths = new int[header.size()];
        for (int c = 0; c < widths.length; c++) {
            widths[c] = Math.max(3, header.get(c).length());
            for (List<String> row : rows) {
                widths[c] = Math.max(widths[c], row.get(c).length());
            }
        }
        StringBuilder text = new StringBuilder("**" + title + "**\n\n").append(line(header, widths));
        for (int c = 0; c < widths.length; c++) {
            // The first column is words, the others are numbers.
            text.append(c == 0 ? "|:" : "|-").append("-".repeat(widths[c])).append(c == 0 ? "-" : ":");
        }
        text.append("|\n");
        rows.forEach(row -> text.append(line(row, widths)));
        return text.toString();
    }

    private static String line(List<String> cells, int[] widths) {
        StringBuilder line = new StringBuilder();
        for (int c = 0; c < widths.length; c++) {
            String space = " ".repeat(widths[c] - cells.get(c).length());
            line.append("| ")
                    .append(c == 0 ? cells.get(c) + space : space + cells.get(c))
                    .append(' ');
        }
        return line.append("|\n").toString();
    }
}
