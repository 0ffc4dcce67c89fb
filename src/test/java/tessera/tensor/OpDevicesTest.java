package tessera.tensor;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import tessera.Close;
import tessera.FakeCuda;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.kernels.cpu.scalar.PlainDevice;
import tessera.tensor.OpCatalogue.Sample;
import tessera.tensor.SampleRun.Place;

/**
 * Every operation of the catalogue on every device, in every type that the device trains in, aligned and not, against the
 * f64 reference.
 */
@Tag(FakeCuda.TAG)
@Tag(FakeCuda.EXACT)
class OpDevicesTest {
    private static final Device PLAIN = PlainDevice.create();

    /** A reader of the build's log sees what it did not test. */
    @Test
    void tellsWhatIsNotTested() {
        int checks = 3;
        int places = Place.PER_GPU;
        long samples =
                OpCatalogue.samples().stream().filter(SampleRun::runsOnGpus).count();
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

    @TestFactory
    Stream<DynamicTest> devicesAgreeWithTheReference() {
        return each((sample, place) -> {
            SampleRun exact =
                    SampleRun.of(sample, sample.reference(), new Place(Device.cpu(), DType.F64, 0), place.type());
            SampleRun plain = place.type() == DType.BF16
                    ? SampleRun.of(sample, sample.call(), new Place(PLAIN, place.type(), 0), place.type())
                    : exact;
            SampleRun actual = SampleRun.of(sample, sample.call(), place, place.type());
            for (int i = 0; i < exact.results().size(); i++) {
                int inputs = sample.inputs().size();
                String what = i == 0
                        ? "output"
                        : "gradient of input " + (i - 1) % inputs + (i > inputs ? " beside another use" : "");
                double[] expected = exact.results().get(i);
                double bound =
                        PlainDevice.bound(actual.types().get(i), plain.results().get(i), expected);
                closeTo(actual.results().get(i), expected, bound, what);
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> runsAreBitEqual() {
        return each((sample, place) -> {
            SampleRun first = SampleRun.of(sample, sample.call(), place, place.type());
            for (int repeat = 0; repeat < 2; repeat++) {
                SampleRun again = SampleRun.of(sample, sample.call(), place, place.type());
                for (int i = 0; i < first.results().size(); i++) {
                    assertArrayEquals(first.results().get(i), again.results().get(i));
                }
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> inputsStayAsTheyAre() {
        return each((sample, place) -> {
            SampleRun run = SampleRun.of(sample, sample.call(), place, place.type());
            for (int i = 0; i < run.before().size(); i++) {
                if (i != sample.changes()) {
                    assertArrayEquals(run.before().get(i), run.after().get(i), "input " + i);
                }
            }
        });
    }

    /** The samples in every place that can run them. */
    private static Stream<DynamicTest> each(Check check) {
        List<Place> places = TestDevices.all().stream()
                .flatMap(device -> Place.of(device).stream())
                .toList();
        return places.stream()
                .flatMap(place -> OpCatalogue.samples().stream()
                        .filter(place::runs)
                        .map(sample -> DynamicTest.dynamicTest(place + " " + sample, () -> {
                            try (Scope scope = Scope.open()) {
                                check.accept(sample, place);
                            }
                        })));
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
