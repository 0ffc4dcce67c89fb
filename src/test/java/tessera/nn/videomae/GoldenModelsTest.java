package tessera.nn.videomae;

import static org.junit.jupiter.api.Assertions.assertNull;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.DropPath;
import tessera.nn.Params;
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
            Tensor gradient = parameters.get(e.getKey()).grad();
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

    /**
     * The reference file holds the student and the projectors as they were after its three optimiser steps. The student
     * started as a copy of the RGB teacher, so features and losses can be compared; what depends on the projectors' start
     * cannot.
     */
    @Test
    void distillation() {
        Golden golden = Golden.open("mmcdfsl-distill");
        try (Scope scope = Scope.open()) {
            TokenMask mask = mask(golden);
            List<Tensor> projected = new ArrayList<>();
            List<Tensor> targets = new ArrayList<>();
            double[] losses = golden.doubles("out.losses_rgb_flow_pose");
            for (String modality : List.of("rgb", "flow", "pose")) {
                VideoMaeClassifier teacher = teacher(golden, modality);
                Tensor video = channelsLast(golden, "input." + modality + "_BCTHW");
                Tensor target = teacher.features(video, mask.visible()).detach();
                close(golden, "out.teacher_" + modality + "_feature", target);
                if (modality.equals("rgb")) {
                    close(golden, "out.student_feature", target);
                    close(golden, "out.student_feature_unmasked", teacher.features(video, null));
                }
                Tensor projection = read(golden, "out.projected_" + modality).requiresGrad(true);
                double[] loss = {losses[targets.size()]};
                GoldenTensors.close(Losses.meanSquaredError(projection, target), loss, OUTPUT, "loss of " + modality);
                projected.add(projection);
                targets.add(target);
            }
            Tensor loss = Losses.features(projected, targets, 1, 1, 1);
            close(golden, "out.loss", loss);
            loss.backward();
            for (int m = 0; m < 3; m++) {
                String modality = List.of("rgb", "flow", "pose").get(m);
                String bias = "grad.cmt.mlp_to_" + modality + ".2.bias";
                GoldenTensors.close(projected.get(m).grad().sum(0), golden.doubles(bias), GRADIENT, bias);
            }
        }
    }

    private VideoMaeClassifier teacher(Golden golden, String modality) {
        VideoMaeConfig config = switch (modality) {
            case "rgb" -> small(3, 32, 8, 1e-5);
            case "flow" -> small(2, 32, 8, 1e-5);
            default -> small(21, 8, 2, 1e-5);
        };
        Map<String, Tensor> weights = GoldenTensors.below(golden, "param.teacher_" + modality + ".", DType.F32);
        Params params = Params.from(device(), DType.F32, weights);
        VideoMaeClassifier teacher = new VideoMaeClassifier(params, config, 0);
        params.finish(name -> name.startsWith("head_"));
        return teacher;
    }
}
