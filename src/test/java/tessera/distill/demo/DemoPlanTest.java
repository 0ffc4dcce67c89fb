package tessera.distill.demo;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.Modality;
import tessera.distill.data.Split;
import tessera.distill.report.Json;
import tessera.distill.train.Distillation;
import tessera.distill.train.Pretraining;
import tessera.distill.train.ProgressListener;
import tessera.distill.train.RunContext;
import tessera.distill.train.StopSignal;
import tessera.distill.train.WarmStart;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.tensor.Tensor;
import tessera.tensor.io.Sha256;

/** What plans are called, which seeds they take, and what the models of a folder were made with. */
class DemoPlanTest {
    @TempDir
    private Path folder;

    private static String refusal(Runnable work) {
        return requireNonNull(
                assertThrows(IllegalArgumentException.class, work::run).getMessage());
    }

    // ------------------------------------------------------------------------------------------------ names and seeds

    private DemoPlan read(String name, String json) throws Exception {
        return DemoPlan.read(Files.writeString(folder.resolve(name), json));
    }

    @Test
    void aPlanIsCalledAsItsFile() throws Exception {
        String quick = ShippedPlans.of("quick").json();
        assertEquals("quick", read("quick.json", quick).name());
        assertEquals("my_plan-2", read("my_plan-2.json", quick).name());
        assertEquals("plain", read("plain", quick).name());
        for (String name : List.of("my plan.json", "a.b.json", "plan+.json")) {
            assertTrue(
                    refusal(() -> assertEquals("", reading(name, quick).name())).contains("rename the file"), name);
        }
    }

