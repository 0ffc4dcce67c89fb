package tessera.nn.videomae;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Close;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.nn.DropPath;
import tessera.nn.Linear;
import tessera.nn.Params;
import tessera.nn.Projector;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;
import tessera.tensor.TokenMask;

/** Small models with random weights against the public implementations. */
class GoldenModelsTest {
    private static final double OUTPUT = 1e-5;
    private static final double GRADIENT = 1e-4;
    private static final Patches IMAGENET =
            new Patches(3, 2, 8, 1, new double[] {.485, .456, .406}, new double[] {.229, .224, .225});
    private static final VideoMaeConfig HUGGING_FACE =
            new VideoMaeConfig(IMAGENET, 8, 32, 32, 64, 2, 4, 32, 1, 2, 1e-6, 1e-5, false, true);

    private static final List<String> MODALITIES = List.of("rgb", "flow", "pose");
    private static final Map<String, Integer> HEADS = Map.of("head_action", 10, "head_verb", 33, "head_noun", 66);

    /** Where the models run. */
    Device device() {
        return Device.cpu();
    }

    private Tensor read(Golden golden, String key) {
        return GoldenTensors.tensor(golden, key, DType.F32, device());
    }

    private TokenMask mask(Golden golden) {
        int[] flat = golden.ints("input.mask");
        long[] shape = golden.shape("input.mask");
        int[][] flags = new int[(int) shape[0]][(int) shape[1]];
        for (int i = 0; i < flat.length; i++) {
            flags[i / flags[0].length][i % flags[0].length] = flat[i];
        }
        TokenMask mask = TokenMask.of(flags);
        return new TokenMask(mask.visible().to(device()), mask.masked().to(device()));
    }

    private static void close(Golden golden, String key, Tensor actual) {
        GoldenTensors.close(actual, golden.doubles(key), OUTPUT, key);
    }

    /** Every reference gradient, under Tessera's names, against the parameter of its name. */
    private static void gradients(Golden golden, Map<String, Tensor> parameters) {
        Map<String, Tensor> expected = named(golden, "grad.");
        for (Map.Entry<String, Tensor> e : expected.entrySet()) {
            Tensor gradient =
                    requireNonNull(requireNonNull(parameters.get(e.getKey())).grad());
            GoldenTensors.close(gradient, e.getValue().toDoubles(), GRADIENT, "gradient of " + e.getKey());
        }
        for (Map.Entry<String, Tensor> e : parameters.entrySet()) {
            if (!expected.containsKey(e.getKey())) {
                assertNull(e.getValue().grad(), "gradient of " + e.getKey());
            }
        }
    }

    private Params params(Golden golden) {
        return Params.from(device(), DType.F32, named(golden, "param."));
    }

    /** Tensors under Tessera's names, which only Hugging Face's differ from. */
    private static Map<String, Tensor> named(Golden golden, String prefix) {
        Map<String, Tensor> tensors = GoldenTensors.below(golden, prefix, DType.F32);
        boolean foreign = golden.metadata().containsKey("transformers");
        return foreign ? VideoMaeNames.translate(tensors) : tensors;
    }

    /** The video as the processor saw it before normalising, frames first and channels last. */
    private Tensor imagenetVideo(Golden golden) {
        Tensor video = read(golden, "input.pixel_values_BTCHW");
        Tensor mean = Tensor.of(new float[] {.485f, .456f, .406f}, 3, 1, 1).to(device());
        Tensor std = Tensor.of(new float[] {.229f, .224f, .225f}, 3, 1, 1).to(device());
        return video.mul(std).add(mean).permute(0, 1, 3, 4, 2);
    }

    @Test
    void huggingFacePretraining() {
        Golden golden = Golden.open("hf-videomae-pretrain");
        try (Scope scope = Scope.open()) {
            Params params = params(golden);
            VideoMaePretraining model = new VideoMaePretraining(params, HUGGING_FACE, 0);
            params.finish();
            Tensor video = imagenetVideo(golden);
            TokenMask mask = mask(golden);
            close(golden, "out.encoder_full", model.encoder().forward(video, null));
            Tensor features = model.encode(video, mask, DropPath.NONE);
            close(golden, "out.encoder_masked", features);
            Tensor prediction = model.reconstruct(features, mask);
            close(golden, "out.decoder_logits", prediction);
            Tensor loss = model.reconstructionLoss(prediction, video, mask);
            close(golden, "out.loss", loss);
            loss.backward();
            gradients(golden, params.all());
        }
    }

    @Test
    void huggingFaceClassifier() {
        Golden golden = Golden.open("hf-videomae-classify");
        try (Scope scope = Scope.open()) {
            Params params = params(golden);
            VideoMaeClassifier model = new VideoMaeClassifier(params, HUGGING_FACE, 10);
            params.finish();
            Tensor logits = model.forward(imagenetVideo(golden), null);
            close(golden, "out.logits", logits);
            Tensor loss = Losses.crossEntropy(logits, read(golden, "input.labels"));
            close(golden, "out.loss", loss);
            loss.backward();
            gradients(golden, params.all());
        }
    }

