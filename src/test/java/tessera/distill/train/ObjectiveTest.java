package tessera.distill.train;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import tessera.Close;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Architecture;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.nn.TokenGrid;
import tessera.nn.VideoModel;
import tessera.nn.videomae.VideoMaePretraining;
import tessera.tensor.Losses;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Every objective against the losses it is made of, on a VideoMAE student with teachers of other modalities. */
class ObjectiveTest {
    private static final String ACTION = ClipBatches.ACTION;

    private Scope scope;
    private ClipSet clips;
    private int classes;
    private Batch batch;
    private TokenMask mask;
    private SmallNetworks.Made student;
    private SmallNetworks.Made teacher;
    private Teacher rgb;
    private Teacher pose;
    private Projector toRgb;
    private Projector toPose;
    private Params projectors;

    @BeforeEach
    void make() {
        scope = Scope.open();
        clips = SmallNetworks.clips();
        classes = clips.classes().size();
        Recipe recipe = Recipe.defaults().withBatch(3);
        batch = new ClipBatches(clips, Modality.ALL, true, recipe, 1, 1).at(Device.cpu(), 0);
        mask = TokenMask.tubes(Device.cpu(), 3, 2, 16, .5, 1, 0);
        student = SmallNetworks.make(Device.cpu(), Modality.RGB, classes, 1, false);
        teacher = SmallNetworks.make(Device.cpu(), Modality.RGB, classes, 2, true);
        rgb = new Teacher(Modality.RGB, teacher.network());
        pose = new Teacher(
                Modality.POSE,
                SmallNetworks.make(Device.cpu(), Modality.POSE, classes, 3, true)
                        .network());
        projectors = Params.random(Device.cpu(), DType.F32, 4);
        toRgb = new Projector(projectors.at("rgb"), SmallNetworks.WIDTH);
        toPose = new Projector(projectors.at("pose"), SmallNetworks.WIDTH);
    }

    @AfterEach
    void close() {
        clips.close();
        scope.close();
    }

    private Look look() {
        return new Look(batch, Modality.RGB, mask, student.network(), Noise.NONE);
    }

    private Tensor feature(ModelNetwork network, Modality modality) {
        return network.model().features(batch.clips(modality), mask.visible());
    }

    private static ModelNetwork network(Teacher teacher) {
        return (ModelNetwork) teacher.network();
    }

    private Tensor logits(ModelNetwork network, Modality modality) {
        return Objects.requireNonNull(network.heads().get(ACTION)).forward(feature(network, modality));
    }

    /** An architecture without tokens is a student as any other, until the stage has masks. */
    @Test
    void aModelThatCannotBeMaskedRefusesMasks() {
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        VideoModel model =
                Architecture.of(Map.of(Architecture.ENTRY, "mean-colour")).build(params, Map.of());
        ModelNetwork network = new ModelNetwork(model, Map.of());
        Tensor pixels = batch.clips(Modality.RGB);
        Tensor feature = network.forward(pixels, null, Noise.NONE).feature();
        assertArrayEquals(model.features(pixels, null).toFloats(), feature.toFloats());
        for (Executable call : List.<Executable>of(network::grid, () -> network.forward(pixels, mask, Noise.NONE))) {
            String message = String.valueOf(
                    assertThrows(IllegalArgumentException.class, call).getMessage());
            assertTrue(message.endsWith("; give the stage no masks"), message);
        }
    }

    private FeatureMatch match() {
        return new FeatureMatch(
                List.of(new FeatureMatch.Match(rgb, toRgb, 1), new FeatureMatch.Match(pose, toPose, .5)));
    }

    /** What all clips of a batch have in common is not matched, and each number of how they differ weighs the same. */
    @Test
    void standardisedFeaturesHaveMeanZeroAndDeviationOne() {
        float[] feature = feature(network(rgb), Modality.RGB).toFloats();
        int clipCount = 3;
        int width = SmallNetworks.WIDTH;
        float[] target = new float[feature.length];
        for (int j = 0; j < width; j++) {
            double mean = 0;
            double square = 0;
            for (int i = 0; i < clipCount; i++) {
                mean += feature[i * width + j] / (double) clipCount;
            }
            for (int i = 0; i < clipCount; i++) {
                square += Math.pow(feature[i * width + j] - mean, 2) / clipCount;
            }
            for (int i = 0; i < clipCount; i++) {
                target[i * width + j] = (float) ((feature[i * width + j] - mean) / Math.sqrt(square + 1e-6));
            }
        }
        float[] projected =
                toRgb.forward(feature(student.network(), Modality.RGB)).toFloats();
        double expected = 0;
        for (int i = 0; i < target.length; i++) {
            expected += Math.pow(projected[i] - target[i], 2) / target.length;
        }
        Tensor loss = new FeatureMatch(List.of(new FeatureMatch.Match(rgb, toRgb, 1)), true).loss(look());
        Close.within(loss.item(), expected, 1e-3 * expected, "loss");
        loss.backward();
        assertTrue(gradients().size() > 10, "the student learns");
    }

