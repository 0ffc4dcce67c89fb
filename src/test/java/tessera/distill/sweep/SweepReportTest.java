package tessera.distill.sweep;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import tessera.distill.evaluation.Gflops;
import tessera.distill.evaluation.Interval;
import tessera.distill.report.Json;
import tessera.distill.sweep.Result.Measured;
import tessera.distill.train.Settings;
import tessera.nn.MaskStrategy;

class SweepReportTest {
    private static Cell cell(String ratio, String masks) {
        Map<String, String> words = new LinkedHashMap<>();
        words.put("ratio", ratio);
        words.put("ensemble", masks);
        return new Cell(words);
    }

    private static Result result(String ratio, String masks, double accuracy, double share) {
        Quality quality = new Quality(new Interval(accuracy, .01), .1, null);
        return new Result(
                cell(ratio, masks),
                null,
                new Measured(quality, new Gflops(share, share / 2), 10 * share, share, 1 << 20, 7));
    }

    private static final SweepReport REPORT = new SweepReport(
            "Sweep of <student>",
            "accuracy",
            List.of(
                    result("0", "1", .9, 1),
                    result("0.5", "1", .8, .5),
                    result("0.5", "2", .8, .9),
                    result("0.75", "1", .85, .25),
                    result("0.75", "2", .87, .5),
                    result("0.9", "1", .6, .1),
                    new Result(cell("0.99", "1"), "mask ratio 0.99 hides all 16 cells, \"all\"", null)));

    @Test
    void theFrontIsWhatNothingBeats() {
        assertEquals(
                List.of(cell("0.9", "1"), cell("0.75", "1"), cell("0.75", "2"), cell("0", "1")),
                REPORT.front().stream().map(SweepReport.Point::cell).toList());
    }

    @Test
    void tablesHaveEveryCell() {
        List<String> lines = REPORT.csv().lines().toList();
        assertEquals(8, lines.size());
        assertTrue(
                lines.getFirst().startsWith("ratio,ensemble,value,interval,calibration_error,cosine,"), lines.get(0));
        assertEquals("0,1,0.9,0.01,0.1,,10.0,1.0,1.0,0.5,1048576,7,1,", lines.get(1));
        assertEquals("0.5,1,0.8,0.01,0.1,,5.0,0.5,0.5,0.25,1048576,7,0,", lines.get(2));
        assertEquals("0.99,1,,,,,,,,,,,0,\"mask ratio 0.99 hides all 16 cells, \"\"all\"\"\"", lines.getLast());
        Map<String, @Nullable Object> json = Json.object(REPORT.json(Settings.NONE.with("seed", 3)));
        assertEquals(7, ((List<?>) requireNonNull(json.get("results"))).size());
        assertEquals(4, ((List<?>) requireNonNull(json.get("front"))).size());
        assertEquals(Map.of("seed", 3L), json.get("settings"));
    }

    @Test
    void thePageStandsByItself() {
        String page = REPORT.page().html();
        assertTrue(page.contains("Sweep of &lt;student&gt;"), "the title is text");
        assertEquals(2, page.split("<svg", -1).length - 1, "two charts");
        assertTrue(page.contains("ratio 0.75, ensemble 2"), "points on the front have names");
        assertTrue(page.contains("hides all 16 cells"), "refusals are told");
        assertFalse(
                page.contains("<script") || (page.contains("http://") && !page.contains("w3.org")),
                "nothing is fetched");
    }

    @Test
    void resultsSurviveTheirFile() {
        for (Result result : REPORT.results()) {
            assertEquals(result, Result.of(result.json()));
        }
        Quality agreement = new Quality(new Interval(.5, Double.NaN), null, .99);
        Result other = new Result(cell("0", "1"), null, new Measured(agreement, new Gflops(1, 1), 2, 3, 4, 5));
        assertEquals(other, Result.of(other.json()));
    }

    @Test
    void whereNothingIsHiddenMasksMakeNoCells() {
        Map<String, MaskStrategy> strategies = new LinkedHashMap<>();
        strategies.put("pairs", MaskStrategy.pairs());
        strategies.put("tubes", MaskStrategy.tubes());
        List<SweepAxis> axes = List.of(
                SweepAxis.strategy(strategies),
                SweepAxis.ratio(List.of(0.0, .75)),
                SweepAxis.ensemble(List.of(1, 2, 4)),
                SweepAxis.batch(List.of(1, 8)));
        List<Cell> cells = Cell.of(axes);
        assertEquals(2 * (1 + 2 * 3), cells.size());
        assertEquals(
                "strategy=none,ratio=0,ensemble=1,batch=1", cells.getFirst().key());
        assertTrue(cells.stream().anyMatch(c -> c.key().equals("strategy=tubes,ratio=0.75,ensemble=4,batch=8")));
        assertEquals(7, cells.stream().map(c -> c.answers(axes)).distinct().count(), "batches give the same answers");
    }
}
