package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.EpochOrder;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.distill.report.MetricsLog;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Checkpoint;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.videomae.VideoMaeConfig;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A student learns a source classifier's soft labels of target clips, as STARTUP's does. */
class SelfTrainingTest {
    private static final VideoMaeConfig CONFIG = SmallNetworks.config(Modality.RGB);
    private static final double WEIGHT = .5;
    private static final double LAMBDA = .25;

    @TempDir
    private static Path folder;

    private static ClipSet clips;
    private static Path teacher;

    @BeforeAll
    static void pretrain() {
        clips = SmallNetworks.clips();
        teacher = pretraining(3).run(CONFIG, clips, clips, null, folder.resolve("teacher"), context());
    }

    @AfterAll
    static void free() {
        clips.close();
    }

    private static RunContext context() {
        return new RunContext(ProgressListener.NONE, new StopSignal());
    }

    private static Pretraining pretraining(long steps) {
        Pretraining standard = Pretraining.defaults(Modality.RGB);
        Recipe recipe = standard.recipe().withBatch(3).over(steps, 1e-2).withMaskRatio(.5);
        return new Pretraining(Modality.RGB, true, LAMBDA, 0, recipe);
    }

    private static SelfTraining stage(long steps) {
        return new SelfTraining(pretraining(steps), WEIGHT);
    }

    private static TokenMask mask() {
        return TokenMask.tubes(Device.cpu(), 3, 2, 16, .5, 1, 0);
    }

    /** Lets a test look at what a stage minimises, in the scope of the stage's networks. */
    private static void setUp(SelfTraining stage, Consumer<Stage.Setup> body) {
        try (Scope scope = Scope.open();
                Stage.Setup setup =
                        stage.stage(CONFIG, clips, clips, teacher).build().apply(context())) {
            body.accept(setup);
        }
    }

    private static Look look(Stage.Setup setup, int part) {
        Batch batch = setup.parts().get(part).batches().at(Device.cpu(), 0);
        return new Look(batch, Modality.RGB, mask(), setup.student(), Noise.NONE);
    }

    /** The teacher's class scores of all clips, whole and not augmented. */
    private static double[][] scores() {
        try (Scope scope = Scope.open();
                Checkpoint checkpoint = Checkpoint.read(teacher)) {
            int classes = clips.classes().size();
            Params params = Params.from(Device.cpu(), DType.F32, checkpoint.tensors());
            try (VideoMaePretraining model = new VideoMaePretraining(params, CONFIG, classes)) {
                double[][] scores = new double[clips.size()][];
                for (int i = 0; i < scores.length; i++) {
                    Tensor seen = clips.batch(Modality.RGB, new int[] {i});
                    Tensor tokens = model.encoder().forward(seen, null, DropPath.NONE);
                    scores[i] = model.classify(tokens, 0, 0, 0).toDoubles();
                }
                return scores;
            }
        }
    }

    /** The loss of the target is the reconstruction and the divergence by hand, from the teacher's scores of whole clips. */
    @Test
    void targetClipsTeachTheSoftLabelsOfWholeClips() {
        double[][] scores = scores();
        int[] order = new EpochOrder(clips.size(), 1 + 1).batch(0, 3);
        setUp(stage(2), setup -> {
            Look look = look(setup, 1);
            double loss = setup.parts().get(1).objective().loss(look).item();
            double[] told = look.student().logits(ClipBatches.ACTION).toDoubles();
            int classes = clips.classes().size();
            double divergence = 0;
            for (int i = 0; i < 3; i++) {
                double[] wanted = softmax(scores[order[i]], 0, classes);
                double[] given = softmax(told, i * classes, classes);
                for (int k = 0; k < classes; k++) {
                    divergence += wanted[k] * Math.log(wanted[k] / given[k]) / 3;
                }
            }
            assertTrue(divergence > 1e-4, "the student begins with a classifier afresh: " + divergence);
            Map<Metric, Tensor> metrics = look.metrics();
            double reconstruction = requireNonNull(metrics.get(new Metric("reconstruction_target")))
                    .item();
            Close.within(requireNonNull(metrics.get(new Metric("soft_labels"))).item(), divergence, 1e-5, "divergence");
            Close.within(loss, reconstruction + WEIGHT * divergence, 1e-5, "loss");
        });
    }

