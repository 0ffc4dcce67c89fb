package tessera.nn.swin;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Params;
import tessera.nn.TokenGrid;
import tessera.tensor.Autograd;
import tessera.tensor.Losses;
import tessera.tensor.Patches;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/** A small Swin3D with random weights against torchvision's; the padded one has sizes that are no multiple of patch or window. */
class GoldenSwinTest {
    private static final double OUTPUT = 1e-5;
    private static final double GRADIENT = 1e-4;

    /** Where the models run. */
    Device device() {
        return Device.cpu();
    }

    /** What they compute in. */
    DType dtype() {
        return DType.F32;
    }

    @ParameterizedTest
    @CsvSource({"even, 8, 32, 32", "padded, 6, 36, 28"})
    void matchesTorchvision(String name, int frames, int height, int width) {
        Golden golden = Golden.open("swin3d-" + name);
        SwinConfig config = new SwinConfig(
                Patches.plain(3, 2, 4),
                frames,
                height,
                width,
                24,
                List.of(2, 2),
                List.of(2, 4),
                new TokenGrid(2, 4, 4),
                1e-5);
        try (Scope scope = Scope.open()) {
            Map<String, Tensor> weights = GoldenTensors.below(golden, "param.", dtype());
            Params params = Params.from(device(), dtype(), weights);
            try (SwinModel model = new SwinModel(params, config, 10)) {
                params.finish();
                Tensor clips = GoldenTensors.tensor(golden, "input.video_BCTHW", dtype(), device())
                        .permute(0, 2, 3, 4, 1);
                Tensor logits = model.forward(clips);
                GoldenTensors.close(logits, golden.doubles("out.logits"), OUTPUT, "logits");
                Tensor labels = GoldenTensors.tensor(golden, "input.labels", dtype(), device());
                Tensor loss = Losses.crossEntropy(logits, labels);
                GoldenTensors.close(loss, golden.doubles("out.loss"), OUTPUT, "loss");
                loss.backward();
                Map<String, Tensor> gradients = GoldenTensors.below(golden, "grad.", dtype());
                assertEquals(params.all().keySet(), gradients.keySet());
                params.all()
                        .forEach((parameter, tensor) -> GoldenTensors.close(
                                requireNonNull(tensor.grad()),
                                requireNonNull(gradients.get(parameter)).toDoubles(),
                                GRADIENT,
                                "gradient of " + parameter));
                model.pack();
                Autograd.noGrad(() -> {
                    GoldenTensors.close(
                            model.forward(clips), golden.doubles("out.logits"), OUTPUT, "logits of packed weights");
                    return clips;
                });
            }
        }
    }
}
