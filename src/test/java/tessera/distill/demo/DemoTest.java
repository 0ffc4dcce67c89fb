package tessera.distill.demo;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;
import tessera.Close;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.train.Distillation;
import tessera.distill.train.LearningRate;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tools.jackson.core.JsonParser;
import tools.jackson.core.ObjectReadContext;
import tools.jackson.core.json.JsonFactory;

/** All stages, from clips to the report, with models and clips as small as they may be. */
class DemoTest {
    private static final int STEPS = 4;

    @TempDir
    private static Path folder;

    private static Path whole;
    private static DemoResult result;
    private static Path page;

    private static DemoPlan plan(long... seeds) {
        Map<Modality, Pretraining> pretraining = new HashMap<>();
        for (Modality modality : Modality.ALL) {
            Pretraining standard = Pretraining.defaults(modality);
            pretraining.put(
                    modality,
                    standard.withLambda(1)
                            .withRecipe(small(standard.recipe(), 2).withMaskRatio(.75)));
        }
        Distillation distillation = Distillation.defaults();
        return new DemoPlan(
                "micro",
                java.util.Arrays.stream(seeds).boxed().toList(),
                new Geometry(4, 16, 4),
                4,
                2,
                new ModelSize(16, 1, 2, 8, 1, 1),
                Domain.WORKSHOP,
                new DemoPlan.Clips(1, 1, 3, 3, 4),
                pretraining,
                distillation.withRecipe(small(distillation.recipe(), 4).withMaskRatio(.5)),
                new DemoPlan.Evaluation(5, List.of(1, 2), 1, 6, List.of(0.0, .5), List.of(1, 2), .5, 2, 3));
    }

    private static Recipe small(Recipe standard, int batch) {
        return standard.withBatch(batch)
                .withRate(STEPS, new LearningRate(LearningRate.Shape.COSINE, 1e-3, 1e-5, 1e-6, 1, STEPS))
                .withClipNorm(.5)
                .withDropPath(.3)
                .withSeed(0);
    }

    @BeforeAll
    static void run() {
        whole = folder.resolve("whole");
        result = Demo.run(plan(7, 8), whole, DemoRuns.silent());
        page = DemoReport.write(result, whole);
    }

    @Test
    void everyModelAndWayOfMaskingIsJudgedForEverySeed() {
        assertEquals(
                List.of(7L, 8L),
                result.seeds().stream().map(DemoResult.SeedResult::seed).toList());
        for (DemoResult.SeedResult seed : result.seeds()) {
            for (int shots : List.of(1, 2)) {
                List<String> test = seed.scores().stream()
                        .filter(s -> s.shots() == shots && s.split() == Split.TEST)
                        .map(s -> s.model() + " " + s.modality().id().toUpperCase(Locale.ROOT) + " " + s.maskRatio()
                                + " " + s.ensemble())
                        .toList();
                assertEquals(
                        List.of(
                                "undistilled RGB 0.5 2",
                                "distilled RGB 0.0 1",
                                "distilled RGB 0.5 1",
                                "distilled RGB 0.5 2",
                                "teacher FLOW 0.5 2",
                                "teacher POSE 0.5 2"),
                        test);
            }
            assertEquals(
                    4,
                    seed.scores().stream()
                            .filter(s -> s.split() == Split.VALIDATION)
                            .count());
            assertTrue(seed.scores().stream().allMatch(s -> s.accuracy().episodes() == 6));
        }
    }

    @Test
    void differencesAreOfTheSameEpisodes() {
        for (DemoResult.SeedResult seed : result.seeds()) {
            for (DemoResult.Difference difference : seed.differences()) {
                boolean undistilled = difference.what() == DemoResult.Comparison.DISTILLED_MINUS_UNDISTILLED;
                double distilled = mean(seed, DemoResult.Model.DISTILLED, .5, 2, difference.shots());
                double other = undistilled
                        ? mean(seed, DemoResult.Model.UNDISTILLED, .5, 2, difference.shots())
                        : mean(seed, DemoResult.Model.DISTILLED, 0, 1, difference.shots());
                Close.within(
                        difference.accuracy().mean(),
                        distilled - other,
                        1e-12,
                        difference.what().toString());
            }
        }
    }

    private static double mean(
            DemoResult.SeedResult seed, DemoResult.Model model, double maskRatio, int ensemble, int shots) {
        return seed.scores().stream()
                .filter(s -> s.model() == model
                        && s.maskRatio() == maskRatio
                        && s.ensemble() == ensemble
                        && s.shots() == shots
                        && s.split() == Split.TEST)
                .findFirst()
                .orElseThrow()
                .accuracy()
                .mean();
    }