    private static double[] softmax(double[] scores, int from, int count) {
        double[] p = new double[count];
        double sum = 0;
        for (int k = 0; k < count; k++) {
            p[k] = Math.exp(scores[from + k]);
            sum += p[k];
        }
        for (int k = 0; k < count; k++) {
            p[k] /= sum;
        }
        return p;
    }

    /** Of source clips the labels alone are learned; the student's encoder is the teacher's at first. */
    @Test
    void sourceClipsTeachTheirLabelsAlone() {
        setUp(stage(2), setup -> {
            Look look = look(setup, 0);
            double loss = setup.parts().get(0).objective().loss(look).item();
            assertEquals(Set.of(new Metric("cross_entropy")), look.metrics().keySet());
            double entropy = requireNonNull(look.metrics().get(new Metric("cross_entropy")))
                    .item();
            Close.within(loss, LAMBDA * entropy, 1e-6, "loss");
            try (Checkpoint checkpoint = Checkpoint.read(teacher)) {
                setup.trained().forEach((name, weight) -> {
                    if (name.startsWith("encoder.") || name.startsWith("decoder.")) {
                        assertArrayEquals(
                                requireNonNull(checkpoint.tensors().get(name)).toFloats(), weight.toFloats(), name);
                    }
                });
            }
        });
    }

    /** The gradient of the target's loss with respect to the classifier is weight mean((p - q) feature), by finite differences. */
    @Test
    void theSoftLabelsMoveTheClassifierDownhill() {
        setUp(stage(2), setup -> {
            Tensor bias = requireNonNull(setup.trained().get("head_action.bias"));
            setup.parts().get(1).objective().loss(look(setup, 1)).backward();
            float[] gradient = requireNonNull(bias.grad()).toFloats();
            float[] values = bias.toFloats();
            for (int k : new int[] {0, values.length - 1}) {
                double[] losses = new double[2];
                for (int side = 0; side < 2; side++) {
                    float[] moved = values.clone();
                    moved[k] += side == 0 ? .05f : -.05f;
                    bias.copyFrom(Tensor.of(moved, moved.length));
                    losses[side] = setup.parts()
                            .get(1)
                            .objective()
                            .loss(look(setup, 1))
                            .item();
                }
                bias.copyFrom(Tensor.of(values, values.length));
                Close.within(gradient[k], (losses[0] - losses[1]) / .1, 1e-3, "gradient of bias " + k);
            }
        });
    }

    @Test
    void itTrainsAndIsNotResumedWithAnotherWeight() throws Exception {
        Path out = folder.resolve("run");
        Path model = stage(2).run(CONFIG, clips, clips, teacher, out, context());
        assertEquals(Pretraining.MODEL, model.getFileName().toString());
        assertEquals(
                Set.of("cross_entropy", "reconstruction_target", "soft_labels", "loss", "lr"),
                MetricsLog.read(out.resolve("metrics.jsonl")).getLast().values().keySet().stream()
                        .map(Metric::id)
                        .collect(Collectors.toSet()));
        byte[] before = Files.readAllBytes(model);
        refused(
                () -> stage(2).withWeight(1).run(CONFIG, clips, clips, teacher, out, context()),
                "softLabels was 0.5, is 1.0");
        Path again = stage(2).run(CONFIG, clips, clips, teacher, folder.resolve("again"), context());
        assertArrayEquals(before, Files.readAllBytes(again), "the same from the same");
        Distillation.saveUndistilled(model, folder.resolve("student.safetensors"));
    }

    @Test
    void aTeacherThatDoesNotFitIsRefused() {
        Path headless = folder.resolve("headless.safetensors");
        Distillation.saveUndistilled(teacher, headless);
        refused(
                () -> stage(2).run(CONFIG, clips, clips, headless, folder.resolve("a"), context()),
                headless + ": it has no classifier of source classes; pass the model.safetensors of a pretraining");
        refused(() -> stage(2).withWeight(-1), "the soft labels weigh -1.0; pass a number of 0 or more");
        assertEquals(1, SelfTraining.of(pretraining(2)).pretraining().lambda());
    }

    private static void refused(Executable call, String expected) {
        String message = requireNonNull(
                assertThrows(IllegalArgumentException.class, call).getMessage());
        assertTrue(message.contains(expected), message);
    }
}
