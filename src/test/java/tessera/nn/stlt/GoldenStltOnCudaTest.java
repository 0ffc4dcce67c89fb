package tessera.nn.stlt;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import tessera.Close;
import tessera.FakeCuda;
import tessera.Golden;
import tessera.GoldenTensors;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.Graph.Variables;
import tessera.nn.DropPath;
import tessera.nn.Params;
import tessera.tensor.Autograd;
import tessera.tensor.RecordedCalls;
import tessera.tensor.Scope;
import tessera.tensor.Shape;
import tessera.tensor.Tensor;
import tessera.tensor.TestDevices;

/** The model of {@link GoldenStltTest} on a CUDA device, real or fake; recorded, and in bf16. */
@Tag(FakeCuda.TAG)
class GoldenStltOnCudaTest extends GoldenStltTest {
    @BeforeEach
    void needsDevice() {
        assumeFalse(TestDevices.cuda().isEmpty(), FakeCuda::absence);
    }

    @Override
    Device device() {
        return Device.cuda(0);
    }

    /** Features and gradients of calls that differ in boxes, classes, padding and what is dropped. */
    private static List<Map<String, float[]>> training(Device device) {
        StltConfig config = StltConfig.of(3, 4, 16, 2, 1, 1);
        try (Scope scope = Scope.open()) {
            Params params = Params.random(device, DType.F32, 3);
            Tensor cotangent = Tensor.normal(device, DType.F32, Shape.of(2, 16), 1, 1, 0, 1);
            RecordedCalls.Input clips = new RecordedCalls.Input(DType.F32, Shape.of(2, 3, 4, 1, 8));
            try (StltModel model = new StltModel(params, config);
                    RecordedCalls calls = new RecordedCalls(device, true, List.of(clips))) {
                RecordedCalls.Work work = (inputs, variables) -> {
                    params.all().values().forEach(Tensor::zeroGrad);
                    DropPath drop = new DropPath(0, variables.seed(), variables.stream());
                    Tensor features = model.features(inputs.getFirst(), null, drop);
                    features.backward(cotangent);
                    Map<String, Tensor> results = new LinkedHashMap<>(Map.of("features", features.detach()));
                    params.all().forEach((name, p) -> results.put(name, requireNonNull(p.grad(), name)));
                    return results;
                };
                return IntStream.range(0, 4)
                        .mapToObj(call -> {
                            calls.input(0).copyFrom(Boxes.random(config, 2, call));
                            return calls.run("step", new Variables(7, call, 0, 1), work);
                        })
                        .toList();
            }
        }
    }

    @Test
    void aRecordedTrainingStepFollowsItsBoxesAndNumbers() {
        List<Map<String, float[]>> expected = training(Device.cpu());
        List<Map<String, float[]>> actual = training(device());
        for (int call = 0; call < expected.size(); call++) {
            Map<String, float[]> here = actual.get(call);
            String which = " of call " + call;
            expected.get(call)
                    .forEach((name, values) ->
                            Close.relative(requireNonNull(here.get(name)), values, 1e-4, name + which));
        }
    }

    @Test
    void bf16GivesF32FeaturesThatAreNearly() {
        Golden golden = Golden.open("stlt");
        try (Scope scope = Scope.open()) {
            Params params = Params.from(device(), DType.F32, GoldenTensors.below(golden, "param.", DType.F32))
                    .computeIn(DType.BF16);
            try (StltModel model = new StltModel(params, CONFIG)) {
                params.addShadows();
                Tensor clips = GoldenTensors.tensor(golden, "input.clips", DType.F32, device());
                double[] expected = new double[3 * 24];
                double[] tokens = golden.doubles("output.tokens");
                for (int b = 0; b < 3; b++) {
                    System.arraycopy(tokens, (b * 5 + 4) * 24, expected, b * 24, 24);
                }
                Tensor features = model.features(clips, null);
                Close.relative(features.toDoubles(), expected, 3e-2, "features");
                features.backward(GoldenTensors.tensor(golden, "input.cotangent", DType.F32, device()));
                String name = "temporal_transformer.layout_embedding.category_box_embeddings.box_embedding.weight";
                Close.relative(
                        requireNonNull(requireNonNull(params.all().get(name)).grad())
                                .toDoubles(),
                        golden.doubles("grad." + name),
                        1e-1,
                        "gradient of " + name);
                DropPath drop = new DropPath(0, 3, 4);
                Params exact = Params.from(Device.cpu(), DType.F32, GoldenTensors.below(golden, "param.", DType.F32));
                try (StltModel reference = new StltModel(exact, CONFIG)) {
                    Close.relative(
                            model.features(clips, null, drop).toDoubles(),
                            reference
                                    .features(clips.to(Device.cpu()), null, drop)
                                    .toDoubles(),
                            5e-2,
                            "features with elements dropped");
                }
                model.pack();
                Close.relative(
                        Autograd.noGrad(() -> model.features(clips, null)).toDoubles(), expected, 3e-2, "packed");
            }
        }
    }
}
