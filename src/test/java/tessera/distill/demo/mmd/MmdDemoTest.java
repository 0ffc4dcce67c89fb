package tessera.distill.demo.mmd;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.w3c.dom.Element;
import tessera.Close;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.data.Views;
import tessera.distill.demo.DemoRuns;
import tessera.distill.demo.mmd.MmdClaims.Verdict;
import tessera.distill.demo.mmd.MmdPlan.SwinSize;
import tessera.distill.demo.mmd.MmdPlan.Taught;
import tessera.distill.demo.mmd.MmdResult.Score;
import tessera.distill.egosim.Domain;
import tessera.distill.evaluation.Interval;
import tessera.distill.report.Json;
import tessera.distill.train.Ensemble;
import tessera.distill.train.Recipe;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.distill.train.Supervised;
import tessera.distill.train.TeacherWeights;
import tessera.nn.TokenGrid;
import tessera.nn.stlt.StltConfig;

/** The second system from clips to the report, with models and clips as small as they may be. */
class MmdDemoTest {
    private static final int STEPS = 3;
    private static final List<Modality> TEACHERS = List.of(Modality.RGB, Modality.FLOW, Modality.BOXES);

    @TempDir
    private static Path folder;

    private static Path whole;
    private static MmdResult result;
    private static Path page;

    private static MmdPlan plan(long... seeds) {
        return steps(STEPS, seeds);
    }

    private static MmdPlan steps(long steps, long... seeds) {
        SwinSize size = new SwinSize(8, 2, new TokenGrid(1, 2, 2), 8, List.of(1, 1), List.of(1, 2));
        Map<Modality, Supervised> teachers = new TreeMap<>();
        for (Modality modality : TEACHERS) {
            Supervised stage = Supervised.defaults(modality);
            teachers.put(
                    modality,
                    stage.withHeads("verb", "noun").withViewCount(2).withRecipe(small(stage.recipe(), steps)));
        }
        Supervised before = Supervised.defaults(Modality.RGB);
        var pretraining = new MmdPlan.Pretraining(
                Split.VALIDATION,
                1,
                before.withHeads("verb", "noun").withViewCount(2).withRecipe(small(before.recipe(), steps)));
        Ensemble distillation = Ensemble.defaults();
        return new MmdPlan(
                "micro",
                java.util.Arrays.stream(seeds).boxed().toList(),
                new Geometry(4, 16, 4),
                2,
                Domain.KITCHEN,
                new MmdPlan.Clips(1, 1, 1, 4),
                Map.of(Modality.RGB, size, Modality.FLOW, size),
                StltConfig.of(2, 14, 8, 2, 1, 1),
                pretraining,
                teachers,
                distillation.withHeads("verb", "noun").withViewCount(2).withRecipe(small(distillation.recipe(), STEPS)),
                List.of(
                        new Taught(List.of(Modality.FLOW), TeacherWeights.UNIFORM),
                        new Taught(TEACHERS, TeacherWeights.dataSet()),
                        new Taught(TEACHERS, TeacherWeights.perSample())),
                List.of(1, 2));
    }

    private static Recipe small(Recipe published, long steps) {
        return published
                .withBatch(4)
                .over(steps, 1e-3)
                .withViews(Views.PUBLISHED.withSizes(1, 1.2))
                .withSeed(0);
    }

    @BeforeAll
    static void run() {
        whole = folder.resolve("whole");
        result = MmdDemo.run(plan(7, 8), whole, DemoRuns.silent());
        page = MmdReport.write(result, whole);
    }

    @Test
    void everyModelIsJudgedForEverySeed() {
        assertEquals(
                List.of(7L, 8L),
                result.seeds().stream().map(MmdResult.SeedResult::seed).toList());
        List<String> expected = new ArrayList<>();
        for (String model : List.of(
                "RGB alone",
                "RGB taught by flow",
                "RGB taught by all, dataset weights",
                "RGB taught by all, per-sample weights")) {
            expected.add(model + " 1");
            expected.add(model + " 2");
        }
        expected.addAll(List.of("boxes teacher 2", "flow teacher 2", "all teachers together 2"));
        for (MmdResult.SeedResult seed : result.seeds()) {
            assertEquals(
                    expected.stream().sorted().toList(),
                    seed.scores().stream()
                            .map(score -> score.model() + " " + score.views())
                            .sorted()
                            .toList());
            for (Score score : seed.scores()) {
                assertEquals(30, score.clips());
                assertTrue(score.action() <= Math.min(score.verb(), score.noun()), score.toString());
                assertEquals(score.views() == 2 ? 2 : 0, score.scaled().size());
            }
            assertEquals(2 * 5, seed.reliabilities().size());
        }
    }

    @Test
    void differencesArePairedByTheSeed() {
        String student = "RGB taught by flow";
        Interval difference = MmdClaims.difference(result, student, 2, MmdResult.BASELINE, 2, Score::noun);
        double[] each = result.seeds().stream()
                .mapToDouble(seed -> MmdClaims.score(seed, student, 2).noun()
                        - MmdClaims.score(seed, MmdResult.BASELINE, 2).noun())
                .toArray();
        Close.within(difference.mean(), (each[0] + each[1]) / 2, 1e-12, "mean");
        Close.within(difference.half(), 12.706204736 * Math.abs(each[0] - each[1]) / 2, 1e-9, "interval of two seeds");
    }

