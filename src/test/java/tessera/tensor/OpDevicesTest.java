package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.PlainDevice;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/**
 * Every operation of the catalogue on every device, in every type that the device trains in, aligned and not, against the
 * f64 reference.
 */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class OpDevicesTest {
    private static final Device PLAIN = PlainDevice.create();
    private static final List<DType> TYPES = List.of(DType.F32, DType.BF16);
    private static final List<Integer> OFFSETS = List.of(0, 1);

    /** A reader of the build's log sees what it did not test. */
    @Test
    void tellsWhatIsNotTested() {
        int checks = 3;
        int places = TYPES.size() * OFFSETS.size();
        long samples =
                OpCatalogue.samples().stream().filter(OpDevicesTest::runsOnGpus).count();
        for (String kind : TestDevices.absent()) {
            System.out.println("tests skipped: " + (long) checks * places * samples + " of operations on " + kind);
        }
    }

    /** Products with bf16 data save a parameter's shadow, which is written with the parameter. */
    @Test
    void aChangedParameterHasAChangedShadow() {
        for (Device device : TestDevices.cuda()) {
            try (Scope scope = Scope.open()) {
                Tensor weight = Tensor.ones(3, 8).to(device).withShadow();
                Tensor x = Tensor.ones(2, 8).to(device).to(DType.BF16).requiresGrad(true);
                Tensor loss = x.linear(weight, null).to(DType.F32).sum();
                weight.copyFrom(Tensor.zeros(3, 8));
                String message = requireNonNull(assertThrows(IllegalStateException.class, loss::backward)
                        .getMessage());
                assertTrue(
                        message.startsWith(
                                "linear: " + requireNonNull(weight.shadow()).describe()),
                        message);
                assertTrue(message.contains("was changed in place by copyFrom"), message);
                x.linear(weight, null).to(DType.F32).sum().backward();
                Close.relative(requireNonNull(x.grad()).toDoubles(), new double[16], 0, "gradient by the new weight");
            }
        }
    }

    private interface Check {
        void accept(Sample sample, Place place) throws Throwable;
    }

    /**
     * Where and how a sample runs.
     *
     * @param offset elements by which every input misses its natural alignment
     */
    private record Place(Device device, DType type, int offset) {
        @Override
        public String toString() {
            return device + " " + type + (offset == 0 ? "" : " misaligned");
        }
    }

    @TestFactory
    Stream<DynamicTest> devicesAgreeWithTheReference() {
        return each((sample, place) -> {
            Run exact = run(sample, sample.reference(), new Place(Device.cpu(), DType.F64, 0), place.type);
            Run plain = place.type == DType.BF16
                    ? run(sample, sample.call(), new Place(PLAIN, place.type, 0), place.type)
                    : exact;
            Run actual = run(sample, sample.call(), place, place.type);
            for (int i = 0; i < exact.results.size(); i++) {
                int inputs = sample.inputs().size();
                String what = i == 0
                        ? "output"
                        : "gradient of input " + (i - 1) % inputs + (i > inputs ? " beside another use" : "");
                double[] expected = exact.results.get(i);
                double bound = PlainDevice.bound(actual.types.get(i), plain.results.get(i), expected);
                closeTo(actual.results.get(i), expected, bound, what);
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> runsAreBitEqual() {
        return each((sample, place) -> {
            Run first = run(sample, sample.call(), place, place.type);
            for (int repeat = 0; repeat < 2; repeat++) {
                Run again = run(sample, sample.call(), place, place.type);
                for (int i = 0; i < first.results.size(); i++) {
                    assertArrayEquals(first.results.get(i), again.results.get(i));
                }
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> inputsStayAsTheyAre() {
        return each((sample, place) -> {
            Run run = run(sample, sample.call(), place, place.type);
            for (int i = 0; i < run.before.size(); i++) {
                if (i != sample.changes()) {
                    assertArrayEquals(run.before.get(i), run.after.get(i), "input " + i);
                }
            }
        });
    }

    /** F64 exists on the CPU alone. */
    private static boolean runsOnGpus(Sample sample) {
        return !(sample.op() instanceof ElementwiseOps.Cast cast && cast.target() == DType.F64);
    }

    /** The samples in every place that can run them. */
    private static Stream<DynamicTest> each(Check check) {
        List<Place> places = new ArrayList<>();
        for (Device device : TestDevices.all()) {
            for (DType type : TYPES) {
                for (int offset : OFFSETS) {
                    if (device.computes(type)) {
                        places.add(new Place(device, type, offset));
                    }
                }
            }
        }
        return places.stream()
                .flatMap(place -> OpCatalogue.samples().stream()
                        .filter(sample -> place.device.isHost() || runsOnGpus(sample))
                        .map(sample -> DynamicTest.dynamicTest(place + " " + sample, () -> {
                            try (Scope scope = Scope.open()) {
                                check.accept(sample, place);
                            }
                        })));
    }

    /**
     * One forward and backward pass: output and gradients, their types, and the inputs before and after it.
     *
     * @param results the output, then the gradient of each input, empty where it has none, then those beside other uses
     */
    private record Run(List<double[]> results, List<DType> types, List<double[]> before, List<double[]> after) {
        void add(Tensor result) {
            results.add(result.toDoubles());
            types.add(result.dtype());
        }

        void addGradients(Tensor[] inputs) {
            for (Tensor input : inputs) {
                Tensor gradient = input.grad();
                add(gradient == null ? Tensor.zeros(0) : gradient);
                input.zeroGrad();
            }
        }
    }

    private static Run run(Sample sample, OpCatalogue.Call call, Place place, DType values) {
        try (Scope scope = Scope.open()) {
            Tensor[] inputs = sample.make(place.device, place.type, values, place.offset);
            Run run = new Run(new ArrayList<>(), new ArrayList<>(), values(inputs), new ArrayList<>());
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

    private static void closeTo(double[] actual, double[] expected, double bound, String what) {
        double[] zeros = new double[expected.length];
        if (Arrays.equals(expected, zeros)) {
            for (double value : actual) {
                Close.within(value, 0, 1e-6, what);
            }
        } else {
            Close.relative(actual, expected, bound, what);
        }
    }
}
