package tessera.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import tessera.MemoryNow;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.nn.AdamW;
import tessera.tensor.OpCatalogue.Sample;

/** Ten thousand steps, in each of which every operation has its forward and backward pass: what stays behind. */
class EnduringOpsTest {
    private static final int STEPS = 10_000;
    /** Steps after which all memory was asked for and most code is compiled. */
    private static final int WARM = STEPS / 2;

    /** Of each operation the smallest call that has a gradient, if one has, of more than a few elements. */
    private static List<Sample> smallest() {
        Map<Class<? extends Op>, Sample> chosen = new LinkedHashMap<>();
        OpCatalogue.samples().stream()
                .filter(sample -> size(sample) > 3)
                .sorted(Comparator.comparing((Sample sample) -> !sample.differentiable())
                        .thenComparingLong(EnduringOpsTest::size))
                .forEach(sample -> chosen.putIfAbsent(sample.type(), sample));
        return List.copyOf(chosen.values());
    }

    private static long size(Sample sample) {
        return sample.inputs().stream()
                .mapToLong(input -> input.shape().count())
                .sum();
    }

    /** A call with the parameters that it has instead of the inputs that a gradient goes to, from which it learns. */
    private static Tensor[] parameters(Device device, Sample sample, String name, Map<String, Tensor> parameters) {
        Tensor[] inputs = sample.make(device, DType.F32);
        for (int i = 0; i < inputs.length; i++) {
            if (sample.differentiable() && sample.inputs().get(i).differentiable() && i != sample.changes()) {
                inputs[i] = inputs[i].contiguous().detach().requiresGrad(true);
                parameters.put(name + i, inputs[i]);
            }
        }
        return inputs;
    }

    @Test
    void memoryIsFlatWhileEveryOperationLearns() {
        List<Sample> samples = smallest();
        assertEquals(OpCatalogue.samples().stream().map(Sample::type).distinct().count(), samples.size(), "operations");
        Device device = Device.cpu(2);
        MemoryNow warm = null;
        try (Scope all = Scope.open()) {
            Map<String, Tensor> parameters = new LinkedHashMap<>();
            List<Tensor[]> inputs = new ArrayList<>();
            for (int i = 0; i < samples.size(); i++) {
                inputs.add(parameters(device, samples.get(i), i + " ", parameters));
            }
            try (AdamW optimiser = new AdamW(parameters, .9, .999, 1e-8, 0, name -> false)) {
                for (int step = 1; step <= STEPS; step++) {
                    for (int i = 0; i < samples.size(); i++) {
                        call(samples.get(i), inputs.get(i));
                    }
                    optimiser.step(1e-8);
                    if (step == WARM) {
                        warm = MemoryNow.read(device);
                    }
                }
            }
            MemoryNow end = MemoryNow.read(device);
            assertNotNull(warm);
            assertEquals(
                    warm.device().liveBuffers() - 2L * parameters.size(),
                    end.device().liveBuffers(),
                    "live buffers");
            end.requireNoGrowthSince(warm);
        }
    }

    private static void call(Sample sample, Tensor[] kept) {
        try (Scope scope = Scope.open()) {
            Tensor[] inputs = kept.clone();
            if (sample.changes() >= 0) {
                Tensor old = inputs[sample.changes()];
                inputs[sample.changes()] = Tensor.empty(old.device(), old.dtype(), old.shape());
                inputs[sample.changes()].copyFrom(old);
            }
            Tensor result = sample.call().apply(inputs);
            if (result.requiresGrad()) {
                result.backward(Tensor.full(result.device(), result.dtype(), result.shape(), 1));
            }
        }
    }
}