    @Test
    void aNegativeWeightOfWhatIsKeptIsRefused() {
        String message = String.valueOf(assertThrows(
                        IllegalArgumentException.class,
                        () -> Distillation.defaults().withKeep(-1))
                .getMessage());
        assertTrue(message.contains("keeping the student's own feature is -1.0; pass 0"), message);
    }

    private LogitDistillation distill(double alpha, double beta, Weighting weighting) {
        return new LogitDistillation(List.of(rgb, pose), ACTION, 2, alpha, beta, weighting);
    }

    private Tensor features() {
        Tensor feature = feature(student.network(), Modality.RGB);
        return Losses.features(
                List.of(toRgb.forward(feature), toPose.forward(feature)),
                List.of(feature(network(rgb), Modality.RGB), feature(network(pose), Modality.POSE)),
                1,
                .5);
    }

    private Tensor distillation(Tensor weights, double alpha, double beta) {
        return Losses.distillation(
                logits(student.network(), Modality.RGB),
                List.of(logits(network(rgb), Modality.RGB), logits(network(pose), Modality.POSE)),
                weights,
                batch.labels(ACTION),
                2,
                alpha,
                beta);
    }

    /** Values and all gradients of the student and the projectors. */
    private void same(Tensor actual, Tensor expected) {
        assertEquals(expected.item(), actual.item());
        actual.backward();
        Map<String, float[]> gradients = gradients();
        expected.backward();
        Map<String, float[]> direct = gradients();
        assertEquals(direct.keySet(), gradients.keySet());
        assertTrue(gradients.size() > 10, gradients.keySet()::toString);
        direct.forEach(
                (name, gradient) -> Close.relative(Objects.requireNonNull(gradients.get(name)), gradient, 1e-6, name));
    }

    private Map<String, float[]> gradients() {
        Map<String, float[]> gradients = new TreeMap<>();
        for (Map<String, Tensor> parameters : List.of(student.parameters(), projectors.all())) {
            parameters.forEach((name, parameter) -> {
                Tensor gradient = parameter.grad();
                if (gradient != null) {
                    gradients.put(name, gradient.toFloats());
                    parameter.zeroGrad();
                }
            });
        }
        return gradients;
    }

    @Test
    void crossEntropyIsOfTheStudentsHead() {
        same(
                new CrossEntropy(ACTION).loss(look()),
                Losses.crossEntropy(logits(student.network(), Modality.RGB), batch.labels(ACTION)));
    }

    @Test
    void featuresMatchThroughProjectors() {
        same(match().loss(look()), features());
    }

    @Test
    void logitsOfAnEnsemble() {
        same(
                distill(.9, .1, Weighting.given(.25, .75)).loss(look()),
                distillation(Tensor.of(new float[] {.25f, .75f}, 2), .9, .1));
        assertThrows(IllegalArgumentException.class, () -> distill(-1, 0, Weighting.uniform()), "a negative weight");
    }

    @Test
    void weightsOfEveryClipAreThoseOfItsCrossEntropies() {
        List<Tensor> teachers = List.of(logits(network(rgb), Modality.RGB), logits(network(pose), Modality.POSE));
        Tensor weights = Weighting.perSample(.5).weights(teachers, batch.labels(ACTION));
        same(distill(1, 0, Weighting.perSample(.5)).loss(look()), distillation(weights, 1, 0));
    }

    /** Features and logits in one sum: the gradient is the weighted sum of both. */
    @Test
    void featuresAndLogitsMix() {
        Metric logged = new Metric("features");
        Look look = look();
        Tensor mixed = new Weighted(List.of(
                        new Weighted.Term(match(), 1, logged),
                        new Weighted.Term(distill(1, .5, Weighting.uniform()), .3, null)))
                .loss(look);
        assertEquals(List.of(logged), List.copyOf(look.metrics().keySet()));
        same(
                mixed,
                features()
                        .add(distillation(Tensor.of(new float[] {.5f, .5f}, 2), 1, .5)
                                .mul(.3)));
    }

