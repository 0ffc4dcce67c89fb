package tessera.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.reflect.Method;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import tessera.jmh.gpu.Benchmarked;
import tessera.tensor.SampleRun;

/** Every primitive is compared with the plain kernels, watched by the sanitizers, and timed. */
class FamiliesTest {
    /** The suite has the cases of {@link KernelParity} and the samples of all operations, see {@code OpDevicesTest}. */
    @Test
    void everyPrimitiveIsInTheParitySuite() {
        assertNoneMissing("the operation's samples in OpCatalogue, or to KernelParity", RecordedKernels.of(device -> {
            runAll(new Suite(device));
            SampleRun.all(device);
        }));
    }

    @Test
    void everyPrimitiveIsRunUnderTheSanitizers() {
        assertNoneMissing(
                "the operation's samples in OpCatalogue, or to SanitizedKernels.sample",
                RecordedKernels.of(device -> new SanitizedKernels(device).all()));
    }

    @Test
    void everyPrimitiveIsInTheKernelBenchmark() {
        Set<String> named = new TreeSet<>();
        for (Benchmarked benchmarked : Benchmarked.all()) {
            Set<String> called = RecordedKernels.of(device -> benchmarked.run().accept(device.kernels()));
            assertTrue(called.contains(benchmarked.primitive()), benchmarked.primitive() + " is not in " + called);
            named.add(benchmarked.primitive());
        }
        assertNoneMissing("the family's cases in jmh", named);
    }

    private static void assertNoneMissing(String where, Set<String> called) {
        Set<String> missing = new TreeSet<>(RecordedKernels.all());
        assertTrue(missing.size() > 30, "primitives are " + missing);
        missing.removeAll(called);
        assertEquals(Set.of(), missing, "add a case of these primitives to " + where);
    }

    /** Calls every test of the suite once with each of its arguments. */
    private static void runAll(Suite suite) {
        int tests = 0;
        try {
            List<Method> methods = new ArrayList<>(List.of(KernelParity.class.getDeclaredMethods()));
            methods.addAll(List.of(NormProductParity.class.getDeclaredMethods()));
            for (Method method : methods) {
                if (method.isAnnotationPresent(Test.class)) {
                    method.invoke(suite);
                    tests++;
                } else if (method.isAnnotationPresent(ParameterizedTest.class)) {
                    for (Object argument : arguments(method)) {
                        method.invoke(suite, argument);
                    }
                    tests++;
                }
            }
        } catch (ReflectiveOperationException e) {
            throw new LinkageError("a test of the suite cannot be called", e);
        }
        assertTrue(tests > 20, tests + " tests");
    }

    private static List<Object> arguments(Method method) {
        Parameter parameter = method.getParameters()[0];
        Object[] constants = parameter.getType().getEnumConstants();
        if (constants != null) {
            return Arrays.asList(constants);
        }
        ValueSource values = method.getAnnotation(ValueSource.class);
        List<Object> arguments = new ArrayList<>();
        IntStream.of(values.ints()).forEach(arguments::add);
        for (boolean value : values.booleans()) {
            arguments.add(value);
        }
        assertTrue(!arguments.isEmpty(), method.getName() + " has arguments of a kind that this test does not know");
        return arguments;
    }

    /** The suite on one device; compares nothing. */
    private static final class Suite extends KernelParity {
        private final Device device;

        Suite(Device device) {
            this.device = device;
        }

        @Override
        protected void check(String what, double tolerance, Call call) {
            run(device.kernels(), device, DType.F32, false, 0, call);
        }
    }
}
