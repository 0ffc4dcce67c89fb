package tessera.distill.demo;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.LongStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.w3c.dom.Element;
import tessera.Close;
import tessera.distill.data.Geometry;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.egosim.Domain;
import tessera.distill.fewshot.Accuracy;
import tessera.distill.train.Distillation;
import tessera.distill.train.LearningRate;
import tessera.distill.train.ModalityInput.ModelSize;
import tessera.distill.train.Pretraining;
import tessera.distill.train.ProgressEvent;
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

    /** Titles of the tasks that the run began. */
    private static final List<String> BEGUN = Collections.synchronizedList(new ArrayList<>());

    static DemoPlan plan(long... seeds) {
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put("random", new ModelPlan.Untrained(Modality.RGB));
        Map<Modality, String> teachers = new TreeMap<>();
        for (Modality modality : Modality.ALL) {
            Pretraining standard = ModelPlan.pretrained(modality, STEPS).stage();
            models.put(
                    modality.id(),
                    new ModelPlan.Pretrained(
                            standard.withRecipe(small(standard.recipe(), 2).withMaskRatio(.75)), null));
            teachers.put(modality, modality.id());
        }
        ModelPlan.Distilled all = ModelPlan.distilled(teachers, STEPS);
        Distillation stage =
                all.stage().withRecipe(small(all.stage().recipe(), 4).withMaskRatio(.5));
        models.put("distilled", new ModelPlan.Distilled(teachers, stage, "rgb", ModelPlan.Disturbance.NONE));
        models.put(
                "disturbed",
                new ModelPlan.Distilled(
                        teachers, stage.withMaskedTeachers(false), "random", new ModelPlan.Disturbance(.5, .5)));
        ModelPlan.Pretrained rgb = (ModelPlan.Pretrained) requireNonNull(models.get("rgb"));
        models.put("startup", new ModelPlan.SelfTrained(rgb.stage(), "rgb"));
        return new DemoPlan(
                "micro",
                LongStream.of(seeds).boxed().toList(),
                new Geometry(4, 16, 4),
                4,
                2,
                new ModelSize(16, 1, 2, 8, 1, 1),
                List.of(Domain.WORKSHOP, Domain.KITCHEN),
                new DemoPlan.Clips(1, 1, 3, 3, 4),
                models,
                evaluation(6));
    }

    private static DemoPlan.Evaluation evaluation(int episodes) {
        List<DemoPlan.Line> lines = new ArrayList<>();
        for (String model : List.of("random", "rgb", "distilled", "flow", "pose", "disturbed", "startup")) {
            lines.add(new DemoPlan.Line(model + " line", model, Split.TEST, .5, 2));
        }
        lines.add(new DemoPlan.Line("unmasked", "distilled", Split.TEST, 0, 1));
        lines.add(new DemoPlan.Line("one mask", "distilled", Split.TEST, .5, 1));
        lines.add(new DemoPlan.Line("published", "distilled", Split.TEST, .5, 2, "tube", "cosine", 1));
        lines.add(new DemoPlan.Line("parts", "distilled", Split.TEST, .5, 2, "partition", "prototype", 2));
        lines.add(new DemoPlan.Line("rgb seen before", "rgb", Split.VALIDATION, .5, 2));
        lines.add(new DemoPlan.Line("random seen before", "random", Split.VALIDATION, .5, 2));
        return new DemoPlan.Evaluation(
                5,
                List.of(1, 2),
                1,
                episodes,
                lines,
                List.of(
                        new DemoPlan.Difference("gain", "distilled line", "rgb line"),
                        new DemoPlan.Difference("masking", "distilled line", "unmasked")),
                new DemoPlan.CostGrid("distilled", List.of(0.0, .5), List.of(1, 2), 3),
                new DemoPlan.Gates("rgb", "rgb seen before", "random seen before"));
    }

    static DemoPlan with(DemoPlan plan, Map<String, ModelPlan> models, DemoPlan.Evaluation evaluation) {
        return new DemoPlan(
                plan.name(),
                plan.seeds(),
                plan.geometry(),
                plan.grid(),
                plan.tubelet(),
                plan.size(),
                plan.targets(),
                plan.clips(),
                models,
                evaluation);
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
        RunContext watched = new RunContext(
                event -> {
                    if (event instanceof ProgressEvent.Started started) {
                        BEGUN.add(started.task().title());
                    }
                },
                new StopSignal());
        result = Demo.run(plan(7, 8), whole, watched);
        page = DemoReport.write(result, whole);
    }

    @Test
    void everyLineIsJudgedForEverySeedAndDomain() {
        assertEquals(
                List.of(7L, 8L),
                result.seeds().stream().map(DemoResult.SeedResult::seed).toList());
        for (DemoResult.SeedResult seed : result.seeds()) {
            for (int shots : List.of(1, 2)) {
                for (Domain domain : List.of(Domain.WORKSHOP, Domain.KITCHEN)) {
                    assertEquals(
                            result.plan().evaluation().lines().stream()
                                    .map(DemoPlan.Line::label)
                                    .toList(),
                            seed.scores().stream()
                                    .filter(s -> s.shots() == shots && s.domain() == domain)
                                    .map(DemoResult.Score::line)
                                    .toList());
                }
            }
            assertTrue(seed.scores().stream().allMatch(s -> s.accuracy().episodes() == 6));
        }
    }

    @Test
    void differencesAreOfTheSameEpisodes() {
        for (DemoResult.SeedResult seed : result.seeds()) {
            assertEquals(8, seed.differences().size());
            for (DemoResult.Difference difference : seed.differences()) {
                String other = difference.label().equals("gain") ? "rgb line" : "unmasked";
                Close.within(
                        difference.accuracy().mean(),
                        mean(seed, "distilled line", difference) - mean(seed, other, difference),
                        1e-12,
                        difference.label());
            }
        }
    }

    private static double mean(DemoResult.SeedResult seed, String line, DemoResult.Difference like) {
        return seed.scores().stream()
                .filter(s -> s.line().equals(line) && s.shots() == like.shots() && s.domain() == like.domain())
                .findFirst()
                .orElseThrow()
                .accuracy()
                .mean();
    }

    /** Two seeds: t of one degree of freedom is 12.706, and the deviation of a and b is |a - b| / sqrt(2). */
    @Test
    void intervalsOverSeedsAreThoseOfStudentsDistribution() {
        DemoResult.Summary gain =
                DemoResult.Summary.of(List.of(Accuracy.of(new double[] {.1, .3}), Accuracy.of(new double[] {.4, .4})));
        Close.within(gain.overSeeds().mean(), .3, 1e-12, "mean");
        Close.within(gain.overSeeds().half(), 12.7062047 * .2 / 2, 1e-7, "t interval");
        // Of .1, .3, .4, .4: mean .3, squares .04 + 0 + .01 + .01.
        Close.within(gain.pooled().mean(), .3, 1e-12, "pooled mean");
        Close.within(gain.pooled().std(), Math.sqrt(.06 / 4), 1e-12, "pooled deviation");
        DemoResult.Summary one = DemoResult.Summary.of(List.of(Accuracy.of(new double[] {.1, .3})));
        Close.within(one.overSeeds().half(), 1.96 * .1 / Math.sqrt(2), 1e-12, "one seed has the episodes' interval");
    }

    /** Untrained students are the weights that pretraining begins with; the gates say what was asked. */
    @Test
    void theTablesSayWhatWasLearned() throws Exception {
        assertEquals(4, result.gates().size());
        assertTrue(
                result.gates().stream().allMatch(gate -> gate.half() >= 0),
                result.gates().toString());
        DemoResult.Gate points = result.gates().getLast();
        double[] each = result.seeds().stream()
                .mapToDouble(seed -> 100 * (kitchen(seed, "rgb seen before") - kitchen(seed, "random seen before")))
                .toArray();
        Close.within(points.value(), (each[0] + each[1]) / 2, 1e-9, points.what());
        Close.within(points.half(), 12.7062047 * Math.abs(each[0] - each[1]) / 2, 1e-5, points.what());
        for (DemoResult.Training training : result.trainings()) {
            assertTrue(training.crossEntropy() > 2 && training.crossEntropy() < 6, training.toString());
            assertTrue(training.trivial() > .01 && training.trivial() < 1.01, training.toString());
        }
        String tables = Files.readString(whole.resolve(DemoReport.TABLES));
        assertTrue(tables.contains("source cross-entropy of rgb (guessing: 3.40)"), tables);
        assertTrue(tables.contains("MISSED"), tables);
        assertTrue(tables.contains(" (95 % t-interval over seeds), needed 5.000: "), tables);
        assertTrue(
                tables.contains(
                        "What the teachers of disturbed see, but for RGB: uniform noise is added to every value,"
                                + " of 0.5 times the deviation by which models divide its channel"),
                tables);
        assertTrue(tables.contains("workshop: ± 95 % t-interval over 2 seeds"), tables);
        assertEquals(
                1 + 2 * 2 * 2 * 13,
                Files.readAllLines(whole.resolve(DemoReport.CSV)).size());
    }

    private static double kitchen(DemoResult.SeedResult seed, String line) {
        return seed.scores().stream()
                .filter(s -> s.line().equals(line) && s.shots() == 2 && s.domain() == Domain.KITCHEN)
                .findFirst()
                .orElseThrow()
                .accuracy()
                .mean();
    }

    /** Disturbed clips are the same clips. */
    @Test
    void targetClipsAreRenderedOncePerSeed() {
        assertEquals(2, Collections.frequency(BEGUN, "render target unlabelled"), BEGUN.toString());
        assertTrue(BEGUN.contains("distill disturbed"), BEGUN.toString());
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
        assertEquals(2 * 2 * (2 * 13 + 2 * 2), scores);
        assertTrue(text.contains("\"processor\":") && text.contains("\"maskRatios\":[0.0,0.5]"), text);
    }

    @Test
    void thePageIsWellFormedAndSelfContained() throws Exception {
        String html = Files.readString(page);
        Element root = DemoRuns.page(html);
        assertEquals(4, root.getElementsByTagName("img").getLength());
        // A bar chart for each number of shots, latency, GFLOPs, two curves of three stages, and three of the others.
        assertEquals(4 + 2 * 3 + 3, root.getElementsByTagName("svg").getLength());
        assertEquals(4 + 3, root.getElementsByTagName("table").getLength());
        for (String text : List.of("seed 7", "seed 8", "chance", "P = 2", "WORKSHOP".toLowerCase(Locale.ROOT))) {
            assertTrue(html.contains(text), text);
        }
    }

    @Test
    void theTablesAreMarkdown() throws Exception {
        List<String> lines = Files.readAllLines(whole.resolve(DemoReport.TABLES));
        List<String> rows = lines.stream().filter(line -> line.startsWith("|")).toList();
        assertEquals(2 * (2 + 11) + 2 * (2 + 2) + (2 + 4) + (2 + 6) + (2 + 3), rows.size());
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
        return DemoRuns.files(out, List.of(Path.of(Pretraining.MODEL), Path.of(Distillation.STUDENT)));
    }

    @Test
    void aPlanThatDiffersInItsEvaluationJudgesAgain(@TempDir Path other) {
        DemoPlan own = plan(7);
        Map<String, ModelPlan> few = new LinkedHashMap<>(own.models());
        few.keySet().retainAll(List.of("random", "rgb"));
        DemoPlan.Line line = new DemoPlan.Line("rgb line", "rgb", Split.TEST, .5, 2);
        DemoPlan first =
                with(own, few, new DemoPlan.Evaluation(5, List.of(1), 1, 6, List.of(line), List.of(), null, null));
        Demo.run(first, other, DemoRuns.silent());
        DemoPlan second = with(
                own,
                few,
                new DemoPlan.Evaluation(
                        5,
                        List.of(1),
                        1,
                        3,
                        List.of(line, new DemoPlan.Line("random line", "random", Split.TEST, .5, 1)),
                        List.of(new DemoPlan.Difference("gain", "rgb line", "random line")),
                        null,
                        null));
        String progress = DemoRuns.titles(context -> assertEquals(
                2,
                Demo.run(second, other, context)
                        .seeds()
                        .getFirst()
                        .differences()
                        .size()));
        assertFalse(progress.contains("pretrain"), progress);
        few.put("rgb", ModelPlan.pretrained(Modality.RGB, 3));
        DemoPlan third = with(own, few, second.evaluation());
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> Demo.run(third, other, DemoRuns.silent()));
        String message = requireNonNull(refused.getMessage());
        assertTrue(
                message.startsWith("demo: models were made with other settings: "
                                + other.resolve("seed-7").resolve("rgb"))
                        && message.contains("model.steps was 4, is 3"),
                message);
    }

    @Test
    void otherVersionsAreRefused(@TempDir Path other) throws Exception {
        Files.writeString(other.resolve(Demo.PLAN), "{\"name\":\"quick\"}");
        Exception refused =
                assertThrows(IllegalArgumentException.class, () -> Demo.run(plan(7), other, DemoRuns.silent()));
        assertTrue(requireNonNull(refused.getMessage()).contains("another version of EgoSim (was 1, is 2); use"));
    }

    @Test
    void shippedPlansAreReadAsTheyAreWritten() {
        for (String name : ShippedPlans.NAMES) {
            DemoPlan shipped = ShippedPlans.of(name, 3);
            assertEquals(shipped.values(), DemoPlan.parse(shipped.json()).values(), name);
            assertEquals(3, shipped.seeds().getFirst());
        }
        assertEquals(plan(7).values(), DemoPlan.parse(plan(7).json()).values());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "\"steps\":4 | \"steps\":\"four\" | models.rgb.steps is 'four'; pass a whole number",
                "\"steps\":4 | \"stepps\":4 | models.rgb.stepps means nothing; pass some of kind, modality,",
                "\"kind\":\"random\" | \"kind\":\"none\" | models.random.kind is 'none'; pass one of random,",
                "\"egosim\": 2 | \"egosim\": 1 | egosim is 1 but this program renders version 2",
                "\"teachers\":[\"rgb\" | \"teachers\":[\"disturbed\" | models.distilled.teachers names 'disturbed', which is no model before",
                "\"model\":\"pose\" | \"model\":\"depth\" | evaluation.lines 'pose line' model 'depth' cannot be used; pass one of random, rgb",
                "\"better\":\"distilled line\" | \"better\":\"none\" | evaluation.differences 'gain' line 'none' cannot be used",
                "\"head\":\"cosine\" | \"head\":\"forest\" | evaluation.lines 'published' head 'forest' cannot be used; pass one of logistic",
                "\"workshop\" | \"moon\" | targets: 'moon' is none of source, kitchen, workshop",
                "\"workshop\" | \"source\" | targets has source, whose objects are those of the labelled clips",
                "\"source\":1 | \"source\":0 | clips has source 0, target 1 and flowStatistics 4; pass 1 or more",
                "\"ways\": 5 | \"ways\": 17 | evaluation.ways is 17 but there are 16 test classes; pass 2 to 16",
                "\"ways\": 5 | \"ways\": 11 | evaluation.ways is 11 but there are 10 validation classes; pass 2 to 10",
                "\"queries\": 1 | \"queries\": 0 | evaluation has ways 5, shots [1, 2] and queries 0; pass 2 ways",
                "\"queries\": 1 | \"queries\": 2 | clips.test is 3 of each class but an episode takes 4, 2 shots and 2",
                "\"grid\": 4 | \"grid\": 3 | geometry, grid, tubelet and size do not fit: a token grid of 3 x 3 does not",
                "\"tubelet\": 2 | \"tubelet\": 3 | geometry, grid, tubelet and size do not fit: patches of 3 frames",
                "\"heads\":2 | \"heads\":3 | geometry, grid, tubelet and size do not fit: VideoMAE: an encoder of width 16",
                "\"teacher\":\"rgb\" | \"teacher\":\"random\" | models.startup.teacher is 'random', which has learned no",
                "\"teacher\":\"rgb\" | \"teacher\":\"distilled\" | models.startup.teacher is 'distilled', which has learned no",
                "\"modality\":\"pose\" | \"modality\":\"pose\",\"start\":\"flow\" | models.pose.start is 'flow', which looks at flow",
                "\"start\":\"random\" | \"start\":\"warm\" | models.disturbed.start is warm, whose sizes are others than the plan's (",
                "\"trained\":\"rgb seen before\" | \"trained\":\"rgb line\" | evaluation.gates compares 'rgb line' with",
                "\"trained\":\"rgb seen before\" | \"trained\":\"random seen before\" | evaluation.gates.trained is 'random seen",
                "\"untrained\":\"random seen before\" | \"untrained\":\"rgb seen before\" | evaluation.gates.untrained is 'rgb seen",
                "0.5,\"ensemble\":2,\"masks\":\"partition\" | 0.5,\"ensemble\":3,\"masks\":\"partition\" | evaluation.lines with maskRatio 0.5, ensemble 3 and masks partition: partition: 3 masks of 8 of 16",
            })
    void badPlansAreRefusedByTheField(String text, String wrong, String message) {
        String json = plan(7).json();
        int at = json.indexOf(text);
        assertTrue(at > 0, json);
        String changed = json.substring(0, at) + wrong + json.substring(at + text.length());
        Exception refused = assertThrows(IllegalArgumentException.class, () -> DemoPlan.parse(changed));
        assertTrue(requireNonNull(refused.getMessage()).startsWith(message), refused.getMessage());
    }

    /** Asks the run to stop after two steps of every stage in turn. */
    @Test
    void interruptedRunsEndWithTheSameWeights(@TempDir Path other) throws Exception {
        for (String stage :
                List.of("pretrain rgb", "pretrain flow", "pretrain pose", "distill distilled", "distill disturbed")) {
            RunContext context = DemoRuns.stoppedIn(stage, advanced -> advanced.done() == 2);
            Exception stopped = assertThrows(StopSignal.Stopped.class, () -> Demo.run(plan(7), other, context), stage);
            assertTrue(requireNonNull(stopped.getMessage()).startsWith("stopped after step "), stopped.getMessage());
            assertFalse(Files.exists(other.resolve(Demo.RESULTS)));
        }
        DemoResult resumed = Demo.run(plan(7), other, DemoRuns.silent());
        assertEquals(result.seeds().getFirst(), resumed.seeds().getFirst());
        DemoRuns.requireSame(models(other), other, whole);
        assertEquals(5 + 7, models(other).size());
    }
}
