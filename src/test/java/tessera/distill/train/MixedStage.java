package tessera.distill.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import tessera.distill.data.ClipSet;
import tessera.distill.data.Modality;
import tessera.distill.report.Metric;
import tessera.kernels.DType;
import tessera.nn.Checkpoint;
import tessera.nn.MaskStrategy;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.nn.TokenGrid;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** A stage of one's own: a student learns from the logits and the features of teachers at once. */
final class MixedStage {
    static final int STEPS = 6;
    static final String RESULT = "student.safetensors";
    static final Metric FEATURES = new Metric("features");
    static final Metric LOGITS = new Metric("logits");

    /** The weights with which teachers began and whose end was not looked at yet. */
    final Map<String, float[]> taught = new HashMap<>();

    private final ClipSet clips;

    MixedStage(ClipSet clips) {
        this.clips = clips;
    }

    static Recipe recipe() {
        return Recipe.defaults().withBatch(4).over(STEPS, 1e-2).withMaskRatio(.5);
    }

    Stage stage(Recipe recipe, MaskStrategy masks, double logitWeight) {
        return new Stage(
                "students",
                recipe,
                recipe.settings(),
                Recipe.defaults().settings(),
                context -> setUp(recipe, masks, logitWeight, context),
                new Stage.Export(
                        RESULT,
                        SmallNetworks.config(Modality.RGB).toMetadata(),
                        (setup, file, metadata) -> Checkpoint.write(file, setup.trained(), metadata)));
    }

    private Stage.Setup setUp(Recipe recipe, MaskStrategy masks, double logitWeight, RunContext context) {
        int classes = clips.classes().size();
        SmallNetworks.Made student = SmallNetworks.make(context.device(), Modality.RGB, classes, 1, false);
        Params projectors = Params.random(context.device(), DType.F32, 9);
        List<FeatureMatch.Match> matches = new ArrayList<>();
        for (Modality modality : List.of(Modality.RGB, Modality.POSE)) {
            SmallNetworks.Made teacher = SmallNetworks.make(
                    context.device(), modality, classes, modality.id().length(), true);
            teacher.parameters().forEach((name, weight) -> taught.put(modality + name, weight.toFloats()));
            matches.add(new FeatureMatch.Match(
                    new Teacher(modality, watched(modality, teacher)),
                    new Projector(projectors.at(modality.id()), SmallNetworks.WIDTH),
                    1));
        }
        List<Teacher> teachers =
                matches.stream().map(FeatureMatch.Match::teacher).toList();
        Map<String, Tensor> trained = new LinkedHashMap<>(student.parameters());
        trained.putAll(projectors.all());
        Objective both = new Weighted(List.of(
                new Weighted.Term(new FeatureMatch(matches), 1, FEATURES),
                new Weighted.Term(
                        new LogitDistillation(teachers, ClipBatches.ACTION, 2, 1, .5, Weighting.perSample(1)),
                        logitWeight,
                        LOGITS)));
        BatchSource batches = new ClipBatches(clips, Modality.ALL, true, recipe, recipe.seed(), recipe.seed());
        return new Stage.Setup(
                trained,
                Modality.RGB,
                student.network(),
                teachers,
                List.of(new Stage.Part(batches, both, 11)),
                masks,
                10);
    }

    /** A teacher that, at the end of the run, still has the weights with which it began. */
    private Network watched(Modality modality, SmallNetworks.Made teacher) {
        return new Network() {
            @Override
            public Outputs forward(Tensor seen, @Nullable TokenMask mask, Noise noise) {
                return teacher.network().forward(seen, mask, noise);
            }

            @Override
            public TokenGrid grid() {
                return teacher.network().grid();
            }

            @Override
            public void close() {
                teacher.parameters()
                        .forEach((name, weight) ->
                                assertArrayEquals(taught.remove(modality + name), weight.toFloats(), name));
                teacher.network().close();
            }
        };
    }
}
