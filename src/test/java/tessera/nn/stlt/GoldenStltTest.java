package tessera.nn.stlt;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.Dropout;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.Scope;
import tessera.tensor.Tensor;

/**
 * A small STLT with random weights, frames of 6, 4, 1 and no boxes, against one made of PyTorch's layers in f64. The names in the
 * file are those of the authors' code.
 */
class GoldenStltTest {
    static final StltConfig CONFIG = StltConfig.of(4, 6, 24, 3, 2, 3);

    private static final double OUTPUT = 1e-5;
    private static final double GRADIENT = 1e-4;

    /** Where the model runs. */
    Device device() {
        return Device.cpu();
    }

    private Tensor read(Golden golden, String key) {
        return GoldenTensors.tensor(golden, key, DType.F32, device());
    }

    private static void close(Golden golden, String key, Tensor actual) {
        GoldenTensors.close(actual, golden.doubles(key), OUTPUT, key);
    }

    @Test
    void outputsAndGradientsArePytorchs() {
        Golden golden = Golden.open("stlt");
        try (Scope scope = Scope.open()) {
            Params params = Params.from(device(), DType.F32, GoldenTensors.below(golden, "param.", DType.F32));
            try (StltModel model = new StltModel(params, CONFIG)) {
                params.finish();
                Tensor clips = read(golden, "input.clips");
                Tensor features = model.features(clips, null);
                Tensor tokens = model.tokens(model.layouts(clips, Dropout.NONE), Dropout.NONE);
                close(golden, "output.layout", model.layouts(clips, Dropout.NONE));
                close(golden, "output.tokens", tokens);
                GoldenTensors.close(features, tokens.slice(1, 4, 5).toDoubles(), 0, "the last token");
                features.backward(read(golden, "input.cotangent"));
                Map<String, Tensor> expected = GoldenTensors.below(golden, "grad.", DType.F32);
                assertEquals(params.all().keySet(), expected.keySet());
                params.all()
                        .forEach((name, parameter) -> GoldenTensors.close(
                                requireNonNull(parameter.grad(), name),
                                requireNonNull(expected.get(name)).toDoubles(),
                                GRADIENT,
                                "gradient of " + name));
            }
        }
    }

    @Test
    void packedWeightsGiveTheSame() {
        Golden golden = Golden.open("stlt");
        try (Scope scope = Scope.open()) {
            Params params = Params.from(device(), DType.F32, GoldenTensors.below(golden, "param.", DType.F32));
            try (StltModel model = new StltModel(params, CONFIG)) {
                model.pack();
                Tensor clips = read(golden, "input.clips");
                Tensor tokens = Autograd.noGrad(() -> model.tokens(model.layouts(clips, Dropout.NONE), Dropout.NONE));
                close(golden, "output.tokens", tokens);
            }
        }
    }
}