    /** Encoder of width 16 and depth 1 on 2 slots of 4 x 4 cells; the operations follow from its sizes. */
    @Test
    void costsFollowFromTheSizes() {
        double tokens = 32;
        double linear = 2 * tokens * (12 * 16 * 16 + 16 * 2 * 4 * 4 * 3);
        double attention = 4 * tokens * tokens * 16;
        DemoResult.Cost full = result.costs().getFirst();
        Close.within(full.gflops() * 1e9, linear + attention, 1e-3, "all products");
        Close.within(full.gflopsWithoutAttention() * 1e9, linear, 1e-3, "without attention");
        DemoResult.Cost half = result.costs().get(1);
        Close.within(half.gflops() * 1e9, linear / 2 + attention / 4, 1e-3, "half of the tokens");
        Close.within(result.costs().get(2).gflops(), 2 * half.gflops(), 1e-15, "two masks");
        Close.within(full.speedup(), 1, 0, "the first is the reference");
    }

    @Test
    void theResultsAreOneJsonObject() throws Exception {
        String text = Files.readString(whole.resolve(Demo.RESULTS));
        int scores = 0;
        try (JsonParser json = new JsonFactory().createParser(ObjectReadContext.empty(), text)) {
            while (json.nextToken() != null) {
                scores += "interval95".equals(json.currentName())
                                && json.currentToken().isNumeric()
                        ? 1
                        : 0;
            }
        }
        assertEquals(2 * (2 * 8 + 4), scores);
        assertTrue(text.contains("\"processor\":") && text.contains("\"maskRatios\":[0.0,0.5]"), text);
    }

    @Test
    void thePageIsWellFormedAndSelfContained() throws Exception {
        String html = Files.readString(page);
        Element root = DemoRuns.page(html);
        assertEquals(4, root.getElementsByTagName("img").getLength());
        // A bar chart for each number of shots, latency, GFLOPs, and four stages.
        assertEquals(8, root.getElementsByTagName("svg").getLength());
        assertEquals(6, root.getElementsByTagName("table").getLength());
        for (String text : List.of("seed 7", "seed 8", "chance", "P = 2", "WORKSHOP".toLowerCase(Locale.ROOT))) {
            assertTrue(html.contains(text), text);
        }
    }

    @Test
    void theTablesAreMarkdown() throws Exception {
        List<String> lines = Files.readAllLines(whole.resolve(DemoReport.TABLES));
        List<String> rows = lines.stream().filter(line -> line.startsWith("|")).toList();
        assertEquals(2 * 8 + (2 + 4) + (2 + 3) + 2 * 4, rows.size());
        assertTrue(rows.get(1).matches("\\|:-+(\\|-+:)+\\|"), rows.get(1));
        assertEquals(
                2,
                lines.stream().filter(line -> line.contains("1-shot accuracy")).count());
    }

    @Test
    void aSecondCallTrainsNothingAndFindsTheSame() throws Exception {
        Map<Path, FileTime> before = new HashMap<>();
        for (Path model : models(whole)) {
            before.put(model, Files.getLastModifiedTime(model));
        }
        String progress = DemoRuns.titles(context -> assertEquals(
                result.seeds(), Demo.run(plan(7, 8), whole, context).seeds()));
        assertFalse(progress.contains("pretrain") || progress.contains("distill"), progress);
        assertTrue(progress.contains("few-shot"), progress);
        for (Path model : before.keySet()) {
            assertEquals(before.get(model), Files.getLastModifiedTime(model), model.toString());
        }
    }

    private static List<Path> models(Path out) throws Exception {
        return DemoRuns.files(out, List.of(Path.of(Pretraining.MODEL), Path.of("distill", Distillation.STUDENT)));
    }

    @Test
    void otherSettingsAreRefused() {
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> Demo.run(plan(8, 9), whole, DemoRuns.silent()));
        assertTrue(requireNonNull(refused.getMessage())
                .startsWith("demo: " + whole + " holds a demo with other settings (seeds was [7, 8], is [8, 9]); use"));
    }

    /** Asks the run to stop after two steps of every stage in turn. */
    @Test
    void interruptedRunsEndWithTheSameWeights(@TempDir Path other) throws Exception {
        for (String stage : List.of("pretrain rgb", "pretrain flow", "pretrain pose", "distill")) {
            RunContext context = DemoRuns.stoppedIn(stage, advanced -> advanced.done() == 2);
            Exception stopped = assertThrows(StopSignal.Stopped.class, () -> Demo.run(plan(7), other, context), stage);
            assertTrue(requireNonNull(stopped.getMessage()).startsWith("stopped after step "), stopped.getMessage());
            assertFalse(Files.exists(other.resolve(Demo.RESULTS)));
        }
        DemoResult resumed = Demo.run(plan(7), other, DemoRuns.silent());
        assertEquals(result.seeds().getFirst(), resumed.seeds().getFirst());
        DemoRuns.requireSame(models(other), other, whole);
        assertEquals(4, models(other).size());
    }
}
