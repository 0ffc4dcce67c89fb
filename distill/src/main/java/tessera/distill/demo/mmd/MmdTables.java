package tessera.distill.demo.mmd;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import tessera.distill.demo.DemoTable;
import tessera.distill.demo.DemoTable.Kind;
import tessera.distill.demo.mmd.MmdPlan.Taught;
import tessera.distill.demo.mmd.MmdResult.Cost;
import tessera.distill.demo.mmd.MmdResult.Score;
import tessera.distill.evaluation.Interval;

/** The tables of a demo of the second system. */
final class MmdTables {
    private MmdTables() {}

    /** All tables of a result, in reading order. */
    static List<DemoTable> of(MmdResult result) {
        return List.of(models(result), seeds(result), differences(result), views(result));
    }

    /** The models that are judged with the most views, in the order of the results. */
    static List<String> compared(MmdResult result) {
        int most = result.plan().compared();
        return result.seeds().getFirst().scores().stream()
                .filter(score -> score.views() == most)
                .map(Score::model)
                .toList();
    }

    /** The models that see RGB alone when they are judged: the baseline, then the students. */
    static List<String> unimodal(MmdResult result) {
        List<String> models = new ArrayList<>(List.of(MmdResult.BASELINE));
        result.plan().students().stream().map(Taught::words).forEach(models::add);
        return models;
    }

    /**
     * A share over the seeds: with its 95 % interval where there are several, else with its standard error over the clips.
     *
     * @param figure a share of the clips
     */
    static Interval share(MmdResult result, String model, int views, ToDoubleFunction<Score> figure) {
        double[] each = MmdClaims.ofSeeds(result, model, views, figure);
        return each.length > 1
                ? Interval.overSeeds(each)
                : Interval.overClips(
                        each[0],
                        MmdClaims.score(result.seeds().getFirst(), model, views).clips());
    }

    private static String error(MmdResult result, String model, int views, ToDoubleFunction<Score> figure) {
        return Interval.overSeeds(MmdClaims.ofSeeds(result, model, views, figure))
                .toString();
    }

    private static String plusMinus(MmdResult result) {
        return result.seeds().size() > 1
                ? "± is the 95 % interval over " + result.seeds().size() + " seeds (Student's t)"
                : "one seed: ± is the standard error over the test clips, errors have none";
    }

    private static DemoTable models(MmdResult result) {
        int most = result.plan().compared();
        List<List<String>> rows = new ArrayList<>();
        for (String model : compared(result)) {
            rows.add(List.of(
                    model,
                    share(result, model, most, Score::action).toString(),
                    share(result, model, most, Score::verb).toString(),
                    share(result, model, most, Score::noun).toString(),
                    error(result, model, most, Score::verbError),
                    error(result, model, most, Score::nounError),
                    error(result, model, most, Score::scaledError)));
        }
        return new DemoTable(
                Kind.ACCURACY,
                ("Top-1 accuracy and expected calibration error (15 bins) in %% on %d test clips, %d views; %s; an action is"
                                + " right if verb and noun are; the last column is a reference: the mean error of both"
                                + " heads at temperatures fitted on held-out clips")
                        .formatted(result.seeds().getFirst().scores().getFirst().clips(), most, plusMinus(result)),
                List.of("model", "action", "verb", "noun", "ECE verb", "ECE noun", "ECE at T"),
                rows);
    }

    private static DemoTable seeds(MmdResult result) {
        int most = result.plan().compared();
        List<List<String>> rows = new ArrayList<>();
        for (String model : compared(result)) {
            List<String> row = new ArrayList<>(List.of(model));
            result.seeds().forEach(seed -> {
                Score score = MmdClaims.score(seed, model, most);
                row.add(percent(score.action()) + " / " + percent(score.error()));
            });
            rows.add(row);
        }
        List<String> header = new ArrayList<>(List.of("model"));
        result.seeds().forEach(seed -> header.add("seed " + seed.seed()));
        return new DemoTable(
                Kind.ACCURACY,
                "Each seed: action accuracy / mean calibration error of verb and noun, in %, " + most + " views",
                header,
                rows);
    }

    private static DemoTable differences(MmdResult result) {
        int most = result.plan().compared();
        List<List<String>> rows = new ArrayList<>();
        for (String model : compared(result)) {
            if (!model.equals(MmdResult.BASELINE)) {
                List<String> row = new ArrayList<>(List.of(model));
                List<ToDoubleFunction<Score>> figures = List.of(Score::action, Score::verb, Score::noun, Score::error);
                for (ToDoubleFunction<Score> figure : figures) {
                    row.add(MmdClaims.signed(
                            MmdClaims.difference(result, model, most, MmdResult.BASELINE, most, figure)));
                }
                rows.add(row);
            }
        }
        return new DemoTable(
                Kind.DIFFERENCES,
                "Differences to the RGB baseline in points, seed by seed, " + most + " views"
                        + (result.seeds().size() > 1 ? "; ± is the 95 % interval over seeds (Student's t)" : "")
                        + "; a calibration error below that of the baseline is better",
                List.of("model", "action", "verb", "noun", "ECE"),
                rows);
    }

    private static DemoTable views(MmdResult result) {
        List<List<String>> rows = new ArrayList<>();
        List<String> models = new ArrayList<>(unimodal(result));
        models.addAll(compared(result).stream()
                .filter(model -> !models.contains(model))
                .toList());
        for (String model : models) {
            Cost cost = cost(result, model);
            for (int views : result.plan().views()) {
                if (judged(result, model, views)) {
                    rows.add(List.of(
                            model,
                            Integer.toString(views),
                            number(cost.gflops().times(views).all()),
                            number(cost.gflops().times(views).withoutAttention()),
                            share(result, model, views, Score::action).toString(),
                            error(result, model, views, Score::error)));
                }
            }
        }
        return new DemoTable(
                Kind.COST,
                "Accuracy against views; GFLOPs of a clip are those of all views, of all matrix products or of those outside"
                        + " attention; " + plusMinus(result),
                List.of("model", "views", "GFLOPs", "without attention", "action", "ECE"),
                rows);
    }

    static Cost cost(MmdResult result, String model) {
        return result.costs().stream()
                .filter(cost -> cost.model().equals(model))
                .findFirst()
                .orElseThrow();
    }

    private static boolean judged(MmdResult result, String model, int views) {
        return result.seeds().getFirst().scores().stream()
                .anyMatch(score -> score.model().equals(model) && score.views() == views);
    }

    /** Each model's mean over the seeds, in percent. */
    static double[] means(MmdResult result, List<String> models, ToDoubleFunction<Score> figure) {
        return models.stream()
                .mapToDouble(model -> 100
                        * Arrays.stream(MmdClaims.ofSeeds(
                                        result, model, result.plan().compared(), figure))
                                .average()
                                .orElse(Double.NaN))
                .toArray();
    }

    private static String percent(double share) {
        return String.format(Locale.ROOT, "%.2f", 100 * share);
    }

    private static String number(double gflops) {
        return String.format(Locale.ROOT, "%.3f", gflops);
    }
}
