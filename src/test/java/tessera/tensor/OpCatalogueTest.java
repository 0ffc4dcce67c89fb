package tessera.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.URI;
import java.net.URISyntaxException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestReporter;
import org.junit.jupiter.api.function.ThrowingConsumer;
import tessera.Close;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.OpCatalogue.BadCall;
import tessera.tensor.OpCatalogue.Input;
import tessera.tensor.OpCatalogue.Sample;

/** The checks that every operation of the catalogue passes. */
class OpCatalogueTest {
    /** Bound on the squared error of f32 over the squared norm of the f64 reference. */
    private static final double SQUARED_ERROR = 1e-9;

    @TestFactory
    Stream<DynamicTest> gradientsEqualFiniteDifferences() {
        return each(Sample::checkable, sample -> {
            Tensor[] inputs = sample.make(Device.cpu(), DType.F64);
            for (int i = 0; i < inputs.length; i++) {
                if (sample.inputs().get(i).differentiable()) {
                    inputs[i].requiresGrad(true);
                }
            }
            GradientCheck.check(sample.op(), inputs);
        });
    }

    @TestFactory
    Stream<DynamicTest> devicesAgreeWithTheReference(TestReporter reporter) {
        reporter.publishEntry("absent devices", TestDevices.absent().size() + " " + TestDevices.absent());
        return TestDevices.all().stream()
                .flatMap(device -> each(sample -> true, sample -> {
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
        return each(sample -> true, sample -> {
            Run first = run(sample, sample.call(), Device.cpu(), DType.F32);
            for (int repeat = 0; repeat < 2; repeat++) {
                Run again = run(sample, sample.call(), Device.cpu(), DType.F32);
                for (int i = 0; i < first.results.size(); i++) {
                    assertArrayEquals(first.results.get(i), again.results.get(i));
                }
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> inputsStayAsTheyAre() {
        return each(sample -> true, sample -> {
            Run run = run(sample, sample.call(), Device.cpu(), DType.F32);
            for (int i = 0; i < run.before.size(); i++) {
                if (i != sample.changes()) {
                    assertArrayEquals(run.before.get(i), run.after.get(i), "input " + i);
                }
            }
        });
    }

    @TestFactory
    Stream<DynamicTest> badCallsAreRefused() {
        return OpCatalogue.badCalls().stream().map(bad -> DynamicTest.dynamicTest(bad.what(), () -> refuses(bad)));
    }

    private static void refuses(BadCall bad) {
        try (Scope scope = Scope.open()) {
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> bad.call().get());
            for (String part : bad.parts()) {
                assertTrue(String.valueOf(e.getMessage()).contains(part), e.getMessage() + " lacks: " + part);
            }
        }
    }

    @Test
    void everyOperationIsInTheCatalogue() throws Exception {
        Set<String> known = OpCatalogue.samples().stream()
                .map(sample -> sample.type().getName())
                .collect(Collectors.toCollection(TreeSet::new));
        assertEquals(operations(), known);
    }

    /** Names of all compiled classes of the package that are operations. */
    private static Set<String> operations() throws IOException, URISyntaxException, ClassNotFoundException {
        URI home = Op.class.getProtectionDomain().getCodeSource().getLocation().toURI();
        Path path = Path.of(home);
        if (Files.isDirectory(path)) {
            return operations(path);
        }
        try (FileSystem jar = FileSystems.newFileSystem(path, Map.of())) {
            return operations(jar.getPath("/"));
        }
    }

    private static Set<String> operations(Path root) throws IOException, ClassNotFoundException {
        Set<String> names = new TreeSet<>();
        List<Path> files;
        try (Stream<Path> list = Files.list(root.resolve("tessera/tensor"))) {
            files = list.filter(f -> f.toString().endsWith(".class")).toList();
        }
        for (Path file : files) {
            String name = "tessera.tensor." + file.getFileName().toString().replaceFirst("\\.class$", "");
            if (name.endsWith("-info")) {
                continue;
            }
            Class<?> type = Class.forName(name, false, Op.class.getClassLoader());
            if (Op.class.isAssignableFrom(type) && !type.isInterface()) {
                names.add(name);
            }
        }
        assertTrue(names.size() > 20, names.toString());
        return names;
    }

    private static Stream<DynamicTest> each(Predicate<Sample> which, ThrowingConsumer<Sample> check) {
        return OpCatalogue.samples().stream()
                .filter(which)
                .map(sample -> DynamicTest.dynamicTest(sample.toString(), () -> {
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
        if (java.util.Arrays.equals(expected, zeros)) {
            for (double value : actual) {
                Close.within(value, 0, 1e-6, what);
            }
        } else {
            Close.relative(actual, expected, Math.sqrt(SQUARED_ERROR), what);
        }
    }
}