    private static VideoMaeConfig small(int channels, int size, int patch, double eps) {
        return new VideoMaeConfig(
                Patches.plain(channels, 2, patch), 16, size, size, 64, 2, 4, 32, 1, 2, eps, eps, true, false);
    }

    private Tensor channelsLast(Golden golden, String key) {
        return read(golden, key).permute(0, 2, 3, 4, 1);
    }

    @ParameterizedTest
    @CsvSource({"rgb, 3, 32, 8, .05", "flow, 2, 32, 8, .01", "pose, 21, 8, 2, .01"})
    void pretraining(String modality, int channels, int size, int patch, double lambda) {
        Golden golden = Golden.open("mmcdfsl-pretrain-" + modality);
        try (Scope scope = Scope.open()) {
            Params params = params(golden);
            VideoMaePretraining model = new VideoMaePretraining(params, small(channels, size, patch, 1e-6), 10);
            params.finish();
            TokenMask mask = mask(golden);
            Tensor source = channelsLast(golden, "input.source_BCTHW");
            Tensor target = channelsLast(golden, "input.target_BCTHW");
            close(
                    golden,
                    "out.target_source",
                    model.config().patches().reconstructionTarget(source, mask.masked(), 1e-6, true));
            Tensor features = model.encode(source, mask, DropPath.NONE);
            Tensor prediction = model.reconstruct(features, mask);
            close(golden, "out.reconstruction_source", prediction);
            Tensor logits = model.classify(features, 0, 0, 0);
            close(golden, "out.logits", logits);
            Tensor recSource = model.reconstructionLoss(prediction, source, mask);
            Tensor recTarget = model.reconstructionLoss(
                    model.reconstruct(model.encode(target, mask, DropPath.NONE), mask), target, mask);
            Tensor ce = Losses.crossEntropy(logits, read(golden, "input.labels"));
            close(
                    golden,
                    "out.losses_recsrc_rectgt_ce",
                    Tensor.concat(0, recSource.reshape(1), recTarget.reshape(1), ce.reshape(1)));
            Tensor loss = recSource.add(recTarget).add(ce.mul(lambda));
            close(golden, "out.loss", loss);
            loss.backward();
            gradients(golden, params.all());
        }
    }

    /** A step of MM-CDFSL's distillation: what it computes on the way to the loss. */
    private record Step(Tensor feature, List<Tensor> projected, List<Tensor> targets, Tensor loss) {}

    /** The student, its projectors and the frozen teachers of one batch. */
    private final class Distilled {
        private final Golden golden;
        private final TokenMask mask;
        private final Params params;
        private final VideoMaeClassifier student;
        private final Map<String, Projector> projectors = new LinkedHashMap<>();
        private final Map<String, Tensor> videos = new LinkedHashMap<>();
        private final Map<String, VideoMaeClassifier> teachers = new LinkedHashMap<>();
        private final Map<String, Tensor> frozen = new LinkedHashMap<>();

        Distilled(Golden golden) {
            this.golden = golden;
            mask = mask(golden);
            Map<String, Tensor> trained = GoldenTensors.below(golden, "param.", DType.F32);
            trained.keySet().removeIf(name -> name.startsWith("teacher_"));
            params = Params.from(device(), DType.F32, trained);
            student = new VideoMaeClassifier(params.at("student"), config("rgb"), 0);
            // The public student has them, without a use.
            for (Map.Entry<String, Integer> head : HEADS.entrySet()) {
                Linear.fanIn(
                        params.at("student").at(head.getKey()), config("rgb").embedDim(), head.getValue());
            }
            for (String modality : MODALITIES) {
                Params mlp = params.at("cmt").at("mlp_to_" + modality);
                projectors.put(modality, new Projector(mlp, config("rgb").embedDim()));
                videos.put(modality, channelsLast(golden, "input." + modality + "_BCTHW"));
                teachers.put(modality, teacher(modality));
            }
            params.finish();
        }

        private VideoMaeConfig config(String modality) {
            return switch (modality) {
                case "rgb" -> small(3, 32, 8, 1e-5);
                case "flow" -> small(2, 32, 8, 1e-5);
                default -> small(21, 8, 2, 1e-5);
            };
        }

        private VideoMaeClassifier teacher(String modality) {
            Map<String, Tensor> weights = GoldenTensors.below(golden, "param.teacher_" + modality + ".", DType.F32);
            Params loaded = Params.from(device(), DType.F32, weights);
            VideoMaeClassifier teacher = new VideoMaeClassifier(loaded, config(modality), 0);
            loaded.finish(name -> name.startsWith("head_"));
            loaded.all().forEach((name, parameter) -> {
                parameter.requiresGrad(false);
                frozen.put("teacher_" + modality + "." + name, parameter);
            });
            return teacher;
        }

