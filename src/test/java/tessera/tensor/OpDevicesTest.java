package tessera.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.function.ThrowingConsumer;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.CudaDevice;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/** Every operation of the catalogue on every device against the f64 reference. */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class OpDevicesTest {
    /** Bound on the squared error of f32 over the squared norm of the f64 reference. */
    private static final double SQUARED_ERROR = 1e-9;

    /** A reader of the build's log sees what it did not test. */
    @Test
    void tellsWhatIsNotTested() {
        long samples = each(Device.cpu(), sample -> {}).count();
        for (String kind : TestDevices.absent()) {
            System.out.println("tests skipped: " + 3 * samples + " on " + kind);
        }
    }

    @TestFactory
    Stream<DynamicTest> devicesAgreeWithTheReference() {
        return TestDevices.all().stream()
                .flatMap(device -> each(device, sample -> {
                    Run exact = run(sample, sample.reference(), Device.cpu(), DType.F64);
                    Run rounded = run(sample, sample.call(), device, DType.F32);
                    for (int i = 0; i < exact.results.size(); i++) {
                        String what = i == 0 ? "output" : "gradient of input " + (i - 1);
                        closeTo(rounded.results.get(i), exact.results.get(i), what);
                    }
                }));
    }

    @TestFactory
    Stream<DynamicTest> runsAreBitEqual() {
        return TestDevices.all().stream()
                .flatMap(device -> each(device, sample -> {
                    Run first = run(sample, sample.call(), device, DType.F32);
                    for (int repeat = 0; repeat < 2; repeat++) {
                        Run again = run(sample, sample.call(), device, DType.F32);
                        for (int i = 0; i < first.results.size(); i++) {
                            assertArrayEquals(first.results.get(i), again.results.get(i));
                        }
                    }
                }));
    }

    @TestFactory
    Stream<DynamicTest> inputsStayAsTheyAre() {
        return TestDevices.all().stream()
                .flatMap(device -> each(device, sample -> {
                    Run run = run(sample, sample.call(), device, DType.F32);
                    for (int i = 0; i < run.before.size(); i++) {
                        if (i != sample.changes()) {
                            assertArrayEquals(run.before.get(i), run.after.get(i), "input " + i);
                        }
                    }
                }));
    }

    /** The samples that a device can run: f64 exists on the CPU alone. */
    private static Stream<DynamicTest> each(Device device, ThrowingConsumer<Sample> check) {
        return OpCatalogue.samples().stream()
                .filter(sample -> !(device instanceof CudaDevice
                        && sample.op() instanceof ViewOps.Cast cast
                        && cast.target() == DType.F64))
                .map(sample -> DynamicTest.dynamicTest(device + " " + sample, () -> {
                    try (Scope scope = Scope.open()) {
                        check.accept(sample);
                    }
                }));
    }

    /** Output and gradients of one forward and backward pass, and the inputs before and after it. */
    private record Run(List<double[]> results, List<double[]> before, List<double[]> after) {}

    private static Run run(Sample sample, OpCatalogue.Call call, Device device, DType floating) {
        try (Scope scope = Scope.open()) {
            Tensor[] inputs = sample.make(device, floating);
            List<double[]> before = values(inputs);
            List<double[]> results = new ArrayList<>();
            for (int i = 0; i < inputs.length; i++) {
                Input input = sample.inputs().get(i);
                inputs[i] = inputs[i].detach().requiresGrad(sample.differentiable() && input.differentiable());
            }
            Tensor output = call.apply(inputs);
            results.add(output.toDoubles());
            if (sample.differentiable()) {
                output.backward(OpCatalogue.normal(output.shape().toArray()).make(device, output.dtype()));
                for (Tensor input : inputs) {
                    Tensor gradient = input.grad();
                    results.add(gradient == null ? new double[0] : gradient.toDoubles());
                }
            }
            return new Run(results, before, values(inputs));
        }
    }

    private static List<double[]> values(Tensor[] tensors) {
        return Stream.of(tensors).map(Tensor::toDoubles).toList();
    }

    private static void closeTo(double[] actual, double[] expected, String what) {
        double[] zeros = new double[expected.length];
        if (Arrays.equals(expected, zeros)) {
            for (double value : actual) {
                Close.within(value, 0, 1e-6, what);
            }
        } else {
            Close.relative(actual, expected, Math.sqrt(SQUARED_ERROR), what);
        }
    }
}