    private DemoPlan reading(String name, String json) {
        try {
            return read(name, json);
        } catch (IllegalArgumentException e) {
            throw e;
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    /** Else the folder and the duration of another plan would be taken for its own. */
    @Test
    void anEditedPlanIsNoLongerTheShippedOne() throws Exception {
        String quick = ShippedPlans.of("quick").json();
        String edited = quick.replaceFirst("\"steps\":450", "\"steps\":460");
        assertTrue(
                refusal(() -> reading("quick.json", edited))
                        .endsWith("quick is another plan, which comes with the program; rename the file"),
                "an edited plan under a shipped name");
        assertEquals(Optional.empty(), ShippedPlans.like(read("mine.json", edited)));
        assertEquals(
                Optional.of("quick"), ShippedPlans.like(read("mine.json", quick).withSeeds(List.of(5L))));
        assertEquals(
                Optional.empty(), ShippedPlans.like(read("mine.json", quick).withSeeds(List.of(5L, 6L))), "two seeds");
    }

    @Test
    void tablesAreOfSeedsThatNoChoiceHasSeen() {
        assertEquals(List.of(1L), ShippedPlans.of("quick").seeds());
        for (String name : List.of("full", "ablations")) {
            assertEquals(List.of(11L, 12L, 13L, 14L, 15L), ShippedPlans.of(name).seeds(), name);
        }
    }

    /** What comes with the program can be run, and says whether RGB learned anything. */
    @Test
    void shippedPlansPassTheirChecksAndHaveGates() {
        for (String name : ShippedPlans.NAMES) {
            DemoPlan plan = ShippedPlans.of(name);
            PlanChecks.require(plan);
            DemoPlan.Gates gates = requireNonNull(plan.evaluation().gates(), name);
            assertTrue(plan.models().get(gates.model()) instanceof ModelPlan.Pretrained, name);
            assertEquals(Split.VALIDATION, plan.line(gates.trained()).split(), name);
        }
    }

    // ------------------------------------------------------------------------------------------- what folders remember

    private static RunContext in(DType type) {
        return new RunContext(ProgressListener.NONE, new StopSignal(), Device.cpu(), type);
    }

    /** Two models and one line of each. */
    private static DemoPlan few(Map<String, ModelPlan> models) {
        List<DemoPlan.Line> lines = models.keySet().stream()
                .map(model -> new DemoPlan.Line(model + " line", model, Split.TEST, .5, 2))
                .toList();
        return DemoTest.with(
                DemoTest.plan(7), models, new DemoPlan.Evaluation(5, List.of(1), 1, 2, lines, List.of(), null, null));
    }

    private static Map<String, ModelPlan> models(long steps) {
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put("random", new ModelPlan.Untrained(Modality.RGB));
        models.put("rgb", ModelPlan.pretrained(Modality.RGB, steps));
        return models;
    }

    @Test
    void aFolderGoesOnInThePrecisionThatItBeganIn() throws Exception {
        DemoPlan plan = few(models(1));
        Demo.run(plan, folder, DemoRuns.silent());
        Path rgb = folder.resolve("seed-7").resolve("rgb");
        assertEquals(
                "demo: models were made with other settings: " + rgb + " (precision was f32, is bf16); delete these"
                        + " folders to train them again, or use another --out",
                refusal(() -> Demo.run(plan, folder, in(DType.BF16))),
                "an untrained encoder has no precision");
        // An older folder's settings say nothing, but the finished file does.
        Path model = rgb.resolve(Pretraining.MODEL);
        try (Checkpoint file = Checkpoint.read(model)) {
            Map<String, String> metadata = new LinkedHashMap<>(file.metadata());
            metadata.put("tessera.compute", "bf16");
            Checkpoint.write(rgb.resolve("other.safetensors"), file.tensors(), metadata);
        }
        Files.move(rgb.resolve("other.safetensors"), model, StandardCopyOption.REPLACE_EXISTING);
        assertTrue(
                refusal(() -> Demo.run(plan, folder, DemoRuns.silent())).contains("(precision was bf16, is f32)"),
                "f32 after bf16");
        note(rgb, plan, "rgb", "precision", "f32");
        assertEquals(1, Demo.run(plan, folder, DemoRuns.silent()).seeds().size());
    }

    private static void note(Path own, DemoPlan plan, String model, String name, String value) throws Exception {
        Map<String, Object> settings =
                new LinkedHashMap<>(plan.trained(model, plan.seeds().getFirst()));
        if (!value.isEmpty()) {
            settings.put(name, value);
        }
        Files.createDirectories(own);
        Files.writeString(own.resolve("model.json"), Json.text(settings, DemoPlan::written));
    }

    /** Also of a model that is taught by one. */
    @Test
    void aFolderGoesOnFromTheWarmStartThatItBeganFrom() throws Exception {
        DemoPlan shipped = ShippedPlans.of("warm-start");
        Pretraining stage = ModelPlan.pretrained(Modality.RGB, 1).stage();
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put("adapted", new ModelPlan.Pretrained(stage, ModelPlan.WARM));
        models.put("taught", ModelPlan.distilled(Map.of(Modality.RGB, "adapted"), 1));
        models.put("apart", ModelPlan.pretrained(Modality.RGB, 1));
        DemoPlan plan = DemoTest.with(
                shipped,
                models,
                new DemoPlan.Evaluation(
                        5,
                        List.of(1),
                        1,
                        2,
                        List.of(new DemoPlan.Line("line", "taught", Split.TEST, .5, 2)),
                        List.of(),
                        null,
                        null));
        PlanChecks.require(plan);
        Path seed = folder.resolve("seed-1");
        note(seed.resolve("adapted"), plan, "adapted", "", "");
        note(seed.resolve("taught"), plan, "taught", "warmStart", "0123456789abcdef");
        note(seed.resolve("apart"), plan, "apart", "", "");
        String refused = refusal(() -> Demo.run(plan, folder, DemoRuns.silent()));
        String is = ", is " + WarmStart.checksum();
        assertTrue(refused.contains(seed.resolve("adapted") + " (warmStart was none" + is + ")"), refused);
        assertTrue(refused.contains(seed.resolve("taught") + " (warmStart was 0123456789abcdef" + is + ")"), refused);
        assertTrue(!refused.contains("apart"), refused);
        assertTrue(Sha256.of(WarmStart.file()).startsWith(WarmStart.checksum()), "of the file");
    }

    /** They were once made of heat maps that were cut off. */
    @Test
    void modelsOfClipsThatWereDisturbedInAnotherWayAreRefused() throws Exception {
        Map<String, ModelPlan> models = new LinkedHashMap<>(DemoTest.plan(7).models());
        models.remove("startup");
        DemoPlan plan = few(models);
        Path seed = folder.resolve("seed-7");
        note(seed.resolve("disturbed"), plan, "disturbed", "", "");
        note(seed.resolve("distilled"), plan, "distilled", "", "");
        String refused = refusal(() -> Demo.run(plan, folder, DemoRuns.silent()));
        assertTrue(refused.contains(seed.resolve("disturbed") + " (disturbance was none, is in batches,"), refused);
        assertTrue(!refused.contains("distilled"), refused);
    }

    // --------------------------------------------------------------------------------------------------- where it
    // starts

    /** At almost no learning rate a model is what it starts from, but for what starts afresh. */
    @Test
    void aStartOfTheSameModalityLosesNoLayer() throws Exception {
        Pretraining usual = ModelPlan.pretrained(Modality.FLOW, 1).stage();
        Pretraining still = usual.withRecipe(
                usual.recipe().withRate(1, ModelPlan.PRETRAINING.over(1, 1e-12).rate()));
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put("rgb", ModelPlan.pretrained(Modality.RGB, 1));
        models.put("flow", new ModelPlan.Pretrained(usual, null));
        models.put("flow-again", new ModelPlan.Pretrained(still, "flow"));
        models.put("flow-from-rgb", new ModelPlan.Pretrained(still, "rgb"));
        Demo.run(few(models), folder, DemoRuns.silent());
        for (String layer : List.of("encoder.patch_embed", "decoder.head", "encoder.blocks")) {
            Close.within(apart("flow", "flow-again", layer), 0, 1e-6, layer);
        }
        Close.within(apart("rgb", "flow-from-rgb", "encoder.blocks"), 0, 1e-6, "what both have");
        assertTrue(apart("flow", "flow-from-rgb", "encoder.patch_embed") > 1e-3, "starts afresh");
    }

    /** Equal models but for the noise that a teacher sees; RGB, which it does not touch, is the same. */
    @Test
    void whatTeachersSeeIsDisturbed() throws Exception {
        Map<String, ModelPlan> models = new LinkedHashMap<>();
        models.put("rgb", ModelPlan.pretrained(Modality.RGB, 1));
        models.put("flow", ModelPlan.pretrained(Modality.FLOW, 1));
        ModelPlan.Distilled both = ModelPlan.distilled(Map.of(Modality.RGB, "rgb", Modality.FLOW, "flow"), 2);
        ModelPlan.Distilled alone = ModelPlan.distilled(Map.of(Modality.RGB, "rgb"), 2);
        ModelPlan.Disturbance noise = new ModelPlan.Disturbance(1, 0);
        models.put("clean", both);
        models.put("noisy", new ModelPlan.Distilled(both.teachers(), both.stage(), both.start(), noise));
        models.put("alone", alone);
        models.put("noisy-alone", new ModelPlan.Distilled(alone.teachers(), alone.stage(), alone.start(), noise));
        Demo.run(few(models), folder, DemoRuns.silent());
        assertTrue(apart("clean", "noisy", "encoder", Distillation.STUDENT) > 0, "noise in flow");
        Close.within(apart("alone", "noisy-alone", "encoder", Distillation.STUDENT), 0, 0, "no noise in RGB");
    }

    private double apart(String one, String other, String prefix) {
        return apart(one, other, prefix, Pretraining.MODEL);
    }

    /** The largest difference of weights whose names begin so. */
    private double apart(String one, String other, String prefix, String file) {
        Path seed = folder.resolve("seed-7");
        double most = -1;
        try (Checkpoint a = Checkpoint.read(seed.resolve(one).resolve(file));
                Checkpoint b = Checkpoint.read(seed.resolve(other).resolve(file))) {
            for (Map.Entry<String, Tensor> weight : a.tensors().entrySet()) {
                if (weight.getKey().startsWith(prefix)) {
                    float[] left = weight.getValue().toFloats();
                    float[] right =
                            requireNonNull(b.tensors().get(weight.getKey())).toFloats();
                    for (int i = 0; i < left.length; i++) {
                        most = Math.max(most, Math.abs(left[i] - right[i]));
                    }
                }
            }
        }
        assertTrue(most >= 0, "there are no weights " + prefix);
        return most;
    }
}
