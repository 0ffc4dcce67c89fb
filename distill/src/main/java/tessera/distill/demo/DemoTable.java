package tessera.distill.demo;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.demo.DemoResult.Cost;
import tessera.distill.demo.DemoResult.Difference;
import tessera.distill.demo.DemoResult.Score;
import tessera.distill.demo.DemoResult.SeedResult;
import tessera.distill.fewshot.Accuracy;

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
        COST
    }

    /** All tables of a result, in reading order. */
    public static List<DemoTable> of(DemoResult result) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        List<DemoTable> tables = new ArrayList<>();
        for (int shots : how.shots()) {
            tables.add(scores(result, Split.TEST, shots, "test classes"));
        }
        tables.add(differences(result));
        tables.add(costs(result));
        for (int shots : how.shots()) {
            tables.add(scores(result, Split.VALIDATION, shots, "validation classes"));
        }
        return tables;
    }

    /** Whether a score is one of those that compare models, rather than ways of masking. */
    static boolean comparesModels(DemoPlan plan, Score score) {
        return score.maskRatio() == plan.evaluation().maskRatio()
                && score.ensemble() == plan.evaluation().ensemble();
    }

    /** A model in words, such as {@code distilled RGB}. */
    static String name(Score score) {
        String modality =
                score.modality().equals(Modality.RGB) ? "RGB" : score.modality().id();
        return score.model() == DemoResult.Model.TEACHER
                ? modality + " " + score.model()
                : score.model() + " " + modality;
    }

    /** Mean over seeds, with the half width of the 95 % interval of that mean over the same episodes' spread. */
    static Accuracy mean(List<Accuracy> seeds) {
        double mean = 0;
        double variance = 0;
        double squares = 0;
        int episodes = 0;
        for (Accuracy a : seeds) {
            mean += a.mean() / seeds.size();
            squares += a.std() * a.std() / seeds.size();
            variance += a.interval95() * a.interval95();
            episodes += a.episodes();
        }
        return new Accuracy(mean, Math.sqrt(squares), Math.sqrt(variance) / seeds.size(), episodes);
    }

    private static DemoTable scores(DemoResult result, Split split, int shots, String classes) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        List<Score> first = new ArrayList<>();
        List<Score> grid = new ArrayList<>();
        for (Score score : result.seeds().getFirst().scores()) {
            if (score.split() == split && score.shots() == shots) {
                (comparesModels(result.plan(), score) ? first : grid).add(score);
            }
        }
        first.addAll(grid);
        List<List<String>> rows = new ArrayList<>();
        for (Score score : first) {
            List<String> row = new ArrayList<>(
                    List.of(name(score), number(score.maskRatio()), Integer.toString(score.ensemble())));
            row.addAll(cells(ofAllSeeds(result, score)));
            rows.add(row);
        }
        return new DemoTable(
                Kind.ACCURACY,
                "%d-way %d-shot accuracy in %% on %s (%d queries per class, %d episodes per seed, ± 95 %% interval)"
                        .formatted(how.ways(), shots, classes, how.queries(), how.episodes()),
                withSeeds(result, "model", "ρ", "P"),
                rows);
    }

    /** The accuracies of one row, in the order of the seeds. */
    static List<Accuracy> ofAllSeeds(DemoResult result, Score wanted) {
        return result.seeds().stream()
                .flatMap(seed -> seed.scores().stream())
                .filter(s -> s.model() == wanted.model()
                        && s.modality().equals(wanted.modality())
                        && s.maskRatio() == wanted.maskRatio()
                        && s.ensemble() == wanted.ensemble()
                        && s.split() == wanted.split()
                        && s.shots() == wanted.shots())
                .map(Score::accuracy)
                .toList();
    }

    private static DemoTable differences(DemoResult result) {
        DemoPlan.Evaluation how = result.plan().evaluation();
        record Row(DemoResult.Comparison what, int shots) {}
        Map<Row, List<Accuracy>> byRow = new LinkedHashMap<>();
        for (SeedResult seed : result.seeds()) {
            for (Difference d : seed.differences()) {
                byRow.computeIfAbsent(new Row(d.what(), d.shots()), row -> new ArrayList<>())
                        .add(d.accuracy());
            }
        }
        List<List<String>> rows = new ArrayList<>();
        byRow.forEach((row, accuracies) -> {
            List<String> cells = new ArrayList<>(List.of(row.what() + ", " + row.shots() + "-shot"));
            cells.addAll(cells(accuracies));
            rows.add(cells);
        });
        return new DemoTable(
                Kind.DIFFERENCES,
                "Differences in points, episode by episode; masked: ρ = %s, P = %d; unmasked: ρ = %s"
                        .formatted(
                                number(how.maskRatio()),
                                how.ensemble(),
                                number(how.maskRatios().getFirst())),
                withSeeds(result, "difference"),
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

    private static List<String> withSeeds(DemoResult result, String... names) {
        List<String> header = new ArrayList<>(List.of(names));
        result.seeds().forEach(seed -> header.add("seed " + seed.seed()));
        if (result.seeds().size() > 1) {
            header.add("mean");
        }
        return header;
    }

    private static List<String> cells(List<Accuracy> seeds) {
        List<String> cells =
                new ArrayList<>(seeds.stream().map(Accuracy::toString).toList());
        if (seeds.size() > 1) {
            cells.add(mean(seeds).toString());
        }
        return cells;
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