    /** The same by central differences along one direction in the head, where the loss is smooth. */
    @Test
    void theMixtureHasTheSlopeOfItsGradient() {
        Objective mixed = new Weighted(List.of(
                new Weighted.Term(match(), .5, null),
                new Weighted.Term(distill(1, 1, Weighting.perSample(1)), 1, null)));
        Tensor weight = Objects.requireNonNull(student.parameters().get("head_action.weight"));
        mixed.loss(look()).backward();
        float[] gradient = Objects.requireNonNull(weight.grad()).toFloats();
        float[] at = weight.toFloats();
        double squares = 0;
        for (float g : gradient) {
            squares += (double) g * g;
        }
        double step = 1e-2 / Math.sqrt(squares);
        double[] losses = new double[2];
        for (int side = 0; side < 2; side++) {
            float[] moved = at.clone();
            for (int i = 0; i < moved.length; i++) {
                moved[i] += (float) ((2 * side - 1) * step * gradient[i]);
            }
            weight.requiresGrad(false);
            weight.copyFrom(Tensor.of(moved, classes, SmallNetworks.WIDTH));
            losses[side] = mixed.loss(look()).item();
        }
        Close.within((losses[1] - losses[0]) / (2 * step), squares, 2e-3 * squares, "slope along the gradient");
    }

    @Test
    void aTeacherLooksOnceAndGetsNoGradient() {
        int[] looks = new int[1];
        Network counting = new Network() {
            @Override
            public Outputs forward(Tensor seen, @Nullable TokenMask through, Noise noise) {
                looks[0]++;
                return rgb.network().forward(seen, through, noise);
            }

            @Override
            public TokenGrid grid() {
                return new TokenGrid(2, 4, 4);
            }
        };
        Teacher once = new Teacher(Modality.RGB, counting);
        Objective both = new Weighted(List.of(
                new Weighted.Term(new FeatureMatch(List.of(new FeatureMatch.Match(once, toRgb, 1))), 1, null),
                new Weighted.Term(
                        new LogitDistillation(List.of(once), ACTION, 1, 1, 0, Weighting.uniform()), 1, null)));
        both.loss(look()).backward();
        assertEquals(1, looks[0]);
        teacher.parameters().forEach((name, parameter) -> assertNull(parameter.grad(), name));
    }

    /** Reconstruction goes through the decoder of a masked autoencoder. */
    @Test
    void reconstructionIsThatOfTheModel() {
        Params params = Params.random(Device.cpu(), DType.F32, 5);
        VideoMaePretraining model = new VideoMaePretraining(params, SmallNetworks.config(Modality.RGB), 0);
        params.finish();
        Network autoencoder = new Network() {
            @Override
            public Outputs forward(Tensor seen, @Nullable TokenMask through, Noise noise) {
                return new Outputs(model.encode(seen, requireNonNull(through), DropPath.NONE), null, head -> null);
            }

            @Override
            public TokenGrid grid() {
                return model.config().grid();
            }
        };
        Look look = new Look(batch, Modality.RGB, mask, autoencoder, Noise.NONE);
        Tensor video = batch.clips(Modality.RGB);
        Tensor predicted = model.reconstruct(model.encode(video, mask, DropPath.NONE), mask);
        assertEquals(
                model.reconstructionLoss(predicted, video, mask).item(),
                new Reconstruction(model, false).loss(look).item());
        Exception refused = assertThrows(
                IllegalArgumentException.class, () -> new CrossEntropy(ACTION).loss(look), "it has no head");
        assertTrue(requireNonNull(refused.getMessage()).contains("no head 'action'"), refused.getMessage());
        assertThrows(IllegalArgumentException.class, () -> match().loss(look), "it has no feature of clips");
    }

    @Test
    void whatABatchDoesNotHoldIsNamed() {
        Batch unlabelled = new Batch(Map.of(Modality.RGB, batch.clips(Modality.RGB)));
        Look look = new Look(unlabelled, Modality.RGB, mask, student.network(), Noise.NONE);
        Exception labels = assertThrows(IllegalArgumentException.class, () -> new CrossEntropy(ACTION).loss(look));
        assertTrue(
                requireNonNull(labels.getMessage()).contains("no labels for the head 'action'"), labels.getMessage());
        Exception modality = assertThrows(IllegalArgumentException.class, () -> match().loss(look));
        assertTrue(requireNonNull(modality.getMessage()).contains("holds no pose"), modality.getMessage());
    }
}