    @Test
    void wordsFollowTheNumbers() {
        assertEquals("holds", Verdict.of(new Interval(.05, .02)).toString());
        assertEquals(
                "points this way, within the noise",
                Verdict.of(new Interval(.05, .06)).toString());
        assertEquals(
                "points this way, with one seed, which tells no interval",
                Verdict.of(new Interval(.05, Double.NaN)).toString());
        assertEquals("does not hold", Verdict.of(new Interval(0, Double.NaN)).toString());
        assertEquals("does not hold", Verdict.of(new Interval(-.01, .02)).toString());
        assertEquals(
                "does not hold: the opposite does",
                Verdict.of(new Interval(-.03, .02)).toString());
        assertEquals("-3.00 ± 2.00", MmdClaims.signed(new Interval(-.03, .02)));
        assertEquals("+3.00", MmdClaims.signed(new Interval(.03, Double.NaN)));
    }

    @Test
    void thePageIsWellFormedAndTheTablesNameEveryModel() throws Exception {
        String html = Files.readString(page);
        Element root = DemoRuns.page(html);
        // Two bar charts, a diagram of both heads of five models, three curves, and seven stages.
        assertEquals(2 + 10 + 3 + 7, root.getElementsByTagName("svg").getLength());
        assertEquals(4 + 1, root.getElementsByTagName("table").getLength());
        Path student = MmdDemo.studentFolder(whole, 7, new Taught(TEACHERS, TeacherWeights.dataSet()));
        Map<String, Double> ofVerb = requireNonNull(
                Ensemble.teacherWeights(student.resolve(Ensemble.STUDENT)).get("verb"));
        Close.within(ofVerb.values().stream().mapToDouble(w -> w).sum(), 1, 1e-12, "weights of the teachers");
        ofVerb.forEach((teacher, weight) -> assertTrue(
                html.contains(">" + String.format(java.util.Locale.ROOT, "%.3f", weight) + "</td>"),
                teacher + " " + weight));
        List<String> lines = Files.readAllLines(whole.resolve(MmdReport.TABLES));
        assertEquals(
                (2 + 7) + (2 + 7) + (2 + 6) + (2 + 4 * 2 + 3),
                lines.stream().filter(line -> line.startsWith("|")).count());
        assertEquals(2, lines.stream().filter(line -> line.startsWith("- **")).count());
        assertTrue(lines.stream().anyMatch(line -> line.contains("alpha 1.0, beta 0.0, T 1.0")));
        Map<String, ?> results = Json.object(Files.readString(whole.resolve(MmdDemo.RESULTS)));
        assertTrue(results.keySet().containsAll(List.of("machine", "plan", "seeds", "costs")), results.toString());
    }

    @Test
    void aSecondCallTrainsNothingAndFindsTheSame() {
        String progress = DemoRuns.titles(context -> assertEquals(
                result.seeds(), MmdDemo.run(plan(7, 8), whole, context).seeds()));
        assertFalse(progress.contains("train") || progress.contains("distill"), progress);
    }

    /** Asks the run to stop after the first step of a stage of each kind. */
    @Test
    void interruptedRunsEndWithTheSameWeights(@TempDir Path other) throws Exception {
        for (String stage : List.of("train rgb", "train boxes", "cache flow", "distill")) {
            RunContext context = DemoRuns.stoppedIn(stage, advanced -> true);
            assertThrows(StopSignal.Stopped.class, () -> MmdDemo.run(plan(7), other, context), stage);
            assertFalse(Files.exists(other.resolve(MmdDemo.RESULTS)));
        }
        MmdResult resumed = MmdDemo.run(plan(7), other, DemoRuns.silent());
        assertEquals(result.seeds().getFirst(), resumed.seeds().getFirst());
        List<Path> models = models(other);
        assertEquals(7, models.size());
        DemoRuns.requireSame(models, other, whole);
    }

    private static List<Path> models(Path out) throws Exception {
        return DemoRuns.files(out, List.of(Path.of(Supervised.MODEL), Path.of(Ensemble.STUDENT)));
    }

    @Test
    void anotherDemosFolderAndUnfairPlansAreRefused(@TempDir Path other) throws Exception {
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> MmdDemo.run(plan(8, 9), whole, DemoRuns.silent()));
        assertTrue(requireNonNull(refused.getMessage())
                .startsWith("demo: " + whole + " holds a demo with other settings (seeds was [7, 8], is [8, 9]); use"));
        Files.writeString(other.resolve(MmdDemo.PLAN), "{\"name\":\"quick\"}");
        Exception system =
                assertThrows(IllegalArgumentException.class, () -> MmdDemo.run(plan(7), other, DemoRuns.silent()));
        assertTrue(requireNonNull(system.getMessage()).contains("another system than mmd"), system.getMessage());
        Exception unfair = assertThrows(IllegalArgumentException.class, () -> steps(STEPS + 1L, 7));
        assertTrue(requireNonNull(unfair.getMessage()).contains("(steps was 3, is 4; period"), unfair.getMessage());
    }

    /** A student and the baseline take as many steps and clips, in both plans that the command line knows. */
    @Test
    void bothPlansAreComplete() {
        assertEquals(List.of(5L), MmdPlan.quick(5).seeds());
        assertEquals(3, MmdPlan.quick(5).students().size());
        assertEquals(List.of(5L, 6L, 7L), MmdPlan.full(5).seeds());
        assertEquals(7, MmdPlan.full(5).students().size());
    }
}
