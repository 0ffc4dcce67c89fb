package tessera.tensor;

import static java.util.Objects.requireNonNull;
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
import org.junit.jupiter.api.function.ThrowingConsumer;
import tessera.kernels.DType;
import tessera.kernels.Device;
import tessera.tensor.OpCatalogue.BadCall;
import tessera.tensor.OpCatalogue.Sample;

/** The checks that every operation of the catalogue passes on the CPU; {@link OpDevicesTest} has those of all devices. */
class OpCatalogueTest {
    @TestFactory
    Stream<DynamicTest> gradientsEqualFiniteDifferences() {
        return each(Sample::checkable, sample -> {
            Tensor[] inputs = sample.make(Device.cpu(), DType.F64);
            for (int i = 0; i < inputs.length; i++) {
                if (sample.inputs().get(i).differentiable()) {
                    inputs[i].requiresGrad(true);
                }
            }
            GradientCheck.check(requireNonNull(sample.op()), inputs);
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

    /** Nothing; one element (or three, a query, key and value); rows longer than a vector and no whole number of them. */
    @Test
    void everyOperationIsSampledInTheSizesThatGoWrong() {
        Map<String, Predicate<Shape>> sizes = Map.of(
                "nothing", shape -> shape.count() == 0,
                "one element", shape -> shape.count() == 1 || shape.count() == 3,
                "a tail", shape -> shape.rank() > 0 && shape.size(-1) > 16 && shape.size(-1) % 8 != 0);
        Set<String> wanted = new TreeSet<>();
        Set<String> sampled = new TreeSet<>();
        for (Sample sample : OpCatalogue.samples()) {
            sizes.forEach((size, matches) -> {
                String what = sample.type().getSimpleName() + " of " + size;
                wanted.add(what);
                if (matches.test(sample.inputs().getFirst().shape())) {
                    sampled.add(what);
                }
            });
        }
        wanted.removeAll(sampled);
        assertEquals(Set.of(), wanted, "samples that are missing");
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
}
