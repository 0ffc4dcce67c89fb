package tessera.tensor;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Function;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/**
 * One forward and backward pass of a sample: output and gradients, their types, and the inputs before and after it.
 *
 * @param results the output, then the gradient of each input, empty where it has none, then those beside other uses
 */
public record SampleRun(List<double[]> results, List<DType> types, List<double[]> before, List<double[]> after) {
    /**
     * Where and how a sample runs.
     *
     * @param offset elements by which every input misses its natural alignment
     */
    record Place(Device device, DType type, int offset) {
        private static final List<DType> TYPES = List.of(DType.F32, DType.BF16);
        private static final List<Integer> OFFSETS = List.of(0, 1);

        /** How many places a GPU has. */
        static final int PER_GPU = TYPES.size() * OFFSETS.size();

        /** Every type that the device trains in, aligned and not. */
        static List<Place> of(Device device) {
            return TYPES.stream()
                    .filter(device::computes)
                    .flatMap(type -> OFFSETS.stream().map(offset -> new Place(device, type, offset)))
                    .toList();
        }

        boolean runs(Sample sample) {
            return device.isHost() || runsOnGpus(sample);
        }

        @Override
        public String toString() {
            return device + " " + type + (offset == 0 ? "" : " misaligned");
        }
    }

    /** F64 exists on the CPU alone. */
    static boolean runsOnGpus(Sample sample) {
        return !(sample.op() instanceof ElementwiseOps.Cast cast && cast.target() == DType.F64);
    }

    /** Runs every sample of the catalogue, as below. */
    public static int all(Device device) {
        return all(device, () -> false);
    }

    /**
     * Runs every sample of the catalogue once, in the places of a device in turn; compares nothing.
     *
     * @param late asked before each, which is left out where the answer is yes
     * @return how many were run
     */
    public static int all(Device device, BooleanSupplier late) {
        List<Place> places = Place.of(device);
        int runs = 0;
        for (Sample sample : OpCatalogue.samples()) {
            int turn = runs;
            Optional<Place> next = IntStream.range(0, places.size())
                    .mapToObj(i -> places.get((turn + i) % places.size()))
                    .filter(place -> place.runs(sample))
                    .findFirst();
            if (next.isPresent() && !late.getAsBoolean()) {
                of(sample, sample.call(), next.get(), next.get().type);
                runs++;
            }
        }
        return runs;
    }

    /**
     * Runs a sample once.
     *
     * @param call of the sample, its own or its reference
     * @param values type to which the inputs' values are rounded
     */
    static SampleRun of(Sample sample, OpCatalogue.Call call, Place place, DType values) {
        try (Scope scope = Scope.open()) {
            Tensor[] inputs = sample.make(place.device, place.type, values, place.offset);
            SampleRun run = new SampleRun(new ArrayList<>(), new ArrayList<>(), values(inputs), new ArrayList<>());
            for (int i = 0; i < inputs.length; i++) {
                Input input = sample.inputs().get(i);
                inputs[i] = inputs[i].detach().requiresGrad(sample.differentiable() && input.differentiable());
            }
            Tensor output = call.apply(inputs);
            run.add(output);
            if (sample.differentiable()) {
                output.backward(OpCatalogue.normal(output.shape().toArray())
                        .make(place.device, output.dtype(), values, place.offset));
                run.addGradients(inputs);
                besideOtherUses(call, inputs, values);
                run.addGradients(inputs);
            }
            run.after.addAll(values(inputs));
            return run;
        }
    }

    private void add(Tensor result) {
        results.add(result.toDoubles());
        types.add(result.dtype());
    }

    private void addGradients(Tensor[] inputs) {
        for (Tensor input : inputs) {
            Tensor gradient = input.grad();
            add(gradient == null ? Tensor.zeros(0) : gradient);
            input.zeroGrad();
        }
    }

    /** A backward pass in which the inputs, results themselves, have a gradient before the operation gives its own. */
    private static void besideOtherUses(OpCatalogue.Call call, Tensor[] inputs, DType values) {
        Tensor[] used = inputs.clone();
        for (int i = 0; i < used.length; i++) {
            used[i] = inputs[i].requiresGrad() ? inputs[i].mul(1) : inputs[i];
        }
        Tensor total = weighted(call.apply(used), OpCatalogue::normal, values);
        for (Tensor input : used) {
            if (input.requiresGrad()) {
                total = total.add(weighted(input, OpCatalogue::positive, values));
            }
        }
        total.backward();
    }

    private static Tensor weighted(Tensor x, Function<long[], Input> weights, DType values) {
        Tensor single = x.to(DType.F32);
        Tensor factors = weights.apply(x.shape().toArray()).make(x.device(), DType.F32, values, 0);
        return single.mul(factors).sum().to(Device.cpu());
    }

    private static List<double[]> values(Tensor[] tensors) {
        return Stream.of(tensors).map(Tensor::toDoubles).toList();
    }
}