        private Tensor video(String modality) {
            return Objects.requireNonNull(videos.get(modality));
        }

        Step step() {
            Tensor feature = student.features(video("rgb"), mask.visible());
            List<Tensor> projected = new ArrayList<>();
            List<Tensor> targets = new ArrayList<>();
            projectors.forEach((modality, projector) -> projected.add(projector.forward(feature)));
            teachers.forEach((modality, teacher) ->
                    targets.add(Autograd.noGrad(() -> teacher.features(video(modality), mask.visible()))));
            Tensor loss = Losses.features(projected, targets, 1, 1, 1);
            loss.backward();
            return new Step(feature, projected, targets, loss);
        }
    }

    @Test
    void distillation() {
        Golden golden = Golden.open("mmcdfsl-distill");
        try (Scope scope = Scope.open()) {
            Distilled distilled = new Distilled(golden);
            close(golden, "out.student_feature_unmasked", distilled.student.features(distilled.video("rgb"), null));
            Step step = distilled.step();
            close(golden, "out.student_feature", step.feature());
            List<Tensor> losses = new ArrayList<>();
            for (int m = 0; m < MODALITIES.size(); m++) {
                close(
                        golden,
                        "out.teacher_" + MODALITIES.get(m) + "_feature",
                        step.targets().get(m));
                close(
                        golden,
                        "out.projected_" + MODALITIES.get(m),
                        step.projected().get(m));
                losses.add(Losses.meanSquaredError(
                                step.projected().get(m), step.targets().get(m))
                        .reshape(1));
            }
            close(golden, "out.losses_rgb_flow_pose", Tensor.concat(0, losses.toArray(Tensor[]::new)));
            close(golden, "out.loss", step.loss());
            gradients(golden, distilled.params.all());
        }
    }

    /**
     * What three steps changed, not the weights themselves, which hardly move. An update of AdamW depends on the ratios of an
     * element's gradients alone, so it inherits their tolerance; the first step takes only their signs, and no gradient of the
     * file but the exact zeros of dead units is small enough for rounding to turn its sign. The weights' own rounding comes to
     * half of the tolerance where it shows most, in the norms: six roundings to 2^-24 of a weight of 1, in each of two
     * implementations, beside updates of 2.4e-3.
     */
    @Test
    void threeStepsOfDistillation() {
        Golden golden = Golden.open("mmcdfsl-distill");
        try (Scope scope = Scope.open()) {
            Distilled distilled = new Distilled(golden);
            Map<String, Tensor> trained = distilled.params.all();
            try (AdamW optimiser = new AdamW(trained, .9, .999, 1e-8, .05, name -> true)) {
                for (String loss : List.of("out.loss", "out.loss_step1", "out.loss_step2")) {
                    close(golden, loss, distilled.step().loss());
                    optimiser.step(1e-3);
                }
            }
            Set<String> after =
                    GoldenTensors.below(golden, "after3.", DType.F32).keySet();
            assertEquals(after, trained.keySet());
            trained.forEach((name, parameter) -> {
                double[] start = golden.doubles("param." + name);
                double[] end = golden.doubles("after3." + name);
                if (name.contains(".head_")) {
                    assertArrayEquals(start, end, name);
                    assertArrayEquals(start, parameter.toDoubles(), name);
                } else {
                    double[] moved = difference(parameter.toDoubles(), start);
                    Close.relative(moved, difference(end, start), GRADIENT, "update of " + name);
                }
            });
        }
    }

    /** To the bit, the norms' too, though the optimiser is told of them: frozen parameters are not its business. */
    @Test
    void teachersStayAsTheyWere() {
        Golden golden = Golden.open("mmcdfsl-distill");
        try (Scope scope = Scope.open()) {
            Distilled distilled = new Distilled(golden);
            Map<String, Tensor> all = new LinkedHashMap<>(distilled.params.all());
            all.putAll(distilled.frozen);
            try (AdamW optimiser = new AdamW(all, .9, .999, 1e-8, .05, name -> true)) {
                for (int step = 0; step < 3; step++) {
                    distilled.step();
                    distilled.frozen.forEach((name, parameter) -> assertNull(parameter.grad(), name));
                    optimiser.step(1e-3);
                }
            }
            Map<String, Tensor> loaded = GoldenTensors.below(golden, "param.", DType.F32);
            loaded.keySet().removeIf(name -> !name.startsWith("teacher_") || name.contains(".head_"));
            assertEquals(loaded.keySet(), distilled.frozen.keySet());
            loaded.forEach((name, parameter) -> assertArrayEquals(
                    parameter.toDoubles(),
                    requireNonNull(distilled.frozen.get(name)).toDoubles(),
                    name));
        }
    }

    private static double[] difference(double[] a, double[] b) {
        double[] d = new double[a.length];
        for (int i = 0; i < a.length; i++) {
            d[i] = a[i] - b[i];
        }
        return d;
    }
}
